# spec: {"family": "gemm", "layout": "nt", "dtype": "bfloat16", "batch": [3, 4], "batched": "a", "epilogue": ["bias", "gelu_tanh"], "shape": {"m": 32, "n": 56, "k": 40}}
import torch
import torch.nn as nn


class Model(nn.Module):
    def __init__(self, features, approximate):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout(0.0), nn.Linear(features, 56), nn.GELU(approximate=approximate), nn.Identity()
        ).bfloat16()

    def forward(self, x):
        return self.layers(x)


def get_inputs():
    return [torch.randn(3, 4, 32, 40).bfloat16()]


def get_init_inputs():
    return [40, "tanh"]
