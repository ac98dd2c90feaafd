# refused: 8: cat: no family has it
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B, C):
        return torch.cat([A, B], dim=1) @ C


def get_inputs():
    A = torch.randn(96, 16)
    B = torch.randn(96, 24)
    C = torch.randn(40, 56)
    return [A, B, C]


def get_init_inputs():
    return []
