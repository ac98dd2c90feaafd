# spec: {"family": "gemm", "layout": "nn", "dtype": "bfloat16", "epilogue": ["gelu"], "shape": {"m": 96, "n": 56, "k": 40}}
import torch
import torch.nn as nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.act = nn.GELU()

    def forward(self, A, B):
        return self.act(A @ B)


def get_inputs():
    A = torch.randn(96, 40, dtype=torch.bfloat16)
    B = torch.randn(40, 56, dtype=torch.bfloat16)
    return [A, B]


def get_init_inputs():
    return []
