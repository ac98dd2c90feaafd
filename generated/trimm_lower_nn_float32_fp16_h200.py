# C = tril(A) @ tril(B), the other half zeros
# A, B [N, N]: float32; C: float32; summed in float32, precision fp16.
# What A and B hold outside their triangles is not used.
# Float16 has TF32's mantissa, 11 bits, at twice its rate, and not its range: so each row of A and each column
# of B is scaled by a power of two first, which the result is divided by. An element is off by at most 2^-11
# of itself, or 2^-25 of the largest in its row where that is more.
# Beside the triangles parts are zeros, as far as they are read. Configs for N=4096 on the NVIDIA H200.
import torch
import torch.nn as nn
import triton
import triton.language as tl

# The exponent, as float32 stores it, that rows are scaled by whose largest element is 0, or from 2^-6 to 2^9.
USUAL: tl.constexpr = tl.constexpr(135)


@triton.jit
def exponent_of(top):
    """The exponent that a row is scaled by, given the bits of its largest magnitude.

    Rows not far from 1 share one, so that they can be scaled before their largest element is known. Others
    have that element's own, within what keeps powers of two finite and normal.
    """
    exponent = top >> 23
    usual = (top == 0) | ((exponent >= USUAL - 14) & (exponent <= USUAL))
    return tl.where(usual, USUAL, tl.minimum(tl.maximum(exponent, 15), 254))


@triton.jit
def store_parts(x, exponents, places, inside):
    """x, scaled to below 2^15, as float16."""
    x *= ((268 - exponents) << 23).to(tl.float32, bitcast=True)  # 2^(141 - exponent)
    high = x.to(tl.float16)
    tl.store(places, high, mask=inside)


@triton.jit
def unscale(acc, exponents):
    """acc without the scales of its rows and columns, whose exponents are added up in `exponents`.

    In two steps, for powers of two that float32 does not hold.
    """
    power = exponents - 2 * 141
    half = power >> 1
    acc *= ((half + 127) << 23).to(tl.float32, bitcast=True)
    return acc * ((power - half + 127) << 23).to(tl.float32, bitcast=True)


@triton.jit
def halves(x):
    """The left and the right half of a tile."""
    M: tl.constexpr = x.shape[0]
    N: tl.constexpr = x.shape[1]
    return x.reshape(M, 2, N // 2).permute(0, 2, 1).split()


@triton.jit
def store_piece(c, piece, z, first_m, first_n, M, N, ALIGNED: tl.constexpr):
    """Part of a tile of C [batch, M, N]. `c`: a descriptor if rows are of whole 16 bytes, else a pointer."""
    ROWS: tl.constexpr = piece.shape[0]
    COLUMNS: tl.constexpr = piece.shape[1]
    if ALIGNED:
        c.store([z, first_m, first_n], piece.to(c.dtype).reshape(1, ROWS, COLUMNS))
    else:
        offs_m = first_m + tl.arange(0, ROWS)
        offs_n = first_n + tl.arange(0, COLUMNS)
        c += tl.cast(z, tl.int64) * M * N
        c_ptrs = c + offs_m.to(tl.int64)[:, None] * N + offs_n[None, :]
        inside = (offs_m[:, None] < M) & (offs_n[None, :] < N)
        tl.store(c_ptrs, piece.to(c.dtype.element_ty), mask=inside)


@triton.jit
def split_rows(
    x_ptr,
    tops_ptr,
    parts_ptr,
    N,
    N_PADDED,
    slices,
    pid,
    stride_r,
    stride_k,
    matrix,
    step_r,
    step_k,
    RIGHT: tl.constexpr,
    AGAIN: tl.constexpr,
    BLOCK: tl.constexpr,
    TILE: tl.constexpr,
):
    """The parts of BLOCK rows of x [batch, N, N], in one of `slices` of k: right of the diagonal, or left.

    Across it they are zeros, as far as tiles of up to TILE rows reach. First of all rows, scaled as is
    usual, and their largest magnitudes are found on the way; then AGAIN of those whose scale is their own.
    """
    blocks = tl.cdiv(N, BLOCK)
    z = (pid // slices // blocks).to(tl.int64)
    first_r = pid // slices % blocks * BLOCK
    offs_r = first_r.to(tl.int64) + tl.arange(0, BLOCK)
    inside = offs_r < N
    tops_ptr += z * N
    exponents = tl.full((BLOCK,), USUAL, tl.int32)
    if AGAIN:
        exponents = exponent_of(tl.load(tops_ptr + offs_r, mask=inside, other=0))
        inside &= exponents != USUAL
    if tl.max(inside.to(tl.int32), axis=0) > 0:
        tops = tl.zeros((BLOCK,), dtype=tl.int32)
        tile = first_r // TILE * TILE
        begin = tile if RIGHT else 0
        end = N_PADDED if RIGHT else tile + TILE
        for first_k in range(begin + pid % slices * BLOCK, end, slices * BLOCK):
            offs_k = (first_k + tl.arange(0, BLOCK)).to(tl.int64)
            kept = (
                offs_k[None, :] >= offs_r[:, None] if RIGHT else offs_k[None, :] <= offs_r[:, None]
            )
            x_ptrs = x_ptr + offs_r[:, None] * stride_r + offs_k[None, :] * stride_k
            x = tl.load(x_ptrs, mask=inside[:, None] & (offs_k[None, :] < N) & kept, other=0.0)
            magnitudes = x.to(tl.int32, bitcast=True) & 0x7FFFFFFF  # bits, in the same order
            tops = tl.maximum(tops, tl.max(magnitudes, axis=1))
            places = parts_ptr + z * matrix + offs_r[:, None] * step_r + offs_k[None, :] * step_k
            store_parts(x, exponents[:, None], places, inside[:, None])
        if not AGAIN:
            tl.atomic_max(tops_ptr + offs_r, tops, mask=inside, sem="relaxed")


@triton.jit
def split_kernel(
    a_ptr,
    b_ptr,
    tops_ptr,
    a_parts_ptr,
    b_parts_ptr,
    batches,
    N,
    N_PADDED,
    slices,
    stride_r_a,
    stride_k_a,
    matrix_a,
    step_r_a,
    step_k_a,
    stride_r_b,
    stride_k_b,
    matrix_b,
    step_r_b,
    step_k_b,
    AGAIN: tl.constexpr,
    BLOCK: tl.constexpr,
    TILE: tl.constexpr,
):
    """Splits rows of A and, to whom the last half of the programs go, columns of B."""
    pid = tl.program_id(0)
    programs_a = tl.num_programs(0) // 2
    if pid < programs_a:
        split_rows(
            a_ptr,
            tops_ptr,
            a_parts_ptr,
            N,
            N_PADDED,
            slices,
            pid,
            stride_r_a,
            stride_k_a,
            matrix_a,
            step_r_a,
            step_k_a,
            False,
            AGAIN,
            BLOCK,
            TILE,
        )
    else:
        split_rows(
            b_ptr,
            tops_ptr + batches * N,
            b_parts_ptr,
            N,
            N_PADDED,
            slices,
            pid - programs_a,
            stride_r_b,
            stride_k_b,
            matrix_b,
            step_r_b,
            step_k_b,
            True,
            AGAIN,
            BLOCK,
            TILE,
        )


@triton.jit
def tile_at(place, side, GROUP: tl.constexpr):
    """The place-th tile: how far out of the triangle's corner its two edges are, the outer and the inner one.

    The tiles with most work come first, by diagonals of blocks of GROUP x GROUP tiles, which run at the same
    time and share rows and columns in the L2 cache. The furthest diagonal has one block, the next two, and
    so on: a square root finds it, and integers correct what its rounding may miss.
    """
    block = place // (GROUP * GROUP)
    diagonal = ((tl.sqrt(8.0 * block.to(tl.float32) + 1.0) - 1.0) * 0.5).to(tl.int32)
    diagonal = tl.where(diagonal * (diagonal + 1) // 2 > block, diagonal - 1, diagonal)
    diagonal = tl.where((diagonal + 1) * (diagonal + 2) // 2 <= block, diagonal + 1, diagonal)
    along = block - diagonal * (diagonal + 1) // 2
    distance = tl.cdiv(side, GROUP) - 1 - diagonal
    return (along + distance) * GROUP + place % GROUP, along * GROUP + place // GROUP % GROUP


@triton.autotune(
    configs=[
        triton.Config(
            {"BLOCK": 128, "BLOCK_K": 64, "GROUP": 4, "PROGRAMS": 132}, num_warps=8, num_stages=5
        ),
        triton.Config(
            {"BLOCK": 128, "BLOCK_K": 64, "GROUP": 1, "PROGRAMS": 132}, num_warps=8, num_stages=5
        ),
        triton.Config(
            {"BLOCK": 128, "BLOCK_K": 64, "GROUP": 4, "PROGRAMS": 264}, num_warps=8, num_stages=3
        ),
        triton.Config(
            {"BLOCK": 128, "BLOCK_K": 64, "GROUP": 2, "PROGRAMS": 264}, num_warps=4, num_stages=3
        ),
        triton.Config(
            {"BLOCK": 64, "BLOCK_K": 64, "GROUP": 2, "PROGRAMS": 264}, num_warps=4, num_stages=6
        ),
        triton.Config(
            {"BLOCK": 64, "BLOCK_K": 64, "GROUP": 1, "PROGRAMS": 396}, num_warps=4, num_stages=4
        ),
    ],
    key=["N"],
)
@triton.jit
def tril_matmul_parts_kernel(
    a_ptr,
    b_ptr,
    c_ptr,
    tops_ptr,
    batches,
    N,
    N_PADDED,
    pitch_a,
    pitch_b,
    ALIGNED: tl.constexpr,
    PROGRAMS: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP: tl.constexpr,
):
    """Tiles of C = tril(A) @ tril(B) from the parts of both, moved by the tensor memory accelerator.

    The kernel is persistent. Tiles are dealt out to its programs heaviest first, forwards and backwards in
    turn, so that all get about the same work; with each goes its mirror image across the diagonal, zeros.
    """
    a_desc = tl.make_tensor_descriptor(
        a_ptr,
        shape=[batches * N_PADDED, N_PADDED],
        strides=[pitch_a, 1],
        block_shape=[BLOCK, BLOCK_K],
    )
    b_desc = tl.make_tensor_descriptor(
        b_ptr,
        shape=[batches * N_PADDED, N_PADDED],
        strides=[pitch_b, 1],
        block_shape=[BLOCK_K, BLOCK],
    )
    c = c_ptr
    if ALIGNED:
        c = tl.make_tensor_descriptor(
            c_ptr,
            shape=[batches, N, N],
            strides=[tl.cast(N, tl.int64) * N, N, 1],
            block_shape=[1, BLOCK, BLOCK // 4],
        )
    side = tl.cdiv(N, BLOCK)
    blocks = tl.cdiv(side, GROUP)
    places = batches * (blocks * (blocks + 1) // 2) * GROUP * GROUP
    for round in tl.range(0, tl.cdiv(places, PROGRAMS), flatten=True):
        dealt = tl.where(round % 2 == 0, tl.program_id(0), PROGRAMS - 1 - tl.program_id(0))
        place = min(round * PROGRAMS + dealt, places - 1)
        z = place % batches
        outer, inner = tile_at(place // batches, side, GROUP)
        # Who gets no place, or one outside the triangle, computes a little and stores it past C's end.
        idle = (round * PROGRAMS + dealt >= places) | (outer >= side) | (outer < inner)
        outer *= BLOCK
        inner *= BLOCK
        first_row, first_col = outer, inner
        zeros = tl.zeros((BLOCK, BLOCK // 4), dtype=c_ptr.dtype.element_ty)
        mirror_row = tl.where(idle | (inner == outer), N, first_col)
        store_piece(c, zeros, z, mirror_row, first_row + 0 * (BLOCK // 4), N, N, ALIGNED)
        store_piece(c, zeros, z, mirror_row, first_row + 1 * (BLOCK // 4), N, N, ALIGNED)
        store_piece(c, zeros, z, mirror_row, first_row + 2 * (BLOCK // 4), N, N, ALIGNED)
        store_piece(c, zeros, z, mirror_row, first_row + 3 * (BLOCK // 4), N, N, ALIGNED)
        # k runs from where the inner triangle of the sum begins to where it ends.
        steps = tl.where(idle, 1, (outer + BLOCK - inner) // BLOCK_K)
        acc = tl.zeros((BLOCK, BLOCK), dtype=tl.float32)
        for step in range(0, steps):
            k = inner + step * BLOCK_K
            a_first = z * N_PADDED
            b_first = z * N_PADDED
            a = a_desc.load([a_first + first_row, k])
            b = b_desc.load([b_first + k, first_col])
            acc = tl.dot(a, b, acc)

        rows = first_row + tl.arange(0, BLOCK)
        cols = first_col + tl.arange(0, BLOCK)
        a_tops = tl.load(tops_ptr + z * N + rows, mask=rows < N, other=0)
        b_tops = tl.load(tops_ptr + (batches + z) * N + cols, mask=cols < N, other=0)
        acc = unscale(acc, exponent_of(a_tops)[:, None] + exponent_of(b_tops)[None, :])
        acc = tl.where(rows[:, None] >= cols[None, :], acc, 0.0)  # NaN times 0 is none
        row = tl.where(idle, N, first_row)
        # Stored by quarters: a whole tile would take shared memory that another stage of loads needs.
        left, right = halves(acc)
        first, second = halves(left)
        third, fourth = halves(right)
        store_piece(c, first, z, row, first_col + 0 * (BLOCK // 4), N, N, ALIGNED)
        store_piece(c, second, z, row, first_col + 1 * (BLOCK // 4), N, N, ALIGNED)
        store_piece(c, third, z, row, first_col + 2 * (BLOCK // 4), N, N, ALIGNED)
        store_piece(c, fourth, z, row, first_col + 3 * (BLOCK // 4), N, N, ALIGNED)


# What is split at once, rows by steps of k; and the side of the largest tile, which N is padded to.
BLOCK, TILE = 64, 128


def cdiv(a: int, b: int) -> int:
    """a / b, rounded up. (triton.cdiv, made for kernels too, takes a microsecond and more.)"""
    return -(-a // b)


def workspace(size: int, alignment: int, stream: int | None) -> torch.Tensor:
    """Memory for the tensor descriptors that a kernel makes, asked for by Triton at each launch."""
    return torch.empty(size, device="cuda", dtype=torch.int8)


def places(N: int, meta: dict) -> int:
    """How many tiles of a config's size the triangle has, in whole groups."""
    side = cdiv(N, meta["BLOCK"] * meta["GROUP"])
    return side * (side + 1) // 2 * meta["GROUP"] ** 2


@torch.compiler.disable  # it cannot trace the allocator
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
    C = torch.empty(A.shape, device=A.device, dtype=torch.float32)
    if C.numel() == 0:
        return C
    batches = C.numel() // (N * N)
    N_PADDED = cdiv(N, TILE) * TILE
    with torch.cuda.device(A.device):
        shape = (1, batches, N_PADDED, N_PADDED)
        A_parts = torch.empty(shape, device=A.device, dtype=torch.float16)
        B_parts = torch.empty(shape, device=A.device, dtype=torch.float16)
        tops = torch.zeros(2 * batches * N, device=A.device, dtype=torch.int32)
        slices = cdiv(N_PADDED, 4 * BLOCK)
        for again in (False, True):
            split_kernel[(2 * slices * batches * cdiv(N, BLOCK),)](
                A,
                B,
                tops,
                A_parts,
                B_parts,
                batches,
                N,
                N_PADDED,
                slices,
                A.stride(-2),
                A.stride(-1),
                A_parts.stride(1),
                A_parts.stride(-2),
                A_parts.stride(-1),
                B.stride(-1),
                B.stride(-2),
                B_parts.stride(1),
                B_parts.stride(-1),
                B_parts.stride(-2),
                AGAIN=again,
                BLOCK=BLOCK,
                TILE=TILE,
            )
        triton.set_allocator(workspace)
        tril_matmul_parts_kernel[lambda meta: (min(meta["PROGRAMS"], batches * places(N, meta)),)](
            A_parts,
            B_parts,
            C.view(batches, N, N),
            tops,
            batches,
            N,
            N_PADDED,
            A_parts.stride(-2),
            B_parts.stride(-2),
            ALIGNED=N * C.element_size() % 16 == 0,
        )
    return C


class ModelNew(nn.Module):
    """tril(A) @ tril(B). Forward only: the result carries no gradient."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, A: torch.Tensor, B: torch.Tensor) -> torch.Tensor:
        return tril_matmul(A, B)
