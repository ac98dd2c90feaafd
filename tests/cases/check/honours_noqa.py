import torch
import torch.nn as nn
import triton
import triton.language as tl
import math  # noqa: CG002
import time  # NOQA:E401,cg002 timing is done outside
import os  # noqa
import sys  # noqa: E401
import re  # noqa: later


@triton.jit
def double_kernel(x, y, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, 2 * tl.load(x + i))


def double(x):
    y = torch.empty_like(x)
    double_kernel[(x.numel() // 64,)](x, y, BLOCK=64)
    return y


def unused():  # noqa: CG010, CG011
    return math.pi


class ModelNew(nn.Module):
    def forward(self, x):
        return double(x)


print("# noqa")
print("hello")  # noqa : CG006

# expect: 8:8 CG002
# expect: 9:8 CG002
