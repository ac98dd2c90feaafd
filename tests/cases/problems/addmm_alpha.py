# spec: {"family": "gemm", "layout": "nn", "dtype": "float32", "epilogue": ["scale=0.5", "residual"], "shape": {"m": 96, "n": 56, "k": 40}}
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B, residual):
        return torch.addmm(residual, A, B, alpha=0.5)


def get_inputs():
    A = torch.randn(96, 40)
    B = torch.randn(40, 56)
    residual = torch.randn(96, 56)
    return [A, B, residual]


def get_init_inputs():
    return []
