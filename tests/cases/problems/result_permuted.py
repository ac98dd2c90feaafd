# spec: {"family": "gemm", "layout": "nt", "dtype": "float32", "batch": [5], "batched": "ab", "shape": {"m": 96, "n": 56, "k": 40}}
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B):
        return (A @ B.mT).transpose(0, 1)


def get_inputs():
    A = torch.randn(5, 96, 40)
    B = torch.randn(5, 56, 40)
    return [A, B]


def get_init_inputs():
    return []
