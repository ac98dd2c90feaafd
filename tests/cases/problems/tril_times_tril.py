# spec: {"family": "trimm", "triangle": "lower", "layout": "nn", "dtype": "float32", "shape": {"n": 72}}
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B):
        return torch.tril(A) @ torch.tril(B)


def get_inputs():
    A = torch.randn(72, 72)
    B = torch.randn(72, 72)
    return [A, B]


def get_init_inputs():
    return []
