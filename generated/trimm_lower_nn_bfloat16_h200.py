# C = tril(A) @ tril(B), the other half zeros
# A, B [N, N]: bfloat16; C: bfloat16; summed in float32.
# What A and B hold outside their triangles is not used.
# A persistent kernel on tensor descriptors, and one on pointers for operands whose alignment, strides or
# sizes descriptors do not allow. Configs for N=4096 on the NVIDIA H200.
import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def tile_at(place, N, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """Row and column of the tile at this place of the queue: the more work, the earlier.

    A tile's work grows with its distance below the diagonal, so tiles are taken diagonal by
    diagonal, the furthest first. Where a diagonal ends it goes on in the other half, whose tiles only
    store zeros: so wrapped, all have one length, and a remainder finds the place exactly at any N.
    """
    tiles_m = tl.cdiv(N, BLOCK_M)
    tiles_n = tl.cdiv(N, BLOCK_N)
    if BLOCK_M >= BLOCK_N:
        tile_n = place % tiles_n
        distance = tiles_m - 1 - place // tiles_n
        tile_m = (tile_n * BLOCK_N // BLOCK_M + distance) % tiles_m
    else:
        tile_m = place % tiles_m
        distance = place // tiles_m + 1
        tile_n = (tile_m * BLOCK_M // BLOCK_N + distance) % tiles_n
    return tile_m, tile_n


@triton.autotune(
    configs=[
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 64}, num_warps=4, num_stages=3),
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 64}, num_warps=8, num_stages=4),
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 256, "BLOCK_K": 64}, num_warps=8, num_stages=3),
        triton.Config({"BLOCK_M": 256, "BLOCK_N": 128, "BLOCK_K": 64}, num_warps=8, num_stages=3),
        triton.Config({"BLOCK_M": 64, "BLOCK_N": 128, "BLOCK_K": 64}, num_warps=4, num_stages=4),
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 64, "BLOCK_K": 64}, num_warps=4, num_stages=4),
    ],
    key=["N"],
)
@triton.jit
def tril_matmul_descriptor_kernel(
    a_ptr,
    b_ptr,
    c_ptr,
    queue_ptr,
    N,
    stride_a,
    stride_b,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Tiles of C = tril(A) @ tril(B), moved by the tensor memory accelerator.

    The kernel is persistent. Tiles differ in work, so programs don't own a share of them: whoever is free
    takes the next place of the queue from the counter at queue_ptr, which is zero before and after.
    Elements past the matrices' ends are read as zero and not written.
    """
    a_desc = tl.make_tensor_descriptor(
        a_ptr, shape=[N, N], strides=[stride_a, 1], block_shape=[BLOCK_M, BLOCK_K]
    )
    b_desc = tl.make_tensor_descriptor(
        b_ptr, shape=[N, N], strides=[stride_b, 1], block_shape=[BLOCK_K, BLOCK_N]
    )
    c_desc = tl.make_tensor_descriptor(
        c_ptr, shape=[N, N], strides=[N, 1], block_shape=[BLOCK_M, BLOCK_N]
    )
    places = tl.cdiv(N, BLOCK_M) * tl.cdiv(N, BLOCK_N)
    place = tl.atomic_add(queue_ptr, 1)
    while place < places:
        tile_m, tile_n = tile_at(place, N, BLOCK_M, BLOCK_N)
        first_row = tile_m * BLOCK_M
        first_col = tile_n * BLOCK_N
        rows = first_row + tl.arange(0, BLOCK_M)
        cols = first_col + tl.arange(0, BLOCK_N)

        # Column j of tril(B) starts at row j, and row i of tril(A) ends at column i: k runs from the
        # tile's first column to its last row, and nowhere for a tile above the diagonal.
        k_begin = first_col
        k_end = min(first_row + BLOCK_M, N)
        # Steps that touch a diagonal need masks; those between lie inside both triangles and are
        # done apart, first.
        full_begin = k_begin + tl.cdiv(BLOCK_N, BLOCK_K) * BLOCK_K
        full_steps = max(first_row + 1 - full_begin, 0) // BLOCK_K
        masked_steps = tl.cdiv(k_end - k_begin, BLOCK_K) - full_steps

        acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
        for step in range(full_steps):
            k = full_begin + step * BLOCK_K
            a = a_desc.load([first_row, k])
            b = b_desc.load([k, first_col])
            acc = tl.dot(a, b, acc)
        for step in range(masked_steps):
            k = k_begin + step * BLOCK_K
            k += tl.where(k < full_begin, 0, full_steps * BLOCK_K)  # past the steps already done
            ks = k + tl.arange(0, BLOCK_K)
            a = a_desc.load([first_row, k])
            b = b_desc.load([k, first_col])
            a = tl.where(rows[:, None] >= ks[None, :], a, 0.0)
            b = tl.where(ks[:, None] >= cols[None, :], b, 0.0)
            acc = tl.dot(a, b, acc)

        c = tl.where(rows[:, None] >= cols[None, :], acc, 0.0).to(c_ptr.dtype.element_ty)
        c_desc.store([first_row, first_col], c)
        place = tl.atomic_add(queue_ptr, 1)
    # Each program ends on one place past the end of the queue: the last one has no other after it.
    if place == places + tl.num_programs(0) - 1:
        tl.store(queue_ptr, 0)


@triton.autotune(
    configs=[
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 64}, num_warps=8, num_stages=3),
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 32}, num_warps=4, num_stages=4),
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 64}, num_warps=8, num_stages=2),
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 64, "BLOCK_K": 64}, num_warps=4, num_stages=3),
        triton.Config({"BLOCK_M": 64, "BLOCK_N": 128, "BLOCK_K": 64}, num_warps=4, num_stages=3),
        triton.Config({"BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 64}, num_warps=4, num_stages=3),
    ],
    key=["N", "stride_ak", "stride_bn"],
)
@triton.jit
def tril_matmul_kernel(
    a_ptr,
    b_ptr,
    c_ptr,
    N,
    stride_am,
    stride_ak,
    stride_bk,
    stride_bn,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """One tile of C = tril(A) @ tril(B) per program, through pointers: any strides, any alignment.

    Offsets are 64-bit, for tensors of more than 2^31 elements.
    """
    place = tl.program_id(0)
    tile_m, tile_n = tile_at(place, N, BLOCK_M, BLOCK_N)
    first_row = tile_m * BLOCK_M
    first_col = tile_n * BLOCK_N
    rows = first_row + tl.arange(0, BLOCK_M)
    cols = first_col + tl.arange(0, BLOCK_N)
    in_rows = rows[:, None] < N
    in_cols = cols[None, :] < N
    offs_k = tl.arange(0, BLOCK_K).to(tl.int64)
    a_ptrs = a_ptr + rows.to(tl.int64)[:, None] * stride_am + offs_k[None, :] * stride_ak
    b_ptrs = b_ptr + offs_k[:, None] * stride_bk + cols.to(tl.int64)[None, :] * stride_bn

    # Column j of tril(B) starts at row j, and row i of tril(A) ends at column i: k runs from the
    # tile's first column to its last row, and nowhere for a tile above the diagonal.
    k_begin = first_col
    k_end = min(first_row + BLOCK_M, N)
    # Steps that touch a diagonal need masks; those between lie inside both triangles and are
    # done apart, first.
    full_begin = k_begin + tl.cdiv(BLOCK_N, BLOCK_K) * BLOCK_K
    full_steps = max(first_row + 1 - full_begin, 0) // BLOCK_K
    masked_steps = tl.cdiv(k_end - k_begin, BLOCK_K) - full_steps
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)

    for step in range(full_steps):
        k = (full_begin + step * BLOCK_K).to(tl.int64)
        a = tl.load(a_ptrs + k * stride_ak, mask=in_rows, other=0.0)
        b = tl.load(b_ptrs + k * stride_bk)
        acc = tl.dot(a, b, acc)
    for step in range(masked_steps):
        k = k_begin + step * BLOCK_K
        k += tl.where(k < full_begin, 0, full_steps * BLOCK_K)  # past the steps already done
        ks = k + tl.arange(0, BLOCK_K)
        k = k.to(tl.int64)
        a = tl.load(a_ptrs + k * stride_ak, mask=in_rows & (ks[None, :] < N), other=0.0)
        b = tl.load(b_ptrs + k * stride_bk, mask=(ks[:, None] < N) & in_cols, other=0.0)
        a = tl.where(rows[:, None] >= ks[None, :], a, 0.0)
        b = tl.where(ks[:, None] >= cols[None, :], b, 0.0)
        acc = tl.dot(a, b, acc)

    c = tl.where(rows[:, None] >= cols[None, :], acc, 0.0).to(c_ptr.dtype.element_ty)
    c_ptrs = c_ptr + rows.to(tl.int64)[:, None] * N + cols[None, :]
    tl.store(c_ptrs, c, mask=in_rows & in_cols)


# Two for each of the NVIDIA H200's multiprocessors: while one stores a tile, the other computes.
PROGRAMS = 264


def workspace(size: int, alignment: int, stream: int | None) -> torch.Tensor:
    """Memory for the tensor descriptors that a kernel makes, asked for by Triton at each launch."""
    return torch.empty(size, device="cuda", dtype=torch.int8)


def fits_descriptor(x: torch.Tensor) -> bool:
    """Whether the tensor memory accelerator can address x.

    It wants base and rows to be at multiples of 16 bytes, and the elements of a row side by side.
    """
    if torch.compiler.is_compiling():
        return False  # there is no address to look at, and no allocator to set
    row = x.stride(0) * x.element_size()
    return x.data_ptr() % 16 == 0 and x.stride(1) == 1 and row > 0 and row % 16 == 0


def cdiv(a: int, b: int) -> int:
    """a / b, rounded up. (triton.cdiv, made for kernels too, takes a microsecond and more.)"""
    return -(-a // b)


def tiles(N: int, meta: dict) -> int:
    """How many tiles of a config's blocks the result has."""
    return cdiv(N, meta["BLOCK_M"]) * cdiv(N, meta["BLOCK_N"])


def tril_matmul(A: torch.Tensor, B: torch.Tensor) -> torch.Tensor:
    """C = tril(A) @ tril(B), of [N, N] each, for any N and strides.

    Raises ValueError for operands that do not fit. The first call with a new N tunes the kernel: make it
    before capturing a CUDA graph.
    """
    if A.dim() != 2 or A.shape[0] != A.shape[1] or B.shape != A.shape:
        raise ValueError(
            f"A and B must have one shape [N, N], and have {tuple(A.shape)} and {tuple(B.shape)}"
        )
    if A.dtype != torch.bfloat16 or B.dtype != torch.bfloat16:
        raise ValueError(f"A and B must be torch.bfloat16, and are {A.dtype} and {B.dtype}")
    if not A.is_cuda or B.device != A.device:
        raise ValueError(
            f"A and B must be on one CUDA device, and are on {A.device} and {B.device}"
        )
    N = A.shape[-1]
    C = torch.empty((N, N), device=A.device, dtype=torch.bfloat16)
    if C.numel() == 0:
        return C
    with torch.cuda.device(A.device):
        if all(fits_descriptor(x) for x in (A, B, C)):
            queue = torch.zeros(1, device=A.device, dtype=torch.int32)
            triton.set_allocator(workspace)
            tril_matmul_descriptor_kernel[lambda meta: (min(PROGRAMS, tiles(N, meta)),)](
                A, B, C, queue, N, A.stride(0), B.stride(0)
            )
        else:
            tril_matmul_kernel[lambda meta: (tiles(N, meta),)](
                A,
                B,
                C,
                N,
                A.stride(-2),
                A.stride(-1),
                B.stride(-2),
                B.stride(-1),
            )
    return C


class ModelNew(nn.Module):
    """tril(A) @ tril(B). Forward only: the result carries no gradient."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, A: torch.Tensor, B: torch.Tensor) -> torch.Tensor:
        return tril_matmul(A, B)
