# refused: 8: add: bias is float32 and the result float16
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B, bias):
        return (A @ B + bias).half()


def get_inputs():
    A = torch.randn(96, 40).half()
    B = torch.randn(40, 56).half()
    bias = torch.randn(56)
    return [A, B, bias]


def get_init_inputs():
    return []
