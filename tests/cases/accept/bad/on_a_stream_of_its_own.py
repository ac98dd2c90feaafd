"""Launches on another stream and does not wait for it: to a timer it takes no time."""
# inputs: float32[67108864]
# reference: 3 * x
# promise: ieee
# where: gpu
# wrong configs: 0 1
# expect: never written|memory read that nobody wrote|wrong

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
    for _ in range(64):
        x = tl.sqrt(x * x) * tl.where(x < 0, -1.0, 1.0)
    tl.store(y_ptr + i, 3 * x, mask=i < n)


aside = None


def scale(x):
    global aside
    n = x.numel()
    y = torch.empty_like(x)
    aside = aside or torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        kernel[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](x, y, n)
    return y


class ModelNew(nn.Module):
    def forward(self, x):
        return scale(x)
