# spec: {"family": "gemm", "layout": "nn", "dtype": "float32", "shape": {"m": 96, "n": 56, "k": 40}}
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B):
        return B @ A


def get_inputs():
    A = torch.randn(40, 56)
    B = torch.randn(96, 40)
    return [A, B]


def get_init_inputs():
    return []
