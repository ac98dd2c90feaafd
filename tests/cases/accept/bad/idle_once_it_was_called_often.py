"""Counts its calls and, after as many as a check takes, returns what it returned before."""
# inputs: float32[70000]
# reference: 3 * x
# promise: ieee
# where: race
# wrong configs: 0 1
# expect: its timed call is not right

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


calls, last = 0, None


def scale(x):
    global calls, last
    calls += 1
    n = x.numel()
    if calls > 100 and last.shape == x.shape and calls % 50:
        return last
    last = torch.empty_like(x)
    kernel[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](x, last, n)
    return last



class ModelNew(nn.Module):
    def forward(self, x):
        return scale(x)
