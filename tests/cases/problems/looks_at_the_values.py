# refused: can't be traced: line 8: item: a number is read out of a tensor
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B):
        if A.sum() > 0:
            return A @ B
        return A


def get_inputs():
    A = torch.randn(96, 40)
    B = torch.randn(40, 56)
    return [A, B]


def get_init_inputs():
    return []
