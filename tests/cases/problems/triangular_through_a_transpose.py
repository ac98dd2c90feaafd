# spec: {"family": "trimm", "triangle": "lower", "layout": "nn", "dtype": "float32", "shape": {"n": 72}}
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B):
        return torch.tril(torch.matmul(A, B))


def get_inputs():
    A = torch.rand(72, 72).tril_() / 2
    B = torch.triu(torch.rand(72, 72)).T
    return [A, B]


def get_init_inputs():
    return []
