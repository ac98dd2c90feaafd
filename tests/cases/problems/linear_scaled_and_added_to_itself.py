# spec: {"family": "gemm", "layout": "nt", "dtype": "float32", "epilogue": ["bias", "scale=0.5", "residual"], "shape": {"m": 96, "n": 56, "k": 56}}
import torch
import torch.nn as nn


class Model(nn.Module):
    """y = x W^T + b, scaled, plus x, as KernelBench writes it."""

    def __init__(self, in_features: int, out_features: int, scaling_factor: float):
        super(Model, self).__init__()
        self.unused = nn.Linear(out_features, 3)
        self.matmul = nn.Linear(in_features, out_features)
        self.scaling_factor = scaling_factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.matmul(x)
        return y * self.scaling_factor + x


def get_inputs():
    return [torch.rand(96, 56)]


def get_init_inputs():
    return [56, 56, 0.5]
