# refused: 8: slice: no family has it
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B):
        return A[:, :40] @ B


def get_inputs():
    A = torch.randn(96, 64)
    B = torch.randn(40, 56)
    return [A, B]


def get_init_inputs():
    return []
