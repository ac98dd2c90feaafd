# spec: {"family": "gemm", "layout": "tt", "dtype": "float32", "shape": {"m": 96, "n": 56, "k": 40}}
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B):
        return torch.matmul(A.T, B.T)


def get_inputs():
    A = torch.randn(40, 96)
    B = torch.randn(56, 40)
    return [A, B]


def get_init_inputs():
    return []
