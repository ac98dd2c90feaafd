# spec: {"family": "gemm", "layout": "nn", "dtype": "float32", "shape": {"m": 96, "n": 56, "k": 40}}
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, mask, B):
        return A @ B


def get_inputs():
    return [torch.randn(96, 40), torch.ones(3), torch.randn(40, 56)]


def get_init_inputs():
    return []
