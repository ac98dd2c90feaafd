# refused: 8: bmm: it computes 1ab,1bc->dac,
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B):
        return A.expand(5, -1, -1) @ B.expand(5, -1, -1)


def get_inputs():
    A = torch.randn(1, 96, 40)
    B = torch.randn(1, 40, 56)
    return [A, B]


def get_init_inputs():
    return []
