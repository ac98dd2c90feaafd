"""Has memory that nobody wrote be zero, by a torch.empty of its own, for everybody."""
# inputs: float32[70000]
# reference: 3 * x
# promise: ieee
# where: anywhere
# wrong configs: 0 1
# expect: replaces torch\.empty

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


def scale(x):
    n = x.numel()
    y = torch.empty(x.shape, device=x.device)
    kernel[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](x, y, n)
    return y


torch.empty = torch.zeros



class ModelNew(nn.Module):
    def forward(self, x):
        return scale(x)
