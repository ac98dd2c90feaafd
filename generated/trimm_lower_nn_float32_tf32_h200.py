# C = tril(A) @ tril(B), the other half zeros
# A, B [N, N]: float32; C: float32; summed in float32, precision tf32.
# What A and B hold outside their triangles is not used.
# The triangles are copied first, zeros beside them, so that the elements of each sum lie side by side:
# tensor cores read TF32 operands straight from shared memory in that order alone. A persistent kernel on
# tensor descriptors multiplies them; one on pointers is for results whose rows are not whole 16 bytes.
# Configs for N=4096 on the NVIDIA H200.
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


@triton.jit
def round_to_tf32(x):
    """The nearest number with TF32's 10 bits of mantissa; tensor cores alone would drop the other 13.

    Half a unit of the last bit kept is added first. NaN and infinities stay what they are.
    """
    power = (x.to(tl.int32, bitcast=True) & -0x800000).to(tl.float32, bitcast=True)  # no mantissa
    raised = tl.fma(power, 2.0**-11, x)
    return (raised.to(tl.int32, bitcast=True) & -0x2000).to(tl.float32, bitcast=True)


@triton.jit
def pack_kernel(
    x_ptr,
    packed_ptr,
    N,
    stride_r,
    stride_k,
    RIGHT: tl.constexpr,
    BLOCK: tl.constexpr,
    REACH: tl.constexpr,
):
    """packed[r, k] = x[r, k] on the diagonal and, if RIGHT, right of it, else left of it; 0 beside that.

    Rounded to the nearest TF32 number, which costs nothing on the way. The product's tiles lie across the
    diagonal and read zeros less far from it than REACH: no side of a tile and step of k are longer together.
    Further out nothing is read, and nothing written.
    """
    blocks = tl.cdiv(N, BLOCK)
    first_r = tl.program_id(0) // blocks * BLOCK
    first_k = tl.program_id(0) % blocks * BLOCK
    if (first_r - first_k if RIGHT else first_k - first_r) < REACH:
        r = first_r.to(tl.int64) + tl.arange(0, BLOCK)[:, None]
        k = first_k.to(tl.int64) + tl.arange(0, BLOCK)[None, :]
        inside = (r < N) & (k < N)
        kept = k >= r if RIGHT else k <= r
        x = tl.load(x_ptr + r * stride_r + k * stride_k, mask=inside & kept, other=0.0)
        tl.store(packed_ptr + r * N + k, round_to_tf32(x), mask=inside)


@triton.autotune(
    configs=[
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 32}, num_warps=4, num_stages=3),
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 32}, num_warps=8, num_stages=4),
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 256, "BLOCK_K": 32}, num_warps=8, num_stages=3),
        triton.Config({"BLOCK_M": 256, "BLOCK_N": 128, "BLOCK_K": 32}, num_warps=8, num_stages=3),
        triton.Config({"BLOCK_M": 64, "BLOCK_N": 128, "BLOCK_K": 32}, num_warps=4, num_stages=4),
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 64, "BLOCK_K": 32}, num_warps=4, num_stages=4),
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
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Tiles of C = tril(A) @ tril(B) from the packed triangles, moved by the tensor memory accelerator.

    The rows of the packed B are the columns of tril(B). The kernel is persistent. Tiles differ in work,
    so programs don't own a share of them: whoever is free takes the next place of the queue from the
    counter at queue_ptr, which is zero before and after. Elements past the matrices' ends are read as zero
    and not written.
    """
    a_desc = tl.make_tensor_descriptor(
        a_ptr, shape=[N, N], strides=[N, 1], block_shape=[BLOCK_M, BLOCK_K]
    )
    b_desc = tl.make_tensor_descriptor(
        b_ptr, shape=[N, N], strides=[N, 1], block_shape=[BLOCK_N, BLOCK_K]
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
        acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
        for step in range(tl.cdiv(k_end - k_begin, BLOCK_K)):
            k = k_begin + step * BLOCK_K
            a = a_desc.load([first_row, k])
            b = b_desc.load([first_col, k])
            acc = tl.dot(a, b.T, acc, input_precision="tf32")

        c = tl.where(rows[:, None] >= cols[None, :], acc, 0.0).to(c_ptr.dtype.element_ty)
        c_desc.store([first_row, first_col], c)
        place = tl.atomic_add(queue_ptr, 1)
    # Each program ends on one place past the end of the queue: the last one has no other after it.
    if place == places + tl.num_programs(0) - 1:
        tl.store(queue_ptr, 0)


@triton.autotune(
    configs=[
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 32}, num_warps=8, num_stages=3),
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 16}, num_warps=8, num_stages=4),
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 32}, num_warps=4, num_stages=2),
        triton.Config({"BLOCK_M": 64, "BLOCK_N": 128, "BLOCK_K": 32}, num_warps=4, num_stages=3),
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 64, "BLOCK_K": 32}, num_warps=4, num_stages=3),
        triton.Config({"BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 32}, num_warps=4, num_stages=3),
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
        # B passes through registers, where rounding is free. A does not: it is truncated.
        b = round_to_tf32(b)
        acc = tl.dot(a, b, acc, input_precision="tf32")
    for step in range(masked_steps):
        k = k_begin + step * BLOCK_K
        k += tl.where(k < full_begin, 0, full_steps * BLOCK_K)  # past the steps already done
        ks = k + tl.arange(0, BLOCK_K)
        k = k.to(tl.int64)
        a = tl.load(a_ptrs + k * stride_ak, mask=in_rows & (ks[None, :] < N), other=0.0)
        b = tl.load(b_ptrs + k * stride_bk, mask=(ks[:, None] < N) & in_cols, other=0.0)
        a = tl.where(rows[:, None] >= ks[None, :], a, 0.0)
        b = tl.where(ks[:, None] >= cols[None, :], b, 0.0)
        b = round_to_tf32(b)
        acc = tl.dot(a, b, acc, input_precision="tf32")

    c = tl.where(rows[:, None] >= cols[None, :], acc, 0.0).to(c_ptr.dtype.element_ty)
    c_ptrs = c_ptr + rows.to(tl.int64)[:, None] * N + cols[None, :]
    tl.store(c_ptrs, c, mask=in_rows & in_cols)


# Two for each of the NVIDIA H200's multiprocessors: while one stores a tile, the other computes.
PROGRAMS = 264


def workspace(size: int, alignment: int, stream: int | None) -> torch.Tensor:
    """Memory for the tensor descriptors that a kernel makes, asked for by Triton at each launch."""
    return torch.empty(size, device="cuda", dtype=torch.int8)


def pack(x: torch.Tensor, right: bool) -> torch.Tensor:
    """The triangle of x [N, N] right of its diagonal, or left, and zeros beside it, whatever x's strides."""
    N = x.shape[0]
    packed = torch.empty((N, N), device=x.device, dtype=x.dtype)
    pack_kernel[(cdiv(N, 64) ** 2,)](
        x, packed, N, x.stride(0), x.stride(1), RIGHT=right, BLOCK=64, REACH=512
    )
    return packed


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
    if A.dtype != torch.float32 or B.dtype != torch.float32:
        raise ValueError(f"A and B must be torch.float32, and are {A.dtype} and {B.dtype}")
    if not A.is_cuda or B.device != A.device:
        raise ValueError(
            f"A and B must be on one CUDA device, and are on {A.device} and {B.device}"
        )
    N = A.shape[-1]
    C = torch.empty((N, N), device=A.device, dtype=torch.float32)
    if C.numel() == 0:
        return C
    with torch.cuda.device(A.device):
        # torch.compile cannot trace the allocator that descriptors need.
        if N * C.element_size() % 16 == 0 and not torch.compiler.is_compiling():
            A_packed, B_packed = pack(A, False), pack(B.T, True)
            queue = torch.zeros(1, device=A.device, dtype=torch.int32)
            triton.set_allocator(workspace)
            tril_matmul_descriptor_kernel[lambda meta: (min(PROGRAMS, tiles(N, meta)),)](
                A_packed, B_packed, C, queue, N
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
