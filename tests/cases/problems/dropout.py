# refused: 12: bernoulli: no family has it
import torch
import torch.nn as nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.1)

    def forward(self, A, B):
        return self.dropout(A @ B)


def get_inputs():
    A = torch.randn(96, 40)
    B = torch.randn(40, 56)
    return [A, B]


def get_init_inputs():
    return []
