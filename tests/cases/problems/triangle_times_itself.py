# spec: {"family": "trimm", "triangle": "lower", "layout": "nn", "dtype": "float32", "shape": {"n": 72}}
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A):
        L = A.tril()
        return L @ L


def get_inputs():
    return [torch.randn(72, 72)]


def get_init_inputs():
    return []
