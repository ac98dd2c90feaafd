# spec: {"family": "trimm", "triangle": "lower", "layout": "tt", "dtype": "float32", "shape": {"n": 72}}
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B):
        return A.triu().mT @ B.triu().mT


def get_inputs():
    A = torch.randn(72, 72)
    B = torch.randn(72, 72)
    return [A, B]


def get_init_inputs():
    return []
