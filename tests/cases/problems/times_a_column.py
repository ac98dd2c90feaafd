# spec: {"family": "gemm", "layout": "nn", "dtype": "float32", "shape": {"m": 256, "n": 1, "k": 131072}}
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B):
        return torch.matmul(A, B)


def get_inputs():
    A = torch.randn(256, 131072)
    B = torch.randn(131072, 1)
    return [A, B]


def get_init_inputs():
    return []
