# spec: {"family": "gemm", "layout": "nn", "dtype": "float32", "epilogue": ["bias", "gelu_tanh", "scale=0.125", "residual"], "shape": {"m": 96, "n": 56, "k": 40}}
import torch
import torch.nn as nn
import torch.nn.functional as F


class Model(nn.Module):
    def forward(self, A, B, bias, residual):
        x = torch.matmul(A, B) + bias
        x = F.gelu(x, approximate="tanh") / 8
        return residual + x


def get_inputs():
    A = torch.randn(96, 40)
    B = torch.randn(40, 56)
    bias = torch.randn(56)
    residual = torch.randn(96, 56)
    return [A, B, bias, residual]


def get_init_inputs():
    return []
