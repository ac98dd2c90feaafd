# spec: {"family": "gemm", "layout": "tn", "dtype": "float32", "batch": [5], "batched": "ab", "shape": {"m": 96, "n": 56, "k": 40}}
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B):
        return torch.bmm(A.mT, B)


def get_inputs():
    A = torch.randn(5, 40, 96)
    B = torch.randn(5, 40, 56)
    return [A, B]


def get_init_inputs():
    return []
