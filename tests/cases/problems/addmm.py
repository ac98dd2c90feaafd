# spec: {"family": "gemm", "layout": "nn", "dtype": "float32", "epilogue": ["bias"], "shape": {"m": 96, "n": 56, "k": 40}}
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B, bias):
        return torch.addmm(bias, A, B)


def get_inputs():
    A = torch.randn(96, 40)
    B = torch.randn(40, 56)
    bias = torch.randn(56)
    return [A, B, bias]


def get_init_inputs():
    return []
