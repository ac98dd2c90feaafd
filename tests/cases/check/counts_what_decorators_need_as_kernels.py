import torch
import torch.nn as nn
import triton
import triton.language as tl


WARPS = (4, 8)
STAGES: tl.constexpr = tl.constexpr(3)


def zero_output(nargs):
    nargs["y"].zero_()


TUNED = [triton.Config({"BLOCK": 64}, num_warps=w, pre_hook=zero_output) for w in WARPS]


def small_enough(config):
    return config.num_warps <= max(WARPS)


def configs():
    return [config for config in TUNED if small_enough(config)]


@triton.autotune(configs=configs(), key=["n"])
@triton.heuristics({"EVEN": lambda args: args["n"] % args["BLOCK"] == 0})
@triton.heuristics({"FULL": lambda args: True})
@triton.jit
def double_kernel(x, y, n, BLOCK: tl.constexpr, EVEN: tl.constexpr, FULL: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, 2 * tl.load(x + i, i < n), i < n)


LIMIT = 2**31 - 1


def double(x):
    y = torch.empty_like(x)
    double_kernel[lambda meta: (triton.cdiv(min(x.numel(), LIMIT), meta["BLOCK"]),)](x, y, x.numel())
    return y


class ModelNew(nn.Module):
    def forward(self, x):
        return double(x)
