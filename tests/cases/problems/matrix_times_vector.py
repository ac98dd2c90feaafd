# refused: 8: mv: no family has it
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, x):
        return A @ x


def get_inputs():
    A = torch.randn(96, 40)
    x = torch.randn(40)
    return [A, x]


def get_init_inputs():
    return []
