# spec: {"family": "trimm", "triangle": "lower", "layout": "nn", "dtype": "float32", "shape": {"n": 4096}}
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B):
        return torch.tril(torch.matmul(A, B))


def get_inputs():
    A = torch.tril(torch.rand(4096, 4096))
    B = torch.tril(torch.rand(4096, 4096))
    return [A, B]


def get_init_inputs():
    return []
