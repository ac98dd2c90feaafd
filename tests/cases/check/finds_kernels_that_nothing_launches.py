import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def double_kernel(x, y, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, 2 * tl.load(x + i))


@triton.jit
def unused_kernel(x, y, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, 2 * tl.load(x + i))


@triton.jit
def called_kernel(x, y, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, 2 * tl.load(x + i))


@triton.jit
def dead_kernel(x, y, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, 2 * tl.load(x + i))


@triton.jit
def helper(x):
    return x


@triton.jit
def loop(x):
    return loop(helper(x))


def double(x):
    y = torch.empty_like(x)
    double_kernel[(x.numel() // 64,)](x, y, BLOCK=64)
    called_kernel(x, y, BLOCK=64)
    return y


def forgotten(x):
    dead_kernel[(1,)](x, x, BLOCK=64)
    return also_forgotten(x)


def also_forgotten(x):
    return forgotten(x)


class ModelNew(nn.Module):
    def forward(self, x):
        return double(x)

# expect: 14:1 CG010
# expect: 20:1 CG010
# expect: 26:1 CG010
# expect: 32:1 CG010
# expect: 37:1 CG010
# expect: 48:1 CG011
# expect: 53:1 CG011
