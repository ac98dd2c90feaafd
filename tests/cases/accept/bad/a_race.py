"""Two programs sum each row, one forwards and one backwards; whichever writes last has its way."""
# inputs: float32[8192,1024]
# reference: x.sum(1)
# promise: ieee
# where: gpu
# wrong configs: 0 1
# expect: other bits .* a race

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.autotune(
    configs=[
        triton.Config({"BLOCK": 64}, num_warps=1, num_stages=2),
        triton.Config({"BLOCK": 128}, num_warps=1, num_stages=2),
    ],
    key=["n"],
)
@triton.jit
def kernel(x_ptr, y_ptr, n, width, BLOCK: tl.constexpr):
    row = tl.program_id(0) // 2
    backwards = tl.program_id(0) % 2
    total = 0.0
    for start in range(0, width, BLOCK):
        last = tl.cdiv(width, BLOCK) * BLOCK - BLOCK - start
        i = tl.where(backwards == 1, last, start) + tl.arange(0, BLOCK)
        total += tl.sum(tl.load(x_ptr + row * width + i, mask=i < width, other=0.0))
    tl.store(y_ptr + row, total)


class ModelNew(nn.Module):
    def forward(self, x):
        n, width = x.shape
        y = torch.empty(n, device=x.device, dtype=x.dtype)
        kernel[(2 * n,)](x, y, n, width)
        return y
