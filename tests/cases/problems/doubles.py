# refused: 8: mm: A is float64; kernels take
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B):
        return A @ B


def get_inputs():
    A = torch.randn(96, 40).double()
    B = torch.randn(40, 56).double()
    return [A, B]


def get_init_inputs():
    return []
