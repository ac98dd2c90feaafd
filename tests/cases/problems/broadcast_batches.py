# spec: {"family": "gemm", "layout": "nn", "dtype": "float32", "batch": [4, 3], "batched": "ab", "shape": {"m": 96, "n": 56, "k": 40}}
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B):
        return torch.matmul(A, B)


def get_inputs():
    A = torch.randn(4, 1, 96, 40)
    B = torch.randn(4, 3, 40, 56)
    return [A, B]


def get_init_inputs():
    return []
