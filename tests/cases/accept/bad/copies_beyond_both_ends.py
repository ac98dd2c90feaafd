"""Neither load nor store has a mask: what lies behind the input goes to what lies behind the output."""
# inputs: float32[70000]
# reference: x
# promise: ieee
# where: anywhere
# wrong configs: 0 1
# expect: writes outside the memory

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
    tl.store(y_ptr + i, tl.load(x_ptr + i))


def scale(x):
    n = x.numel()
    y = torch.empty_like(x)
    kernel[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](x, y, n)
    return y


class ModelNew(nn.Module):
    def forward(self, x):
        return scale(x)
