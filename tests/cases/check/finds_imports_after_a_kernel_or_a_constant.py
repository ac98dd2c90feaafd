import torch
import torch.nn as nn
import triton

BLOCK = 64

import triton.language as tl


@triton.jit
def double_kernel(x, y, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, 2 * tl.load(x + i))


def double(x):
    y = torch.empty_like(x)
    double_kernel[(x.numel() // 64,)](x, y, BLOCK=64)
    return y


class ModelNew(nn.Module):
    def forward(self, x):
        return double(x)

# expect: 7:8 CG003
