# spec: {"family": "gemm", "layout": "tn", "dtype": "float32", "epilogue": ["bias", "residual", "relu"], "shape": {"m": 96, "n": 56, "k": 40}}
import math

import torch
from torch import nn
from torch.nn.parameter import Parameter

SIDE = 40


class Model(nn.Module):
    def __init__(self, wide, sides=(96, 56), *, bias=True):
        """Weights [K, M], transposed."""
        super().__init__()
        rows, columns = sides
        self.first: int = 0
        self.weight = Parameter(torch.empty(SIDE, rows))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if bias:
            self.bias = torch.nn.Parameter(torch.randn(columns) / math.sqrt(SIDE))
        for name in ["once", "twice"]:
            self.register_parameter(name, nn.Parameter(torch.rand(2)))
        self.register_buffer("offset", torch.ones(rows, columns) * 0.25)
        self.wide = wide
        with torch.no_grad():
            self.bias.add_(1.0)

    def forward(self, x):
        return torch.relu(self.weight.T @ x + self.bias + self.offset)


def get_inputs():
    return [torch.randn(40, 56)]


def get_init_inputs():
    return [[1, 2]]
