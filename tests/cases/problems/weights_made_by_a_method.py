# refused: line 10: __init__ calls self.reset(): write it out
import torch
import torch.nn as nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(40, 56))
        self.reset()

    def reset(self):
        nn.init.normal_(self.weight)

    def forward(self, x):
        return x @ self.weight


def get_inputs():
    return [torch.randn(96, 40)]


def get_init_inputs():
    return []
