"""A product through descriptors that the wrapper makes: it takes rows of whole 16 bytes and no others."""
# inputs: bfloat16[512,256] bfloat16[256,768]
# reference: A @ B
# promise: ieee
# where: anywhere

import torch
import torch.nn as nn
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor


def set_blocks(args):
    m, n, k = args["BLOCK_M"], args["BLOCK_N"], args["BLOCK_K"]
    args["a_desc"].block_shape = [m, k]
    args["b_desc"].block_shape = [k, n]
    args["c_desc"].block_shape = [m, n]


@triton.autotune(
    configs=[
        triton.Config(
            {"BLOCK_M": m, "BLOCK_N": n, "BLOCK_K": 64}, num_warps=w, num_stages=3, pre_hook=set_blocks
        )
        for m, n, w in [(64, 64, 4), (128, 64, 4), (128, 128, 8)]
    ],
    key=["m", "n", "k"],
)
@triton.jit
def kernel(
    a_desc,
    b_desc,
    c_desc,
    m,
    n,
    k,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    row = tl.program_id(0) * BLOCK_M
    col = tl.program_id(1) * BLOCK_N
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for first in range(0, k, BLOCK_K):
        acc = tl.dot(a_desc.load([row, first]), b_desc.load([first, col]), acc)
    c_desc.store([row, col], acc.to(c_desc.dtype))


class ModelNew(nn.Module):
    def forward(self, A, B):
        (m, k), n = A.shape, B.shape[1]
        C = torch.empty((m, n), device=A.device, dtype=A.dtype)
        descriptors = [TensorDescriptor.from_tensor(x, [1, 1]) for x in (A, B, C)]

        def grid(meta):
            return triton.cdiv(m, meta["BLOCK_M"]), triton.cdiv(n, meta["BLOCK_N"])

        kernel[grid](*descriptors, m, n, k)
        return C
