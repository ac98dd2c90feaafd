# refused: can't be traced: forward asks whether it is in training
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B):
        return A @ B if self.training else B @ A


def get_inputs():
    return [torch.randn(72, 72), torch.randn(72, 72)]


def get_init_inputs():
    return []
