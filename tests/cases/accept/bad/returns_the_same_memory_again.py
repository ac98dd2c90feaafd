"""Saves an allocation: every call's result is in the same memory, where it replaces the one before."""
# inputs: float32[70000]
# reference: 3 * x
# promise: ieee
# where: anywhere
# wrong configs: 0 1
# expect: a later call changes an earlier result

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.autotune(
    configs=[
        triton.Config({"BLOCK": 256}, num_warps=4, num_stages=2),
        triton.Config({"BLOCK": 512}, num_warps=4, num_stages=2),
    ],
    key=["n"],
)
@triton.jit
def kernel(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i, mask=i < n)
    tl.store(y_ptr + i, 3 * x, mask=i < n)


kept = {}


def scale(x):
    n = x.numel()
    if x.shape not in kept:
        kept[x.shape] = torch.empty_like(x)
    y = kept[x.shape]
    kernel[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](x, y, n)
    return y



class ModelNew(nn.Module):
    def forward(self, x):
        return scale(x)
