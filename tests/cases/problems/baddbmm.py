# spec: {"family": "gemm", "layout": "nn", "dtype": "bfloat16", "batch": [5], "batched": "ab", "epilogue": ["residual"], "shape": {"m": 96, "n": 56, "k": 40}}
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B, residual):
        return torch.baddbmm(residual, A, B)


def get_inputs():
    A = torch.randn(5, 96, 40, dtype=torch.bfloat16)
    B = torch.randn(5, 40, 56, dtype=torch.bfloat16)
    residual = torch.randn(5, 96, 56, dtype=torch.bfloat16)
    return [A, B, residual]


def get_init_inputs():
    return []
