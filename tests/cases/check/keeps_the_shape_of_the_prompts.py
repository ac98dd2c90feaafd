"""Doubles a matrix."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.autotune(
    configs=[
        triton.Config({"BLOCK_M": 64, "BLOCK_N": 64}, num_warps=4, num_stages=3),
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 64}, num_warps=8, num_stages=3),
    ],
    key=["M", "N"],
)
@triton.jit
def double_kernel(x_ptr, y_ptr, M, N, stride_m, stride_n, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """Doubles one tile."""
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    offsets = rows[:, None] * stride_m + columns[None, :] * stride_n
    mask = (rows < M)[:, None] & (columns < N)[None, :]
    tl.store(y_ptr + offsets, 2 * tl.load(x_ptr + offsets, mask=mask), mask=mask)


def double(x: torch.Tensor) -> torch.Tensor:
    """Computes the grid and launches."""
    assert x.is_cuda, "x must be on the GPU"
    M, N = x.shape
    y = torch.empty_like(x)

    def grid(META):
        return triton.cdiv(M, META["BLOCK_M"]), triton.cdiv(N, META["BLOCK_N"])

    double_kernel[grid](x, y, M, N, x.stride(0), x.stride(1))
    return y


class ModelNew(nn.Module):
    def __init__(self):
        super(ModelNew, self).__init__()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return double(x)
