# spec: {"family": "trimm", "triangle": "upper", "layout": "nn", "dtype": "float16", "batch": [3], "batched": "ab", "shape": {"n": 72}}
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B):
        return torch.bmm(torch.triu(A), torch.triu(B))


def get_inputs():
    A = torch.randn(3, 72, 72).half()
    B = torch.randn(3, 72, 72).half()
    return [A, B]


def get_init_inputs():
    return []
