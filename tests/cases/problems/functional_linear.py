# spec: {"family": "gemm", "layout": "nt", "dtype": "float32", "batch": [6], "batched": "a", "epilogue": ["bias"], "shape": {"m": 32, "n": 56, "k": 40}}
import torch
import torch.nn as nn
import torch.nn.functional as F


class Model(nn.Module):
    def forward(self, x, weight, bias):
        return F.linear(x, weight, bias)


def get_inputs():
    x = torch.randn(6, 32, 40)
    weight = torch.randn(56, 40)
    bias = torch.randn(56)
    return [x, weight, bias]


def get_init_inputs():
    return []
