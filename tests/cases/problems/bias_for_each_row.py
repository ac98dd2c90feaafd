# refused: 8: add: bias is neither
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B, bias):
        return A @ B + bias


def get_inputs():
    A = torch.randn(96, 40)
    B = torch.randn(40, 56)
    bias = torch.randn(96, 1)
    return [A, B, bias]


def get_init_inputs():
    return []
