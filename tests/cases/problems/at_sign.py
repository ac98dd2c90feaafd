# spec: {"family": "gemm", "layout": "nn", "dtype": "float32", "shape": {"m": 2048, "n": 4096, "k": 8192}}
import torch
import torch.nn as nn

M, N, K = 2048, 4096, 8192


class Model(nn.Module):
    def forward(self, A, B):
        return A @ B


def get_inputs():
    A = torch.rand(M, K)
    B = torch.rand(K, N)
    return [A, B]


def get_init_inputs():
    return []
