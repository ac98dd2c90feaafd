# refused: 8: to: it makes A, float32, float16
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B):
        return A.half() @ B.half()


def get_inputs():
    A = torch.randn(96, 40)
    B = torch.randn(40, 56)
    return [A, B]


def get_init_inputs():
    return []
