# C = gelu(A @ B.T + bias)
# A [M, K], B [N, K]: float16; C [M, N]: float16; summed in float32.
# One kernel, a program for each tile of C. Configs for M=2048, N=4096, K=8192 on the NVIDIA GeForce RTX 4090.
import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def tile_at(pid, tiles_m, tiles_n, GROUP_M: tl.constexpr):
    """Row and column of the pid-th tile.

    Tiles are walked down the columns of groups GROUP_M tiles high, so that blocks running at the same
    time share rows of A and columns of B in the L2 cache.
    """
    in_group = GROUP_M * tiles_n
    first_m = pid // in_group * GROUP_M
    height = min(tiles_m - first_m, GROUP_M)  # the last group may be lower
    return first_m + pid % in_group % height, pid % in_group // height


@triton.jit
def gelu(x):
    """x times the share of the normal distribution below x, that is 0.5 x (1 + erf(x / sqrt(2))).

    It is max(x, 0) - |x| tail(|x|), and the tail's logarithm is near a polynomial, which was fitted so that
    |x| times the tail is off by at most 8e-9 up to 5.5; beyond, where that is below 1.1e-7, it is taken as 0.
    In float32 that is nearer than erf's formula by the largest error and in mean square, above all for
    negative x, where 1 + erf cancels, in half the instructions.
    """
    size = tl.minimum(tl.abs(x), 5.5)
    power = tl.fma(size, -1.8003718e-06, 2.66369542e-05)
    power = tl.fma(power, size, -0.000123410423)
    power = tl.fma(power, size, -0.000296151256)
    power = tl.fma(power, size, 0.00728624169)
    power = tl.fma(power, size, -0.0526671613)
    power = tl.fma(power, size, -0.459141279)
    power = tl.fma(power, size, -1.15111632)
    power = tl.fma(power, size, -0.999999541)
    tail = tl.where(size < 5.5, tl.exp2(power), 0.0)
    # Infinity stays, and NaN; minus infinity times 0 is NaN, as it is by the formula.
    return tl.fma(-tl.where(x > 0, size, -x), tail, tl.where(x < 0, 0.0, x))


@triton.autotune(
    configs=[
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 256, "BLOCK_K": 64}, num_warps=8, num_stages=3),
        triton.Config({"BLOCK_M": 256, "BLOCK_N": 128, "BLOCK_K": 64}, num_warps=8, num_stages=3),
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 64}, num_warps=8, num_stages=3),
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 32}, num_warps=4, num_stages=4),
        triton.Config({"BLOCK_M": 64, "BLOCK_N": 256, "BLOCK_K": 32}, num_warps=4, num_stages=4),
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 64, "BLOCK_K": 32}, num_warps=4, num_stages=4),
    ],
    key=["M", "N", "K", "stride_ak", "stride_bk"],
)
@triton.jit
def gemm_kernel(
    a_ptr,
    b_ptr,
    c_ptr,
    bias_ptr,
    M,
    N,
    K,
    stride_am,
    stride_ak,
    stride_bk,
    stride_bn,
    stride_bias,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
):
    """One tile of C per program, A and B read through pointers: any strides, any alignment.

    Offsets are 64-bit, since a tensor may have more than 2^31 elements.
    """
    tiles_m = tl.cdiv(M, BLOCK_M)
    tiles_n = tl.cdiv(N, BLOCK_N)
    pid = tl.program_id(0)
    tile_m, tile_n = tile_at(pid, tiles_m, tiles_n, GROUP_M)
    offs_m = tile_m.to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    offs_n = tile_n.to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)
    offs_k = tl.arange(0, BLOCK_K).to(tl.int64)
    # Rows of A past the end are read as the last row: what they give is not stored, and needs no mask.
    a_m = tl.minimum(offs_m, M - 1)
    a_ptrs = a_ptr + a_m[:, None] * stride_am + offs_k[None, :] * stride_ak
    # Columns of B past the end are read as the last one: what they give is not stored, and needs no mask.
    b_n = tl.minimum(offs_n, N - 1)
    b_ptrs = b_ptr + offs_k[:, None] * stride_bk + b_n[None, :] * stride_bn
    a_step = tl.cast(BLOCK_K, tl.int64) * stride_ak
    b_step = tl.cast(BLOCK_K, tl.int64) * stride_bk

    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for _ in range(0, K // BLOCK_K):
        a = tl.load(a_ptrs)
        b = tl.load(b_ptrs)
        acc = tl.dot(a, b, acc)
        a_ptrs += a_step
        b_ptrs += b_step
    if K % BLOCK_K != 0:  # the ragged end of K, apart, so that the loop needs no mask for it
        in_k = offs_k < K % BLOCK_K
        a = tl.load(a_ptrs, mask=in_k[None, :], other=0.0)
        b = tl.load(b_ptrs, mask=in_k[:, None], other=0.0)
        acc = tl.dot(a, b, acc)

    in_c = (offs_m[:, None] < M) & (offs_n[None, :] < N)

    bias = tl.load(bias_ptr + offs_n * stride_bias, mask=offs_n < N, other=0.0)
    acc += bias.to(tl.float32)[None, :]
    acc = gelu(acc)

    c_ptrs = c_ptr + offs_m[:, None] * N + offs_n[None, :]
    tl.store(c_ptrs, acc.to(c_ptr.dtype.element_ty), mask=in_c)


def check(name: str, x: torch.Tensor, dims: int, dtype: torch.dtype) -> None:
    """Raises ValueError, saying why, where x cannot be an operand."""
    if x.dim() != dims:
        raise ValueError(f"{name} must have {dims} dimensions, and has shape {tuple(x.shape)}")
    if x.dtype != dtype:
        raise ValueError(f"{name} must be {dtype}, and is {x.dtype}")
    if not x.is_cuda:
        raise ValueError(f"{name} must be on a CUDA device, and is on {x.device}")


def cdiv(a: int, b: int) -> int:
    """a / b, rounded up. (triton.cdiv, made for kernels too, takes a microsecond and more.)"""
    return -(-a // b)


def gemm(A: torch.Tensor, B: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """gelu(A @ B.T + bias), for any sizes and strides. Raises ValueError for operands that do not fit."""
    check("A", A, 2, torch.float16)
    check("B", B, 2, torch.float16)
    check("bias", bias, 1, torch.float16)
    for name, x in [("B", B), ("bias", bias)]:
        if x.device != A.device:
            raise ValueError(f"A is on {A.device}, and {name} is on {x.device}")
    M, K = A.shape
    N, K_of_B = B.shape
    if K != K_of_B:
        raise ValueError(
            f"A has K = {K}, and B has K = {K_of_B}: shapes {tuple(A.shape)}, {tuple(B.shape)}"
        )
    if bias.shape[0] != N:
        raise ValueError(f"bias must have {N} elements, and has {bias.shape[0]}")
    C = torch.empty((M, N), device=A.device, dtype=torch.float16)
    if C.numel() == 0:
        return C

    def tiles(meta):
        return cdiv(M, meta["BLOCK_M"]) * cdiv(N, meta["BLOCK_N"])

    with torch.cuda.device(A.device):
        gemm_kernel[lambda meta: (tiles(meta),)](
            A,
            B,
            C,
            bias,
            M,
            N,
            K,
            A.stride(0),
            A.stride(1),
            B.stride(1),
            B.stride(0),
            bias.stride(0),
            GROUP_M=8,
        )
    return C


class ModelNew(nn.Module):
    """gelu(A @ B.T + bias). Forward only: the result carries no gradient."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, A: torch.Tensor, B: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return gemm(A, B, bias)
