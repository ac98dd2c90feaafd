# refused: 9: relu: it follows a product of triangles
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B):
        product = A.tril() @ B.tril()
        return torch.relu(product)


def get_inputs():
    A = torch.randn(72, 72)
    B = torch.randn(72, 72)
    return [A, B]


def get_init_inputs():
    return []
