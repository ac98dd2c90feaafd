import os

import torch
import torch.nn as nn
import triton
import triton.language as tl

BLOCKS = [int(size) for size in os.environ.get("BLOCKS", "16384").split(",")]


@triton.autotune(configs=[triton.Config({"BLOCK": 16384}, num_warps=4)], key=["n"])
@triton.jit
def add_kernel(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i, mask=i < n)
    tl.store(y_ptr + i, tl.load(y_ptr + i, mask=i < n) + x, mask=i < n)


@triton.autotune(configs=[triton.Config({"BLOCK": size}, num_warps=4) for size in BLOCKS], key=["n"])
@triton.jit
def count_kernel(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(y_ptr + i, tl.load(x_ptr + i, mask=i < n), mask=i < n)


@triton.autotune(
    configs=[triton.Config({"BLOCK": 16384}, num_warps=4)], key=["n"], restore_value=["y_ptr"]
)
@triton.jit
def restored_kernel(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i, mask=i < n)
    tl.store(y_ptr + i, tl.load(y_ptr + i, mask=i < n) + x, mask=i < n)


class ModelNew(nn.Module):
    def forward(self, x):
        y = torch.zeros_like(x)
        grid = lambda meta: (triton.cdiv(x.numel(), meta["BLOCK"]),)
        add_kernel[grid](x, y, x.numel())
        count_kernel[grid](x, y, x.numel())
        restored_kernel[grid](x, y, x.numel())
        return y
