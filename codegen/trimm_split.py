"""A triangular product of float32 operands that are split once, into scaled float16 parts (see gemm_split)."""

from __future__ import annotations

from codegen.config import Config
from codegen.gpu import GpuSpec
from codegen.problem import ITEM_BYTES, Problem
from codegen.spec import Candidate

TILE = 128  # side of the largest tile, which operands are padded to
_BLOCK_K = 64

# BLOCK, GROUP, warps, stages, programs on a multiprocessor, reason; in order of preference.
_Row = tuple[int, int, int, int, int, str]
_ROWS: dict[str, tuple[_Row, ...]] = {
    "fp16": (
        (128, 4, 8, 5, 1, "deep pipeline, rows and columns shared in L2"),
        (128, 1, 8, 5, 1, "deep pipeline, evenest shares of work"),
        (128, 4, 8, 3, 2, "while one program stores, another computes"),
        (128, 2, 4, 3, 2, "the same with one warp group"),
        (64, 2, 4, 6, 2, "small matrices, where the longest tile decides"),
        (64, 1, 4, 4, 3, "small matrices, three programs"),
    ),
    "fp16x3": (
        (128, 4, 8, 5, 1, "deep pipeline, rows and columns shared in L2"),
        (128, 2, 8, 5, 1, "deep pipeline, more even shares of work"),
        (128, 1, 8, 5, 1, "deep pipeline, evenest shares of work"),
        (64, 4, 4, 5, 2, "small matrices, where the longest tile decides"),
        (64, 1, 4, 6, 2, "small matrices, evenest shares"),
        (64, 1, 4, 4, 3, "small matrices, three programs"),
    ),
}
# From so many tiles of 128x128 on for each multiprocessor the longest of them is a small part of its share.
_SMALL = 2


def split_candidates(problem: Problem, gpu: GpuSpec, precision: str) -> tuple[Candidate, ...]:
    """Configs of the kernel that multiplies parts, best first: large tiles where there are enough."""
    candidates = []
    for block, group, warps, stages, programs, reason in _ROWS[precision]:
        meta = (
            ("BLOCK", block),
            ("BLOCK_K", _BLOCK_K),
            ("GROUP", group),
            ("PROGRAMS", programs * gpu.sms),
        )
        bound = shared_bound(problem, block, stages)
        candidates.append(Candidate(Config(meta, warps, stages), reason, bound))
    side = -(-problem.n // TILE)
    small = problem.batches * side * (side + 1) // 2 < _SMALL * gpu.sms
    return tuple(sorted(candidates, key=lambda c: (dict(c.config.meta)["BLOCK"] == TILE) == small))


def shared_bound(problem: Problem, block: int, stages: int) -> int:
    """At least the shared memory, in bytes, that a config takes: stages, a quarter of a tile, barriers, exponents."""
    operands = stages * 2 * block * _BLOCK_K * 2
    return (
        operands
        + block * block // 4 * ITEM_BYTES[problem.out_dtype]
        + 16 * (stages + 1)
        + 8 * block
    )
