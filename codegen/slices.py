"""Slices of K, where a product of operands in parts has too few tiles for a GPU: how many, and how long.

There are whole slices in the parts' memory: K is padded with zeros to as many steps as all of them have.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from codegen.gpu import GpuSpec
from codegen.problem import Problem

STEP = 64  # elements of K, 128 bytes of a part
# Each multiprocessor is to sum one slice of one such tile, the largest, or two of its halves.
TILE_M, TILE_N = 128, 256
# Four chunks of 8, about 70 µs of a multiprocessor: what begins and ends with each slice is little beside that.
LEAST_STEPS = 32


@dataclass(frozen=True)
class Slices:
    """All alike, and none empty unless K is."""

    count: int
    steps: int  # of each


def slices_of(problem: Problem, gpu: GpuSpec) -> Slices:
    """As a sliced file's wrapper works them out from the sizes it is called with."""
    steps = max(-(-problem.k // STEP), 1)
    tiles = -(-problem.m // TILE_M) * -(-problem.n // TILE_N) * problem.batches
    wanted = max(min(gpu.sms // max(tiles, 1), steps // LEAST_STEPS), 1)
    length = -(-steps // wanted)
    return Slices(-(-steps // length), length)


def one_by_one(problem: Problem, slices: Slices) -> Problem:
    """What the kernel that multiplies parts computes: one product for each slice, in float32 and without epilogue."""
    batch = (slices.count * problem.batches,)
    return replace(
        problem,
        k=slices.steps * STEP,
        batch=batch,
        batched="ab",
        epilogue=(),
        out_dtype="float32",
    )
