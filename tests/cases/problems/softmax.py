# refused: 9: softmax: no family has it
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B):
        scores = A @ B.T
        return torch.softmax(scores, dim=-1)


def get_inputs():
    A = torch.randn(96, 40)
    B = torch.randn(56, 40)
    return [A, B]


def get_init_inputs():
    return []
