# spec: {"family": "gemm", "layout": "nt", "dtype": "float32", "shape": {"m": 96, "n": 96, "k": 40}}
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A):
        return A @ A.T


def get_inputs():
    A = torch.randn(96, 40)
    return [A]


def get_init_inputs():
    return []
