# spec: {"family": "gemm", "layout": "nn", "dtype": "float32", "batch": [6, 7], "batched": "a", "shape": {"m": 32, "n": 56, "k": 40}}
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B):
        rows = A.reshape(-1, A.shape[-1])
        return torch.mm(rows, B).view(*A.shape[:-1], -1)


def get_inputs():
    A = torch.randn(6, 7, 32, 40)
    B = torch.randn(40, 56)
    return [A, B]


def get_init_inputs():
    return []
