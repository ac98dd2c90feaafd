"""The same as good/streams_memory.py, with three programs in a hundred too many."""
# inputs: float32[67108864]
# reference: 3 * x
# promise: ieee
# where: gpu
# expect: slower
# against: good/streams_memory.py

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.autotune(
    configs=[
        triton.Config({"BLOCK": 2048}, num_warps=4, num_stages=2),
    ],
    key=["n"],
)
@triton.jit
def kernel(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    tiles = tl.cdiv(n, BLOCK)
    i = tl.program_id(0) % tiles * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i, mask=i < n)
    tl.store(y_ptr + i, 3 * x, mask=i < n)


def scale(x):
    n = x.numel()
    y = torch.empty_like(x)
    kernel[lambda meta: (triton.cdiv(triton.cdiv(n, meta["BLOCK"]) * 103, 100),)](x, y, n)
    return y


class ModelNew(nn.Module):
    def forward(self, x):
        return scale(x)
