"""A row's block must hold the row, and the file's own prune function sees to that; it rules out 4 stages, too."""
# inputs: float32[40,100]
# reference: torch.softmax(x, 1)
# promise: ieee
# where: anywhere

import torch
import torch.nn as nn
import triton
import triton.language as tl


def fits(configs, named_args, **kwargs):
    wide = [config for config in configs if config.kwargs["BLOCK"] >= named_args["n"]]
    return [config for config in wide if config.num_stages < 4]


@triton.autotune(
    configs=[
        triton.Config({"BLOCK": 8}, num_warps=1, num_stages=2),
        triton.Config({"BLOCK": 64}, num_warps=2, num_stages=2),
        triton.Config({"BLOCK": 128}, num_warps=4, num_stages=3),
        triton.Config({"BLOCK": 256}, num_warps=8, num_stages=3),
    ],
    key=["n"],
    prune_configs_by={"early_config_prune": fits, "perf_model": lambda **_: 1.0, "top_k": 1},
)
@triton.jit
def kernel(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + tl.program_id(0) * n + i, mask=i < n, other=-float("inf"))
    e = tl.exp(x - tl.max(x, 0))
    tl.store(y_ptr + tl.program_id(0) * n + i, e / tl.sum(e, 0), mask=i < n)


class ModelNew(nn.Module):
    def forward(self, x):
        rows, n = x.shape
        y = torch.empty_like(x)
        kernel[(rows,)](x, y, n)
        return y
