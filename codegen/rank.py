"""A model of how long a tiled product takes, to put candidate configs in order before anything is timed.

It knows three things about a tile shape: how much of the tiles' area lies outside the result (tile
quantisation), how full the last wave of tiles is, and how many operand bytes a multiply-add costs
(arithmetic intensity); and, where SPLIT_K programs share a tile, what it takes to add up their sums. It is for
choosing among configs, not for predicting times.
"""

from __future__ import annotations

from codegen.config import Config
from codegen.gpu import GpuSpec
from codegen.problem import ITEM_BYTES, Problem

# What one multiprocessor reads from L2: 64 bytes a clock, at about 1.75 GHz. (NVIDIA H100 Tensor Core GPU
# Architecture whitepaper: the L2 slices together give 5,120 bytes a clock to 80 multiprocessors and more.)
L2_BYTES_PER_SECOND_PER_SM = 112e9

# What a step along K costs beyond its arithmetic and traffic: a barrier, and the way from shared memory
# through the tensor cores, about 200 clocks. It is what makes the smallest tiles slow.
STEP_SECONDS = 100e-9


def sizes(config: Config) -> tuple[int, int, int]:
    """BLOCK_M, BLOCK_N and BLOCK_K of a config."""
    meta = dict(config.meta)
    block_m, block_n, block_k = (meta[f"BLOCK_{side}"] for side in "MNK")
    assert isinstance(block_m, int) and isinstance(block_n, int) and isinstance(block_k, int)
    return block_m, block_n, block_k


def programs(gpu: GpuSpec, wanted: int, shared_bytes: int) -> int:
    """How many programs of a persistent kernel to launch: so many for each multiprocessor, or as shared memory allows.

    Work is dealt out beforehand: a program that waits for another to end would be late with its share.
    """
    fitting = gpu.shared_per_sm // (shared_bytes + gpu.shared_reserved_per_block)
    return gpu.sms * max(1, min(wanted, fitting))


def splits(config: Config) -> int:
    """How many programs share a tile, each summing a slice of K."""
    count = dict(config.meta).get("SPLIT_K", 1)
    assert isinstance(count, int)
    return count


def tile_seconds(problem: Problem, gpu: GpuSpec, config: Config, tflops: float) -> float:
    """Model time of one tile, or a slice of it, on one multiprocessor that runs at its share of `tflops` (10^12 FLOP/s).

    Arithmetic and traffic are added: they overlap, but never wholly, and the sum favours larger tiles
    smoothly where the maximum would call them equal.
    """
    block_m, block_n, block_k = sizes(config)
    steps = -(-problem.k // (block_k * splits(config)))
    arithmetic = 2 * block_m * block_n / (tflops * 1e12 / gpu.sms)
    traffic = (block_m + block_n) * ITEM_BYTES[problem.dtype] / L2_BYTES_PER_SECOND_PER_SM
    return steps * (STEP_SECONDS + block_k * (arithmetic + traffic))


def exchange_seconds(problem: Problem, config: Config) -> float:
    """Model time from the end of a tile's slices to its sum: each stores float32 sums, and one reads them all.

    They stay in L2. Rows and columns beyond the result are not moved.
    """
    if splits(config) == 1:
        return 0.0
    block_m, block_n, _ = sizes(config)
    moved = 4 * min(block_m, problem.m) * min(block_n, problem.n) * (1 + splits(config))
    return moved / L2_BYTES_PER_SECOND_PER_SM


def seconds(problem: Problem, gpu: GpuSpec, config: Config, tflops: float) -> float:
    """Model time of a dense product: waves of one tile per multiprocessor, the last one counted whole.

    A multiprocessor that holds several tiles at once takes as long for each as they share it, so
    occupancy does not enter.
    """
    waves = -(-tiles(problem, config) * splits(config) // gpu.sms)
    one = tile_seconds(problem, gpu, config, tflops)
    return waves * one + exchange_seconds(problem, config)


def tiles(problem: Problem, config: Config) -> int:
    """How many tiles a dense result has."""
    block_m, block_n, _ = sizes(config)
    return -(-problem.m // block_m) * -(-problem.n // block_n) * problem.batches


def shared_bound(problem: Problem, gpu: GpuSpec, config: Config, *, persistent: bool) -> int:
    """At least the shared memory, in bytes, that a config of a tiled product takes on a GPU.

    The operands' buffers, and the result's tile on its way out: after them, in the same place, or in a
    persistent kernel, half of it at a time, beside them. What a config really takes, often less, only
    compiling it tells.
    """
    block_m, block_n, block_k = sizes(config)
    assert config.stages is not None
    on_hopper = gpu.compute_capability >= (9, 0)
    # wgmma still reads a buffer while the next is filled; mma.sync has its operands in registers by then.
    buffers = config.stages if on_hopper else max(config.stages - 1, 1)
    operands = buffers * (block_m + block_n) * block_k * ITEM_BYTES[problem.dtype]
    result = block_m * block_n * ITEM_BYTES[problem.out_dtype]
    if not persistent:
        return max(operands, result) if on_hopper else operands
    # A residual's tile is brought into the accumulator's layout through shared memory; so, on Blackwell, is
    # the accumulator itself.
    on_blackwell = gpu.compute_capability >= (10, 0)
    residual = any(step.op == "residual" for step in problem.epilogue)
    exchanged = result if residual or on_blackwell else 0
    barriers_and_bias = 16 * (config.stages + 1) + 4 * block_n
    return operands + result // 2 + exchanged + barriers_and_bias
