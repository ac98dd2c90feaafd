"""A gemm of few tiles and a long K: several programs share a tile, and each sums a slice of K.

Tiles alone would leave multiprocessors idle (256x256x524288 has four of 128x128), or be so small that operands are
read over and over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from codegen.config import Config
from codegen.gemm_view import View
from codegen.gpu import GpuSpec
from codegen.problem import Problem
from codegen.rank import seconds, sizes, tiles
from codegen.spec import Candidate

PROGRAMS_PER_SM = 2  # that slices are made for: while one waits for memory, another computes
TILE = 128 * 128  # elements of C that a program has room for

# What a sliced kernel takes beyond its model time: the launch before it that zeroes its counters, and a round trip
# through L2 for the last of them. An allowance, on the high side: nothing here is measured yet.
_ALLOWANCE_S = 5e-6
# What descriptors gain, and a kernel of slices, which reads through pointers, must make up for. TF32 on an H200
# runs at 416 TFLOP/s through descriptors and 160 through pointers (2048x4096x8192). For other types an allowance.
DESCRIPTORS_GAIN = {"tf32": 2.6, None: 1.25}


@dataclass(frozen=True)
class SlicedView(View):
    """A gemm as the template of slices sees it."""

    programs_per_sm = PROGRAMS_PER_SM

    def programs(self, gpu: GpuSpec) -> int:
        return self.programs_per_sm * gpu.sms


def most_slices(problem: Problem, gpu: GpuSpec) -> int:
    """How many slices of K the wrapper has room for, as it works that out from the size of C."""
    elements = problem.batches * problem.m * problem.n
    return max(PROGRAMS_PER_SM * gpu.sms // max(-(-elements // TILE), 1), 1)


def sliced_candidates(
    problem: Problem, gpu: GpuSpec, tflops: float, whole: Sequence[Candidate]
) -> tuple[Candidate, ...]:
    """Configs of the kernel that sums slices, best first.

    `whole` are those of the pointer kernel: each serves with K whole, and with as many slices as give every
    multiprocessor one program, or two.
    """
    candidates = [
        Candidate(
            replace(each.config, meta=(*each.config.meta, ("SPLIT_K", count))),
            f"{each.reason}; {f'K in {count} slices' if count > 1 else 'K whole'}",
            each.shared_bound,
        )
        for each in whole
        for count in _counts(problem, gpu, each.config)
    ]
    return tuple(sorted(candidates, key=lambda c: seconds(problem, gpu, c.config, tflops)))


def _counts(problem: Problem, gpu: GpuSpec, config: Config) -> Iterator[int]:
    """Numbers of slices. A slice has as many steps as the pipeline has stages at least, or it never fills."""
    assert config.stages is not None
    steps = problem.k // sizes(config)[2]
    most = min(most_slices(problem, gpu), steps // config.stages)
    found = {1}
    for programs in range(1, PROGRAMS_PER_SM + 1):
        found.add(min(programs * gpu.sms // max(tiles(problem, config), 1), most))
    yield from sorted(found - {0})


def slicing_pays(
    problem: Problem,
    gpu: GpuSpec,
    tflops: float,
    sliced: Sequence[Candidate],
    whole: Sequence[Candidate],
    gain: float = 1.0,
) -> bool:
    """Whether the best of the sliced configs beats the best of those that sum K whole, both best first.

    By the model of rank.py, or by the time that memory takes where that is longer. `gain`: how much faster the
    whole ones are than the model knows.
    """
    memory = gpu.memory_bandwidth_gbs
    least = problem.bytes_moved() / (memory * 1e9) if memory else 0.0
    one, other = (
        max(seconds(problem, gpu, candidates[0].config, tflops), least)
        for candidates in (sliced, whole)
    )
    return (one + _ALLOWANCE_S) * gain < other
