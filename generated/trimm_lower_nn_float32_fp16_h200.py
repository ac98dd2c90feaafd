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
from triton.tools.tensor_descriptor import TensorDescriptor

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
            # Beside the diagonal too: were it part of the mask, elements would be loaded one by one.
            x = tl.load(x_ptrs, mask=inside[:, None] & (offs_k[None, :] < N), other=0.0)
            x = tl.where(kept, x, 0.0)
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
def places_in(N, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, SPAN: tl.constexpr):
    """How many tiles the squares of SPAN x SPAN have that touch the triangle."""
    side = tl.cdiv(N, SPAN)
    return side * (side + 1) // 2 * (SPAN // BLOCK_M * (SPAN // BLOCK_N))


@triton.jit
def dealt_tile(
    round,
    batches,
    N,
    PROGRAMS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SPAN: tl.constexpr,
):
    """What this program computes in a round.

    Returns which matrix, a tile's first row and column, its steps, and if it is none of the triangle's.

    Tiles are dealt out heaviest first, forwards, then backwards twice, and so on: work falls off ever slower
    from round to round, so that it takes two backwards to make up for one forwards. Tiles of one square of
    SPAN x SPAN run at the same time and share rows and columns in the L2 cache. The squares furthest from
    the diagonal come first: there is one, then two, and so on. A square root finds it, and integers correct
    what its rounding may miss. A tile beside the triangle takes a step, for nothing; who gets none has no
    step.
    """
    pid = tl.program_id(0)
    place = round * PROGRAMS + tl.where(round % 3 == 0, pid, PROGRAMS - 1 - pid)
    places = places_in(N, BLOCK_M, BLOCK_N, SPAN) * batches
    z = place % batches
    tile = place // batches
    square = tile // (SPAN // BLOCK_M * (SPAN // BLOCK_N))
    diagonal = ((tl.sqrt(8.0 * square.to(tl.float32) + 1.0) - 1.0) * 0.5).to(tl.int32)
    diagonal = tl.where(diagonal * (diagonal + 1) // 2 > square, diagonal - 1, diagonal)
    diagonal = tl.where((diagonal + 1) * (diagonal + 2) // 2 <= square, diagonal + 1, diagonal)
    along = square - diagonal * (diagonal + 1) // 2
    distance = tl.cdiv(N, SPAN) - 1 - diagonal
    m = tile % (SPAN // BLOCK_M)
    n = tile // (SPAN // BLOCK_M) % (SPAN // BLOCK_N)
    first_row = (along + distance) * SPAN + m * BLOCK_M
    first_col = along * SPAN + n * BLOCK_N
    # k runs from where the inner triangle of the sum begins to where it ends.
    k_begin = first_col
    k_end = min(first_row + BLOCK_M, N)
    idle = (place >= places) | (first_row >= N) | (first_col >= N) | (k_begin >= k_end)
    steps = tl.where(idle, 1, tl.cdiv(k_end - k_begin, BLOCK_K))
    steps = tl.where(place >= places, 0, steps)
    return z, first_row, first_col, steps, idle


def set_blocks(args: dict) -> None:
    """Gives the descriptors of a launch their blocks, which its config decides."""
    m, n, k = args["BLOCK_M"], args["BLOCK_N"], args["BLOCK_K"]
    args["a_desc"].block_shape = [m, k]
    args["b_desc"].block_shape = [k, n]
    if args["ALIGNED"]:
        args["c"].block_shape = [1, m, n // 4]


@triton.autotune(
    configs=[
        triton.Config(
            {"BLOCK_M": 128, "BLOCK_N": 256, "BLOCK_K": 64, "SPAN": 512, "PROGRAMS": 132},
            num_warps=8,
            num_stages=4,
            pre_hook=set_blocks,
        ),
        triton.Config(
            {"BLOCK_M": 128, "BLOCK_N": 256, "BLOCK_K": 64, "SPAN": 256, "PROGRAMS": 132},
            num_warps=8,
            num_stages=4,
            pre_hook=set_blocks,
        ),
        triton.Config(
            {"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 64, "SPAN": 512, "PROGRAMS": 264},
            num_warps=4,
            num_stages=3,
            pre_hook=set_blocks,
        ),
        triton.Config(
            {"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 64, "SPAN": 512, "PROGRAMS": 132},
            num_warps=8,
            num_stages=5,
            pre_hook=set_blocks,
        ),
        triton.Config(
            {"BLOCK_M": 64, "BLOCK_N": 128, "BLOCK_K": 64, "SPAN": 256, "PROGRAMS": 264},
            num_warps=4,
            num_stages=4,
            pre_hook=set_blocks,
        ),
        triton.Config(
            {"BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 64, "SPAN": 128, "PROGRAMS": 264},
            num_warps=4,
            num_stages=6,
            pre_hook=set_blocks,
        ),
    ],
    key=["N"],
)
@triton.jit
def tril_matmul_parts_kernel(
    a_desc,
    b_desc,
    c,
    c_ptr,
    tops_ptr,
    batches,
    N,
    N_PADDED,
    ALIGNED: tl.constexpr,
    PROGRAMS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SPAN: tl.constexpr,
):
    """Tiles of C = tril(A) @ tril(B) from the parts of both, moved by the tensor memory accelerator.

    c is a descriptor if ALIGNED, else a pointer; the zeros are stored through c_ptr always.

    The kernel is persistent, and all steps of all tiles of a program are one loop, so that loads run ahead
    from each tile into the next.
    """
    places = places_in(N, BLOCK_M, BLOCK_N, SPAN) * batches
    z, first_row, first_col, steps, idle = dealt_tile(
        0, batches, N, PROGRAMS, BLOCK_M, BLOCK_N, BLOCK_K, SPAN
    )
    total_steps = steps
    for later in range(1, tl.cdiv(places, PROGRAMS)):
        total_steps += dealt_tile(later, batches, N, PROGRAMS, BLOCK_M, BLOCK_N, BLOCK_K, SPAN)[3]
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    round = 0
    done = 0
    step = -1
    for _ in range(total_steps):
        step = tl.where(step == steps - 1, 0, step + 1)
        if step == 0:
            z, first_row, first_col, steps, idle = dealt_tile(
                round, batches, N, PROGRAMS, BLOCK_M, BLOCK_N, BLOCK_K, SPAN
            )
            round += 1
        k = first_col + step * BLOCK_K
        a_first = z * N_PADDED
        b_first = z * N_PADDED
        a = a_desc.load([a_first + first_row, k])
        b = b_desc.load([b_first + k, first_col])
        acc = tl.dot(a, b, acc)
        if step == steps - 1:
            c_z, c_row, c_col, c_steps, c_idle = dealt_tile(
                done, batches, N, PROGRAMS, BLOCK_M, BLOCK_N, BLOCK_K, SPAN
            )
            done += 1
            rows = c_row + tl.arange(0, BLOCK_M)
            cols = c_col + tl.arange(0, BLOCK_N)
            a_tops = tl.load(tops_ptr + c_z * N + rows, mask=rows < N, other=0)
            b_tops = tl.load(tops_ptr + (batches + c_z) * N + cols, mask=cols < N, other=0)
            acc = unscale(acc, exponent_of(a_tops)[:, None] + exponent_of(b_tops)[None, :])
            acc = tl.where(rows[:, None] >= cols[None, :], acc, 0.0)  # NaN times 0 is none
            row = tl.where(c_idle, N, c_row)
            # Stored by quarters: a whole tile would take shared memory that a stage of loads needs.
            left, right = halves(acc)
            first, second = halves(left)
            third, fourth = halves(right)
            store_piece(c, first, c_z, row, c_col + 0 * (BLOCK_N // 4), N, N, ALIGNED)
            store_piece(c, second, c_z, row, c_col + 1 * (BLOCK_N // 4), N, N, ALIGNED)
            store_piece(c, third, c_z, row, c_col + 2 * (BLOCK_N // 4), N, N, ALIGNED)
            store_piece(c, fourth, c_z, row, c_col + 3 * (BLOCK_N // 4), N, N, ALIGNED)
            # With it goes its mirror image across the diagonal, zeros.
            # Through no descriptor: such stores wait for one another, to leave shared memory.
            # If ALIGNED, rows are of whole 16 bytes, which a product tells the compiler.
            VECTOR: tl.constexpr = 128 // c_ptr.dtype.element_ty.primitive_bitwidth
            width = N // VECTOR * VECTOR if ALIGNED else N
            on_diagonal = c_row // BLOCK_N == c_col // BLOCK_N
            height = tl.where(c_idle | on_diagonal, 0, width)
            down = c_col + tl.arange(0, BLOCK_N)
            along = c_row + tl.arange(0, BLOCK_M)
            inside = (down[:, None] < height) & (along[None, :] < width)
            c_ptrs = (
                c_ptr
                + c_z.to(tl.int64) * N * N
                + (down.to(tl.int64)[:, None] * width + along[None, :])
            )
            zeros = tl.zeros((BLOCK_N, BLOCK_M), dtype=c_ptr.dtype.element_ty)
            tl.store(c_ptrs, zeros, mask=inside)
            acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)


# What is split at once, rows by steps of k; and the side of the largest tile, which N is padded to.
BLOCK, TILE = 64, 256


def cdiv(a: int, b: int) -> int:
    """a / b, rounded up. (triton.cdiv, made for kernels too, takes a microsecond and more.)"""
    return -(-a // b)


def described(x: torch.Tensor) -> TensorDescriptor:
    """x as the tensor memory accelerator addresses it; set_blocks gives it its blocks."""
    return TensorDescriptor.from_tensor(x, [1] * x.dim())


@torch.compiler.disable  # it cannot trace set_blocks
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
        out = C.view(batches, N, N)
        aligned = N * C.element_size() % 16 == 0
        tril_matmul_parts_kernel[lambda meta: (meta["PROGRAMS"],)](
            described(A_parts.flatten(0, -2)),
            described(B_parts.flatten(0, -2)),
            described(out) if aligned else out,
            out,
            tops,
            batches,
            N,
            N_PADDED,
            ALIGNED=aligned,
        )
    return C


class ModelNew(nn.Module):
    """tril(A) @ tril(B). Forward only: the result carries no gradient."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, A: torch.Tensor, B: torch.Tensor) -> torch.Tensor:
        return tril_matmul(A, B)
