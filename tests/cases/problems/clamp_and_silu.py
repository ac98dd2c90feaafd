# spec: {"family": "gemm", "layout": "nn", "dtype": "float32", "epilogue": ["relu", "silu"], "shape": {"m": 96, "n": 56, "k": 40}}
import torch
import torch.nn as nn
import torch.nn.functional as F


class Model(nn.Module):
    def forward(self, A, B):
        return F.silu(torch.clamp(A @ B, min=0))


def get_inputs():
    A = torch.randn(96, 40)
    B = torch.randn(40, 56)
    return [A, B]


def get_init_inputs():
    return []
