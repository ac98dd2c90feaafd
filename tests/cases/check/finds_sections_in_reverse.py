import torch
import torch.nn as nn
import triton
import triton.language as tl


class ModelNew(nn.Module):
    def forward(self, x):
        return double(x)


def double(x):
    y = torch.empty_like(x)
    double_kernel[(x.numel() // 64,)](x, y, BLOCK=64)
    return y


@triton.jit
def double_kernel(x, y, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, 2 * tl.load(x + i))

# expect: 12:1 CG003
# expect: 19:1 CG003
