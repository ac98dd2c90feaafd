import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def double_kernel(x, y, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, 2 * tl.load(x + i))


@triton.jit
def treble_kernel(x, y, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, 3 * tl.load(x + i))


@triton.jit
def halve_kernel(x, y, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, 0.5 * tl.load(x + i))


KERNELS = {"double": double_kernel}


def run(name, x):
    y = torch.empty_like(x)
    KERNELS[name][(x.numel() // 64,)](x, y, BLOCK=64)
    launch = treble_kernel[(x.numel() // 64,)]
    launch(x, y, BLOCK=64)
    halve_kernel.run(x, y, BLOCK=64, grid=(x.numel() // 64,), warmup=False)
    return y


class ModelNew(nn.Module):
    def forward(self, x):
        return run("double", x)
