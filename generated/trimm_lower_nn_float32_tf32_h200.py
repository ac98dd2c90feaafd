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
from triton.tools.tensor_descriptor import TensorDescriptor


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
def halves(x):
    """The left and the right half of a tile."""
    M: tl.constexpr = x.shape[0]
    N: tl.constexpr = x.shape[1]
    return x.reshape(M, 2, N // 2).permute(0, 2, 1).split()


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
        # Beside the diagonal too: were it part of the mask, elements would be loaded one by one.
        x = tl.load(x_ptr + r * stride_r + k * stride_k, mask=inside, other=0.0)
        tl.store(packed_ptr + r * N + k, round_to_tf32(tl.where(kept, x, 0.0)), mask=inside)


@triton.jit
def places_in(N, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, SPAN: tl.constexpr):
    """How many tiles the squares of SPAN x SPAN have that touch the triangle."""
    side = tl.cdiv(N, SPAN)
    return side * (side + 1) // 2 * (SPAN // BLOCK_M * (SPAN // BLOCK_N))


@triton.jit
def dealt_tile(
    round,
    N,
    PROGRAMS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SPAN: tl.constexpr,
):
    """What this program computes in a round.

    Returns a tile's first row and column, its steps, and if it is none of the triangle's.

    Tiles are dealt out heaviest first, forwards, then backwards twice, and so on: work falls off ever slower
    from round to round, so that it takes two backwards to make up for one forwards. Tiles of one square of
    SPAN x SPAN run at the same time and share rows and columns in the L2 cache. The squares furthest from
    the diagonal come first: there is one, then two, and so on. A square root finds it, and integers correct
    what its rounding may miss. A tile beside the triangle takes a step, for nothing; who gets none has no
    step.
    """
    pid = tl.program_id(0)
    place = round * PROGRAMS + tl.where(round % 3 == 0, pid, PROGRAMS - 1 - pid)
    places = places_in(N, BLOCK_M, BLOCK_N, SPAN)
    tile = place
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
    return first_row, first_col, steps, idle


def set_blocks(args: dict) -> None:
    """Gives the descriptors of a launch their blocks, which its config decides."""
    m, n, k = args["BLOCK_M"], args["BLOCK_N"], args["BLOCK_K"]
    args["a_desc"].block_shape = [m, k]
    args["b_desc"].block_shape = [n, k]
    args["c_desc"].block_shape = [m, n // 4]


@triton.autotune(
    configs=[
        triton.Config(
            {"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 32, "SPAN": 512, "PROGRAMS": 264},
            num_warps=4,
            num_stages=3,
            pre_hook=set_blocks,
        ),
        triton.Config(
            {"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 32, "SPAN": 256, "PROGRAMS": 264},
            num_warps=4,
            num_stages=3,
            pre_hook=set_blocks,
        ),
        triton.Config(
            {"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 32, "SPAN": 512, "PROGRAMS": 132},
            num_warps=8,
            num_stages=5,
            pre_hook=set_blocks,
        ),
        triton.Config(
            {"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 32, "SPAN": 256, "PROGRAMS": 132},
            num_warps=8,
            num_stages=2,
            pre_hook=set_blocks,
        ),
        triton.Config(
            {"BLOCK_M": 128, "BLOCK_N": 256, "BLOCK_K": 32, "SPAN": 512, "PROGRAMS": 132},
            num_warps=8,
            num_stages=4,
            pre_hook=set_blocks,
        ),
        triton.Config(
            {"BLOCK_M": 64, "BLOCK_N": 128, "BLOCK_K": 32, "SPAN": 256, "PROGRAMS": 264},
            num_warps=4,
            num_stages=4,
            pre_hook=set_blocks,
        ),
    ],
    key=["N"],
)
@triton.jit
def tril_matmul_descriptor_kernel(
    a_desc,
    b_desc,
    c_desc,
    c_ptr,
    N,
    PROGRAMS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SPAN: tl.constexpr,
):
    """Tiles of C = tril(A) @ tril(B) from the packed triangles, moved by the tensor memory accelerator.

    The rows of the packed B are the columns of tril(B). The kernel is persistent, and all steps of k of
    all tiles of a program are one loop, so that loads run ahead from each tile into the next. Elements past
    the matrices' ends are read as zero and not written.
    """
    places = places_in(N, BLOCK_M, BLOCK_N, SPAN)
    first_row, first_col, steps, idle = dealt_tile(0, N, PROGRAMS, BLOCK_M, BLOCK_N, BLOCK_K, SPAN)
    total_steps = steps
    for later in range(1, tl.cdiv(places, PROGRAMS)):
        total_steps += dealt_tile(later, N, PROGRAMS, BLOCK_M, BLOCK_N, BLOCK_K, SPAN)[2]
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    round = 0
    done = 0
    step = -1
    for _ in range(total_steps):
        step = tl.where(step == steps - 1, 0, step + 1)
        if step == 0:
            first_row, first_col, steps, idle = dealt_tile(
                round, N, PROGRAMS, BLOCK_M, BLOCK_N, BLOCK_K, SPAN
            )
            round += 1
        k = first_col + step * BLOCK_K
        a = a_desc.load([first_row, k])
        b = b_desc.load([first_col, k])
        acc = tl.dot(a, b.T, acc, input_precision="tf32")
        if step == steps - 1:
            c_row, c_col, c_steps, c_idle = dealt_tile(
                done, N, PROGRAMS, BLOCK_M, BLOCK_N, BLOCK_K, SPAN
            )
            done += 1
            rows = c_row + tl.arange(0, BLOCK_M)
            cols = c_col + tl.arange(0, BLOCK_N)
            acc = tl.where(rows[:, None] >= cols[None, :], acc, 0.0)  # NaN times 0 is none
            row = tl.where(c_idle, N, c_row)
            # Stored by quarters: a whole tile would take shared memory that a stage of loads needs.
            left, right = halves(acc)
            first, second = halves(left)
            third, fourth = halves(right)
            c_desc.store([row, c_col + 0 * (BLOCK_N // 4)], first.to(c_desc.dtype))
            c_desc.store([row, c_col + 1 * (BLOCK_N // 4)], second.to(c_desc.dtype))
            c_desc.store([row, c_col + 2 * (BLOCK_N // 4)], third.to(c_desc.dtype))
            c_desc.store([row, c_col + 3 * (BLOCK_N // 4)], fourth.to(c_desc.dtype))
            # With it goes its mirror image across the diagonal, zeros.
            # Through no descriptor: such stores wait for one another, to leave shared memory.
            # Rows are of whole 16 bytes, which a product tells the compiler.
            VECTOR: tl.constexpr = 128 // c_ptr.dtype.element_ty.primitive_bitwidth
            width = N // VECTOR * VECTOR
            on_diagonal = c_row // BLOCK_N == c_col // BLOCK_N
            height = tl.where(c_idle | on_diagonal, 0, width)
            down = c_col + tl.arange(0, BLOCK_N)
            along = c_row + tl.arange(0, BLOCK_M)
            inside = (down[:, None] < height) & (along[None, :] < width)
            c_ptrs = c_ptr + (down.to(tl.int64)[:, None] * width + along[None, :])
            zeros = tl.zeros((BLOCK_N, BLOCK_M), dtype=c_ptr.dtype.element_ty)
            tl.store(c_ptrs, zeros, mask=inside)
            acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)


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


def described(x: torch.Tensor) -> TensorDescriptor:
    """x as the tensor memory accelerator addresses it; set_blocks gives it its blocks."""
    return TensorDescriptor.from_tensor(x, [1] * x.dim())


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
        # torch.compile cannot trace set_blocks.
        if N * C.element_size() % 16 == 0 and not torch.compiler.is_compiling():
            A_packed, B_packed = pack(A, False), pack(B.T, True)
            tril_matmul_descriptor_kernel[lambda meta: (meta["PROGRAMS"],)](
                described(A_packed), described(B_packed), described(C), C, N
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
