# spec: {"family": "gemm", "layout": "nn", "dtype": "float32", "batch": [16, 256], "batched": "a", "shape": {"m": 512, "n": 768, "k": 256}}
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, A, B):
        return torch.einsum("bijl,lk->bijk", A, B)


def get_inputs():
    A = torch.randn(16, 256, 512, 256)
    B = torch.randn(256, 768)
    return [A, B]


def get_init_inputs():
    return []
