"""A gemm of few tiles and a long K: several programs share a tile, and each sums a slice of K.

Tiles alone would leave multiprocessors idle (256x256x524288 has four of 128x128), or be so small that operands are
read over and over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from codegen.config import Config
from codegen.gemm_configs import too_few_loads
from codegen.gemm_view import View
from codegen.gpu import GpuSpec
from codegen.problem import Problem
from codegen.rank import seconds, sizes, tiles
from codegen.spec import Candidate

PROGRAMS_PER_SM = 2  # that slices are made for: while one waits for memory, another computes
TILE = 128 * 128  # elements of C that a program has room for


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
        if not too_few_loads(problem, each.config)
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
