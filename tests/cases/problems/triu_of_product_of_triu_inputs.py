# spec: {"family": "trimm", "triangle": "upper", "layout": "nn", "dtype": "float32", "shape": {"n": 72}}
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B):
        return torch.triu(torch.matmul(A, B))


def get_inputs():
    A = torch.triu(torch.rand(72, 72))
    B = torch.triu(torch.rand(72, 72))
    return [A, B]


def get_init_inputs():
    return []
