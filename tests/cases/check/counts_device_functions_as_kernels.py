import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def twice(x):
    return 2 * x


@triton.jit
def add(a, b):
    return a + b


@triton.jit
def square(x):
    return x * x


@triton.jit
def sum_kernel(x, y, FUNCTION: tl.constexpr, BLOCK: tl.constexpr):
    values = FUNCTION(twice(tl.load(x + tl.arange(0, BLOCK))))
    tl.store(y, tl.reduce(values, 0, add))


def sum_of_squares(x):
    y = torch.empty(1, device=x.device)
    sum_kernel[(1,)](x, y, FUNCTION=square, BLOCK=64)
    return y


class ModelNew(nn.Module):
    def forward(self, x):
        return sum_of_squares(x)
