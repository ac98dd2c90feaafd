# refused: 8: add: A is used twice
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B):
        return A @ B + A


def get_inputs():
    A = torch.randn(72, 72)
    B = torch.randn(72, 72)
    return [A, B]


def get_init_inputs():
    return []
