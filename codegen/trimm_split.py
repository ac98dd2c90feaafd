"""A triangular product of float32 operands that are split once, into scaled float16 parts (see gemm_split)."""

from __future__ import annotations

from codegen.config import Config
from codegen.gpu import GpuSpec
from codegen.problem import ITEM_BYTES, Problem
from codegen.rank import programs
from codegen.spec import Candidate

TILE = 256  # longest side of a tile, which operands are padded to

# BLOCK_M, BLOCK_N, BLOCK_K, SPAN, warps, stages, programs on a multiprocessor, reason; in order of preference.
_Row = tuple[int, int, int, int, int, int, int, str]
_ROWS: dict[str, tuple[_Row, ...]] = {
    "fp16": (
        (128, 256, 64, 512, 8, 4, 1, "least traffic per multiply-add"),
        (128, 256, 64, 256, 8, 4, 1, "the same, more even shares of work"),
        (128, 128, 64, 512, 4, 3, 2, "while one program stores, another computes"),
        (128, 128, 64, 512, 8, 5, 1, "deep pipeline"),
        (64, 128, 64, 256, 4, 4, 2, "half the work a tile, so that shares are more even"),
        (64, 64, 64, 128, 4, 6, 2, "small matrices, where the longest tile decides"),
        (64, 64, 64, 64, 4, 4, 3, "small matrices, three programs"),
    ),
    # Two accumulators, beside which the counters of larger tiles spill: twice as slow on an H200.
    "fp16x3": (
        (128, 128, 128, 512, 8, 3, 1, "long steps, of which fewer have to be counted"),
        (128, 128, 128, 256, 8, 3, 1, "the same, more even shares of work"),
        (128, 128, 64, 512, 8, 5, 1, "deep pipeline, rows and columns shared in L2"),
        (128, 128, 64, 256, 8, 5, 1, "deep pipeline, more even shares of work"),
        (64, 64, 64, 256, 4, 5, 2, "small matrices, where the longest tile decides"),
        (64, 64, 64, 64, 4, 6, 2, "small matrices, evenest shares"),
        (64, 64, 64, 64, 4, 3, 3, "small matrices, three programs"),
    ),
}
# From so many tiles of 128x128 on for each multiprocessor the longest of them is a small part of its share.
_SMALL = 2
_SMALL_TILE = 64


def split_candidates(problem: Problem, gpu: GpuSpec, precision: str) -> tuple[Candidate, ...]:
    """Configs of the kernel that multiplies parts, best first: large tiles where there are enough."""
    candidates = []
    for block_m, block_n, block_k, span, warps, stages, wanted, reason in _ROWS[precision]:
        bound = shared_bound(problem, gpu, (block_m, block_n, block_k), stages)
        meta = (
            ("BLOCK_M", block_m),
            ("BLOCK_N", block_n),
            ("BLOCK_K", block_k),
            ("SPAN", span),
            ("PROGRAMS", programs(gpu, wanted, bound)),
        )
        candidates.append(Candidate(Config(meta, warps, stages), reason, bound))
    side = -(-problem.n // 128)
    small = problem.batches * side * (side + 1) // 2 < _SMALL * gpu.sms
    return tuple(
        sorted(candidates, key=lambda c: (dict(c.config.meta)["BLOCK_M"] == _SMALL_TILE) != small)
    )


def shared_bound(problem: Problem, gpu: GpuSpec, blocks: tuple[int, int, int], stages: int) -> int:
    """At least the shared memory, in bytes, that a config takes: stages, a quarter of a tile, barriers, exponents.

    On Blackwell, where accumulators come out of tensor memory, it is half of a tile.
    """
    block_m, block_n, block_k = blocks
    operands = stages * (block_m + block_n) * block_k * 2
    leaving = block_m * block_n * ITEM_BYTES[problem.out_dtype]
    leaving //= 2 if gpu.compute_capability[0] == 10 else 4
    return operands + leaving + 16 * (stages + 1) + 4 * max(block_m, block_n)
