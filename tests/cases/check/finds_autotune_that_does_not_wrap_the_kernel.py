import torch
import torch.nn as nn
import triton
import triton.language as tl


CONFIGS = [triton.Config({"BLOCK": 64})]


@triton.autotune(CONFIGS, key=["x"])
@torch.compile
@triton.jit
def one(x):
    tl.store(x, 1)


@triton.autotune(CONFIGS, key=["x"])
@triton.autotune(CONFIGS, key=["x"])
@triton.jit
def two(x):
    tl.store(x, 2)


@triton.jit
@torch.compile
def three(x):
    tl.store(x, 3)


@triton.autotune(CONFIGS, key=["x"])
def four(x):
    one[(1,)](x)
    two[(1,)](x)
    three[(1,)](x)


def five(x):
    four[(1,)](x)
    tuned = triton.autotune(CONFIGS, key=["x"])(one)
    tuned[(1,)](x)


class ModelNew(nn.Module):
    def forward(self, x):
        return five(x)

# expect: 13:1 CG009
# expect: 20:1 CG009
# expect: 26:1 CG009
# expect: 31:1 CG009
# expect: 39:13 CG009
