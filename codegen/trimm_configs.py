"""The configs worth trying for a triangular product, with reasons, and their order for a problem on a GPU."""

from __future__ import annotations

import heapq

from codegen.config import Config
from codegen.gemm_configs import needs_registers, peak_tflops
from codegen.gpu import GpuSpec
from codegen.problem import ITEM_BYTES, Problem
from codegen.rank import L2_BYTES_PER_SECOND_PER_SM, programs, sizes
from codegen.spec import Candidate

# BLOCK_M, BLOCK_N, BLOCK_K, warps, stages, reason; in order of preference where the model calls two equal.
_Row = tuple[int, int, int, int, int, str]

# Pointer kernels, by how the product is computed.
_POINTER: dict[str, tuple[_Row, ...]] = {
    "16 bits": (
        (128, 128, 64, 8, 3, "square, long steps of k"),
        (128, 128, 32, 4, 4, "square, little shared memory: a second block may fit beside it"),
        (128, 128, 64, 8, 2, "square, for 100 KB of shared memory"),
        (128, 64, 64, 4, 3, "half the work a tile, so that the queue ends evenly; tall"),
        (64, 128, 64, 4, 3, "half the work a tile, so that the queue ends evenly; wide"),
        (64, 64, 64, 4, 3, "small matrices, where the longest tile decides"),
        (64, 64, 32, 4, 4, "small matrices; more blocks per multiprocessor"),
        (64, 32, 64, 4, 4, "smaller still"),
        (32, 32, 64, 4, 4, "fills the GPU at N = 512"),
    ),
    "tf32": (
        (128, 128, 32, 8, 3, "square, 64 accumulators a thread"),
        (128, 128, 16, 8, 4, "square, 64 accumulators a thread, short steps: fewer of them masked"),
        (128, 128, 32, 4, 2, "square, fewer warps to feed"),
        (64, 128, 32, 4, 3, "half the work a tile, so that the queue ends evenly; wide"),
        (128, 64, 32, 4, 3, "half the work a tile, so that the queue ends evenly; tall"),
        (64, 64, 32, 4, 3, "small matrices, where the longest tile decides"),
        (64, 32, 32, 4, 4, "smaller still"),
        (32, 64, 32, 4, 4, "smaller still, wide"),
        (32, 32, 32, 4, 4, "fills the GPU at N = 512"),
    ),
    # On Hopper where A does not lie K-major: see the table of the same name for gemm.
    "tf32 by mma.sync": (
        (64, 128, 32, 2, 3, "64 accumulators a thread and their operands; wide"),
        (128, 64, 32, 2, 3, "the same, tall"),
        (64, 128, 64, 2, 2, "long steps of k; wide"),
        (64, 64, 64, 2, 2, "half the work a tile, so that the queue ends evenly; long steps"),
        (64, 64, 32, 2, 3, "half the work a tile, so that the queue ends evenly"),
        (32, 64, 32, 4, 4, "small matrices, where the longest tile decides"),
        (32, 32, 32, 4, 4, "fills the GPU at N = 512"),
    ),
    # Three products for one, on operands split in registers: smaller tiles leave room for the parts.
    "split": (
        (128, 64, 32, 8, 2, "32 accumulators a thread beside the parts"),
        (64, 128, 32, 8, 2, "32 accumulators a thread beside the parts, wide"),
        (64, 128, 16, 4, 3, "64 accumulators, short steps: fewer parts at a time"),
        (128, 64, 16, 4, 3, "64 accumulators, short steps: fewer parts at a time, tall"),
        (64, 64, 32, 4, 2, "half the work a tile, so that the queue ends evenly"),
        (64, 64, 16, 4, 4, "half the work a tile, so that the queue ends evenly, short steps"),
        (64, 32, 32, 4, 3, "small matrices, where the longest tile decides"),
        (32, 32, 32, 4, 3, "fills the GPU at N = 512"),
    ),
    # Float32 multiply-adds, no tensor cores: operands come from registers, so k is taken in small steps.
    "ieee": (
        (128, 128, 16, 8, 2, "8x8 results a thread: two operands read for eight multiply-adds"),
        (128, 64, 16, 4, 3, "8x8 a thread with half the threads: three blocks per multiprocessor"),
        (64, 128, 16, 4, 3, "8x8 a thread with half the threads, wide"),
        (128, 64, 16, 8, 3, "4x8 a thread"),
        (64, 64, 16, 4, 3, "half the work a tile, so that the queue ends evenly"),
        (64, 64, 32, 8, 2, "4x4 a thread, many warps to hide latency"),
        (32, 64, 32, 4, 3, "small matrices, where the longest tile decides"),
        (32, 32, 32, 4, 3, "fills the GPU at N = 512"),
    ),
}

# Persistent kernels on tensor descriptors: BLOCK_M, BLOCK_N, BLOCK_K, SPAN, warps, stages, programs on a
# multiprocessor, reason. No tile is higher than wide, and squares of SPAN hold whole tiles: the templates count on
# both. Of 16-bit operands a step of k lies within one square of BAND: BLOCK_K divides both sides of a tile, and they BAND.
_PersistentRow = tuple[int, int, int, int, int, int, int, str]
BAND = 256  # longest side of a tile
_DESCRIPTOR: dict[str, tuple[_PersistentRow, ...]] = {
    "16 bits": (
        (128, 256, 64, 512, 8, 4, 1, "least traffic per multiply-add"),
        (128, 256, 64, 256, 8, 4, 1, "least traffic per multiply-add, more even shares of work"),
        (128, 128, 64, 512, 4, 3, 2, "while one program stores, another computes"),
        (128, 128, 64, 256, 4, 3, 2, "the same, more even shares of work"),
        (128, 128, 64, 512, 8, 6, 1, "square, deep pipeline"),
        (64, 128, 64, 256, 4, 4, 2, "half the work a tile, so that shares are more even"),
        (128, 128, 64, 256, 8, 2, 1, "square, for 100 KB of shared memory"),
        (64, 128, 64, 256, 4, 3, 2, "half the work a tile, for 100 KB of shared memory"),
        (64, 64, 64, 256, 4, 4, 3, "small matrices, where the longest tile decides"),
        (64, 64, 64, 64, 4, 4, 3, "small matrices, evenest shares of work"),
        (64, 64, 64, 64, 4, 2, 2, "small matrices, two programs in 100 KB of shared memory"),
    ),
    "tf32": (
        (128, 256, 32, 512, 8, 4, 1, "least traffic per multiply-add"),
        (128, 128, 32, 512, 4, 3, 2, "while one program stores, another computes"),
        (128, 128, 32, 256, 4, 3, 2, "the same, more even shares of work"),
        (128, 128, 32, 512, 8, 5, 1, "square, deep pipeline"),
        (64, 128, 32, 256, 4, 4, 2, "half the work a tile, so that shares are more even"),
        (128, 128, 32, 256, 8, 2, 1, "square, for 100 KB of shared memory"),
        (64, 128, 32, 256, 4, 3, 2, "half the work a tile, for 100 KB of shared memory"),
        (64, 64, 32, 256, 4, 5, 2, "small matrices, where the longest tile decides"),
        (64, 64, 32, 64, 4, 5, 2, "small matrices, evenest shares of work"),
        (64, 64, 32, 64, 4, 2, 2, "small matrices, two programs in 100 KB of shared memory"),
        (64, 64, 64, 64, 4, 3, 2, "small matrices; long steps"),
    ),
}

# Of a tile, in which nothing is multiplied: its launch, the first loads, the stores.
_START_SECONDS = 1e-6
_MANY_TILES = 20_000  # the schedule of so many is even


def pointer_candidates(
    problem: Problem, gpu: GpuSpec, precision: str | None
) -> tuple[Candidate, ...]:
    """The pointer kernel's candidates, best first."""
    unit = _unit(problem, precision)
    if unit == "tf32" and needs_registers(problem, gpu):
        unit = "tf32 by mma.sync"
    candidates = [
        _candidate((m, n, k), warps, stages, reason)
        for m, n, k, warps, stages, reason in _POINTER[unit]
    ]
    return _ranked(problem, gpu, precision, candidates)


def descriptor_candidates(
    problem: Problem, gpu: GpuSpec, precision: str | None
) -> tuple[Candidate, ...]:
    """The descriptor kernel's candidates, best first."""
    candidates = []
    for m, n, k, span, warps, stages, wanted, reason in _DESCRIPTOR[_unit(problem, precision)]:
        one = _candidate((m, n, k), warps, stages, reason, SPAN=span, PROGRAMS=gpu.sms)
        fitting = programs(gpu, wanted, shared_bound(problem, precision, one.config))
        more = {"SPAN": span, "PROGRAMS": fitting}
        candidates.append(_candidate((m, n, k), warps, stages, reason, **more))
    return _ranked(problem, gpu, precision, candidates)


def _candidate(
    blocks: tuple[int, int, int], warps: int, stages: int, reason: str, **more: int
) -> Candidate:
    named = zip(("BLOCK_M", "BLOCK_N", "BLOCK_K"), blocks, strict=True)
    return Candidate(Config((*named, *more.items()), warps, stages), reason)


def _unit(problem: Problem, precision: str | None) -> str:
    if problem.dtype != "float32":
        return "16 bits"
    return "split" if precision in ("bf16x3", "tf32x3") else str(precision)


def _ranked(
    problem: Problem, gpu: GpuSpec, precision: str | None, candidates: list[Candidate]
) -> tuple[Candidate, ...]:
    fitting = [
        c for c in candidates if shared_bound(problem, precision, c.config) <= gpu.shared_per_block
    ]
    tflops = peak_tflops(problem, gpu, precision)
    return tuple(sorted(fitting, key=lambda c: seconds(problem, gpu, c.config, tflops)))


def seconds(problem: Problem, gpu: GpuSpec, config: Config, tflops: float) -> float:
    """Model time of a triangular product: its tiles, each as long as its sum over k, on the multiprocessors.

    A tile takes the time of its multiply-adds and, added, of its operands' way from L2, which favours
    large tiles. Whichever multiprocessor is free takes the longest tile left, as the kernels do it, which
    favours small ones: at N = 2048 on an H200, the longest of the 128x128 tiles alone takes 2.3 times an
    even share of the work.
    """
    block_m, block_n, _ = sizes(config)
    n, batches = problem.n, problem.batches
    per_k = 2 * block_m * block_n / (tflops * 1e12 / gpu.sms)
    per_k += (block_m + block_n) * ITEM_BYTES[problem.dtype] / L2_BYTES_PER_SECOND_PER_SM
    # k runs from the tile's first column to its last row; for upper triangles the other way round.
    ends, begins = (block_m, block_n) if problem.triangle == "lower" else (block_n, block_m)
    depths = [
        max(0, min(end + ends, n) - begin)
        for end in range(0, n, ends)
        for begin in range(0, n, begins)
    ]
    times = sorted((_START_SECONDS + depth * per_k for depth in depths), reverse=True)
    if len(times) * batches > _MANY_TILES:
        return sum(times) * batches / gpu.sms
    busy_until = [0.0] * gpu.sms
    for time in times:
        for _ in range(batches):
            heapq.heapreplace(busy_until, busy_until[0] + time)
    return max(busy_until)


def shared_bound(problem: Problem, precision: str | None, config: Config) -> int:
    """More shared memory, in bytes, than the kernels take: tests compare it with the compiler's figure.

    The stages of both operands, one more where they are split into parts, and some barriers. The result's tile
    comes when they are done with; a quarter of it beside them in a persistent kernel.
    """
    block_m, block_n, block_k = sizes(config)
    assert config.stages is not None
    stages = config.stages + (_unit(problem, precision) == "split")
    operands = stages * (block_m + block_n) * block_k * ITEM_BYTES[problem.dtype]
    result = block_m * block_n * ITEM_BYTES[problem.out_dtype]
    if "PROGRAMS" in dict(config.meta):
        return operands + result // 4 + 1024
    return max(operands, result) + 1024
