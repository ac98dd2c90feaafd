# spec: {"family": "gemm", "layout": "nt", "dtype": "float16", "shape": {"m": 96, "n": 56, "k": 40}}
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B):
        return torch.mm(A, B.t())


def get_inputs():
    A = torch.randn(96, 40).half()
    B = torch.randn(56, 40).half()
    return [A, B]


def get_init_inputs():
    return []
