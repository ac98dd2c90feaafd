# C = A @ B
# A [M, K], B [K, N]: bfloat16; C [M, N]: bfloat16; summed in float32.
# A persistent kernel on tensor descriptors, and one on pointers for operands whose alignment, strides or
# sizes descriptors do not allow, unless products are so large that it pays to copy them. Configs for M=2048, N=4096, K=8192 on the NVIDIA H200.
import torch
import torch.nn as nn
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor


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
def store_half(c, half, first_m, first_n, M, N, ALIGNED: tl.constexpr):
    """Half of a tile of C [M, N]. `c`: a descriptor if rows are of whole 16 bytes, else a pointer."""
    if ALIGNED:
        c.store([first_m, first_n], half.to(c.dtype))
    else:
        offs_m = first_m + tl.arange(0, half.shape[0])
        offs_n = first_n + tl.arange(0, half.shape[1])
        c_ptrs = c + offs_m.to(tl.int64)[:, None] * N + offs_n[None, :]
        inside = (offs_m[:, None] < M) & (offs_n[None, :] < N)
        tl.store(c_ptrs, half.to(c.dtype.element_ty), mask=inside)


def set_blocks(args: dict) -> None:
    """Gives the descriptors of a launch their blocks, which its config decides."""
    m, n, k = args["BLOCK_M"], args["BLOCK_N"], args["BLOCK_K"]
    args["a_desc"].block_shape = [m, k]
    args["b_desc"].block_shape = [k, n]
    if args["ALIGNED"]:
        args["c"].block_shape = [m, n // 2]


@triton.autotune(
    configs=[
        triton.Config(
            {"BLOCK_M": 128, "BLOCK_N": 256, "BLOCK_K": 64},
            num_warps=8,
            num_stages=4,
            pre_hook=set_blocks,
        ),
        triton.Config(
            {"BLOCK_M": 128, "BLOCK_N": 256, "BLOCK_K": 64},
            num_warps=8,
            num_stages=3,
            pre_hook=set_blocks,
        ),
        triton.Config(
            {"BLOCK_M": 256, "BLOCK_N": 128, "BLOCK_K": 64},
            num_warps=8,
            num_stages=4,
            pre_hook=set_blocks,
        ),
        triton.Config(
            {"BLOCK_M": 256, "BLOCK_N": 128, "BLOCK_K": 64},
            num_warps=8,
            num_stages=3,
            pre_hook=set_blocks,
        ),
        triton.Config(
            {"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 64},
            num_warps=8,
            num_stages=4,
            pre_hook=set_blocks,
        ),
        triton.Config(
            {"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 64},
            num_warps=4,
            num_stages=4,
            pre_hook=set_blocks,
        ),
    ],
    key=["M", "N", "K"],
)
@triton.jit
def gemm_tma_kernel(
    a_desc,
    b_desc,
    c,
    M,
    N,
    K,
    NUM_SMS: tl.constexpr,
    ALIGNED: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
):
    """Tiles of C; the tensor memory accelerator moves A, B and C, which is a pointer if not ALIGNED.

    The kernel is persistent: each of NUM_SMS programs walks over its share of the tiles, and loads for
    the next tile while the last one is stored. What is out of range reads as zero and is not written.
    """
    tiles_m = tl.cdiv(M, BLOCK_M)
    tiles_n = tl.cdiv(N, BLOCK_N)
    tiles = tiles_m * tiles_n
    for pid in tl.range(tl.program_id(0), tiles, NUM_SMS, flatten=True):
        tile_m, tile_n = tile_at(pid, tiles_m, tiles_n, GROUP_M)
        first_m = tile_m * BLOCK_M
        first_n = tile_n * BLOCK_N
        acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
        for step in range(0, tl.cdiv(K, BLOCK_K)):
            first_k = step * BLOCK_K
            a = a_desc.load([first_m, first_k])
            b = b_desc.load([first_k, first_n])
            acc = tl.dot(a, b, acc)

        # Stored by halves: a whole tile would take shared memory that another stage of loads needs.
        left, right = acc.reshape(BLOCK_M, 2, BLOCK_N // 2).permute(0, 2, 1).split()
        store_half(c, left, first_m, first_n, M, N, ALIGNED)
        store_half(c, right, first_m, first_n + BLOCK_N // 2, M, N, ALIGNED)


@triton.autotune(
    configs=[
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 256, "BLOCK_K": 64}, num_warps=8, num_stages=3),
        triton.Config({"BLOCK_M": 256, "BLOCK_N": 128, "BLOCK_K": 64}, num_warps=8, num_stages=3),
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 64}, num_warps=8, num_stages=3),
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 32}, num_warps=4, num_stages=4),
        triton.Config({"BLOCK_M": 64, "BLOCK_N": 256, "BLOCK_K": 32}, num_warps=4, num_stages=4),
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 64, "BLOCK_K": 32}, num_warps=4, num_stages=4),
    ],
    key=["M", "N", "K", "stride_ak", "stride_bn"],
)
@triton.jit
def gemm_kernel(
    a_ptr,
    b_ptr,
    c_ptr,
    M,
    N,
    K,
    stride_am,
    stride_ak,
    stride_bk,
    stride_bn,
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
    # Columns of B lie side by side in memory: masked, they can still be read several at once.
    in_n = offs_n[None, :] < N
    b_ptrs = b_ptr + offs_k[:, None] * stride_bk + offs_n[None, :] * stride_bn
    a_step = tl.cast(BLOCK_K, tl.int64) * stride_ak
    b_step = tl.cast(BLOCK_K, tl.int64) * stride_bk

    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for _ in range(0, K // BLOCK_K):
        a = tl.load(a_ptrs)
        b = tl.load(b_ptrs, mask=in_n, other=0.0)
        acc = tl.dot(a, b, acc)
        a_ptrs += a_step
        b_ptrs += b_step
    if K % BLOCK_K != 0:  # the ragged end of K, apart, so that the loop needs no mask for it
        in_k = offs_k < K % BLOCK_K
        a = tl.load(a_ptrs, mask=in_k[None, :], other=0.0)
        b = tl.load(b_ptrs, mask=in_n & in_k[:, None], other=0.0)
        acc = tl.dot(a, b, acc)

    in_c = (offs_m[:, None] < M) & (offs_n[None, :] < N)

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


# Multiprocessors of the NVIDIA H200: as many programs run, each on many tiles.
NUM_SMS = 132


def described(x: torch.Tensor) -> TensorDescriptor:
    """x as the tensor memory accelerator addresses it; set_blocks gives it its blocks."""
    return TensorDescriptor.from_tensor(x, [1] * x.dim())


def fits_descriptor(x: torch.Tensor) -> bool:
    """Whether the tensor memory accelerator can address x.

    It wants base and strides to be multiples of 16 bytes, the last dimension without gaps, and
    coordinates of 32 bits.
    """
    if torch.compiler.is_compiling():
        return False  # there is no address to look at
    *strides, step = x.stride()
    if x.data_ptr() % 16 or step != 1 or max(x.shape) >= 2**31:
        return False
    size = x.element_size()
    for stride in strides:
        if stride <= 0 or stride * size % 16:
            return False
    return True


def in_whole_rows(x: torch.Tensor) -> torch.Tensor:
    """x, or where a descriptor cannot address it, a copy whose rows begin at multiples of 16 bytes."""
    if fits_descriptor(x):
        return x
    rows, columns = x.shape
    width = cdiv(columns * x.element_size(), 16) * 16 // x.element_size()
    return torch.empty((rows, width), device=x.device, dtype=x.dtype)[:, :columns].copy_(x)


def copying_pays(M: int, N: int, K: int) -> bool:
    """Whether descriptors gain more than it takes to copy operands that they cannot address.

    Through pointers a product of such rows reaches a fifth of the rate.
    """
    if torch.compiler.is_compiling() or max(M, N, K) >= 2**31:
        return False
    return min(M, N) >= 256 and M * N * K >= 2**28


def gemm(A: torch.Tensor, B: torch.Tensor) -> torch.Tensor:
    """A @ B, for any sizes and strides. Raises ValueError for operands that do not fit."""
    check("A", A, 2, torch.bfloat16)
    check("B", B, 2, torch.bfloat16)
    for name, x in [("B", B)]:
        if x.device != A.device:
            raise ValueError(f"A is on {A.device}, and {name} is on {x.device}")
    M, K = A.shape
    K_of_B, N = B.shape
    if K != K_of_B:
        raise ValueError(
            f"A has K = {K}, and B has K = {K_of_B}: shapes {tuple(A.shape)}, {tuple(B.shape)}"
        )
    C = torch.empty((M, N), device=A.device, dtype=torch.bfloat16)
    if C.numel() == 0:
        return C

    def tiles(meta):
        return cdiv(M, meta["BLOCK_M"]) * cdiv(N, meta["BLOCK_N"])

    with torch.cuda.device(A.device):
        if K > 0 and (copying_pays(M, N, K) or all(fits_descriptor(x) for x in (A, B, C))):
            A, B = in_whole_rows(A), in_whole_rows(B)
            aligned = fits_descriptor(C)
            gemm_tma_kernel[lambda meta: (min(NUM_SMS, tiles(meta)),)](
                described(A),
                described(B),
                described(C) if aligned else C,
                M,
                N,
                K,
                NUM_SMS=NUM_SMS,
                ALIGNED=aligned,
                GROUP_M=8,
            )
        else:
            gemm_kernel[lambda meta: (tiles(meta),)](
                A,
                B,
                C,
                M,
                N,
                K,
                A.stride(0),
                A.stride(1),
                B.stride(0),
                B.stride(1),
                GROUP_M=8,
            )
    return C


class ModelNew(nn.Module):
    """A @ B. Forward only: the result carries no gradient."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, A: torch.Tensor, B: torch.Tensor) -> torch.Tensor:
        return gemm(A, B)
