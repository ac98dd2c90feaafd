# spec: {"family": "gemm", "layout": "nt", "dtype": "float32", "shape": {"m": 96, "n": 56, "k": 40}}
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B):
        return torch.tensordot(A, B, dims=([1], [1]))


def get_inputs():
    A = torch.randn(96, 40)
    B = torch.randn(56, 40)
    return [A, B]


def get_init_inputs():
    return []
