# refused: 8: mm: it takes the result of another product
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B, C):
        return torch.relu(A @ B) @ C


def get_inputs():
    A = torch.randn(96, 40)
    B = torch.randn(40, 56)
    C = torch.randn(56, 24)
    return [A, B, C]


def get_init_inputs():
    return []
