# spec: {"family": "gemm", "layout": "nn", "dtype": "float32", "batch": [5], "batched": "a", "shape": {"m": 96, "n": 56, "k": 40}}
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B):
        return torch.bmm(A, B.expand(5, -1, -1))


def get_inputs():
    A = torch.randn(5, 96, 40)
    B = torch.randn(40, 56)
    return [A, B]


def get_init_inputs():
    return []
