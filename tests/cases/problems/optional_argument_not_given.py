# spec: {"family": "gemm", "layout": "nn", "dtype": "float32", "shape": {"m": 96, "n": 56, "k": 40}}
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B, bias=None):
        x = A @ B
        return x if bias is None else x + bias


def get_inputs():
    A = torch.randn(96, 40)
    B = torch.randn(40, 56)
    return [A, B]


def get_init_inputs():
    return []
