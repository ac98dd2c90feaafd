# spec: {"family": "gemm", "layout": "nt", "dtype": "float32", "epilogue": ["bias"], "shape": {"m": 96, "n": 56, "k": 40}}
import torch
import torch.nn as nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(40, 56)

    def forward(self, x):
        return self.linear(x)


def get_inputs():
    x = torch.randn(96, 40)
    return [x]


def get_init_inputs():
    return []
