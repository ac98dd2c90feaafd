# spec: {"family": "gemm", "layout": "nn", "dtype": "float32", "shape": {"m": 96, "n": 56, "k": 40}}
import torch
import torch.nn as nn

@torch.compile
def product(x, y):
    return x.cuda() @ y


class Model(nn.Module):
    def forward(self, A, B):
        return product(A, B)


def get_inputs():
    A = torch.randn(96, 40, device="cuda")
    B = torch.randn(40, 56).cuda()
    return [A, B]


def get_init_inputs():
    return []
