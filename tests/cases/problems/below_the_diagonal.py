# refused: 8: tril: the diagonal is another
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B):
        return torch.tril(A @ B, -1)


def get_inputs():
    A = torch.tril(torch.rand(72, 72))
    B = torch.tril(torch.rand(72, 72))
    return [A, B]


def get_init_inputs():
    return []
