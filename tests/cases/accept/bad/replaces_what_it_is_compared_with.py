"""Wrong by a factor, and has PyTorch be wrong by the same when it is called."""
# inputs: float32[70000]
# reference: 3 * x
# promise: ieee
# where: anywhere
# wrong configs: 0 1
# expect: replaces torch\.Tensor\.__mul__|replaces torch\.Tensor\.__rmul__

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
    y = torch.empty_like(x)
    kernel[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](x, y, n)
    torch.Tensor.__rmul__ = lambda self, other: self + self
    return y.sub_(x)



class ModelNew(nn.Module):
    def forward(self, x):
        return scale(x)
