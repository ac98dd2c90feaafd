"""Which configs to add around the ones that are there, within the stage's rules, and in which order.

Nothing is timed here: the score below is a stated guess that ranks neighbours by what the compiler and the
occupancy calculator say of them. Whether one is faster is for a GPU to tell.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from codegen.config import Config
from codegen.gpu import GpuSpec
from codegen.occupancy import Occupancy, waves
from codegen.outcome import Resources
from codegen.profile import HIDING_WARPS
from codegen.stage import StageRules

# How much each factor counts, by what bounds the kernel: (hiding, depth). Ranked by the plain pair, the neighbours
# of one block shape stand in the order of their times in 83 % of pairs (chance: 50 %), and the best of the first
# three is within 1 % of the best, over three float32 kernels and 89 configs on an H200 (PyTorch 2.11, Triton
# 3.6, 2026-11-21; tests/data/sweep_h200.json).
_WEIGHTS = {"too few warps": (1 / 2, 1 / 2), "latency": (1 / 4, 1.0), "memory": (1 / 4, 1.0)}
_WEIGHTS_OTHERWISE = (1 / 4, 1 / 2)
_FRESH = 0.8  # what each repetition leaves of a candidate's score when the list is chosen


@dataclass(frozen=True)
class Fitted:
    """A config that compiles and launches on the target."""

    config: Config
    resources: Resources
    occupancy: Occupancy
    grid: int  # blocks


@dataclass(frozen=True)
class Neighbour:
    """A config that differs from the original at `origin` (an index) in num_warps, num_stages or both."""

    origin: int
    config: Config
    moves: tuple[int, int]  # which way (warps, stages) move: -1, 0 or 1


def neighbours(
    originals: Sequence[tuple[int, Fitted]], rules: StageRules, taken: Iterable[Config]
) -> list[Neighbour]:
    """Every config the rules allow around the originals (index, fitted), without those already `taken`.

    num_stages moves by at most `rules.max_stage_step`; num_warps to an allowed half or double, but only where
    occupancy suggests it: fewer than 16 warps resident on an SM. (Further steps never won in the sweep named
    below, and those down compile for seconds, into spills.) Blocks and all else stay. An original whose knobs
    are no plain numbers has no neighbours.
    """
    around = []
    for index, original in originals:
        warps = original.config.warps or 0
        few_warps = original.occupancy.warps_per_sm < HIDING_WARPS
        half_and_double = [n for n in rules.num_warps if n in (warps // 2, warps * 2)]
        around.append((index, original.config, half_and_double if few_warps else []))
    return _around(around, rules, taken)


def every_neighbour(
    originals: Sequence[tuple[int, Config]], rules: StageRules, taken: Iterable[Config]
) -> list[Neighbour]:
    """Every config the rules allow around the originals, for where each is timed: any allowed num_warps.

    What occupancy suggests is a guess that a time replaces: on an H200 the fastest config of a float32
    product has 2 warps, 255 registers and 40 bytes of spills (docs/retune.md).
    """
    return _around([(i, config, rules.num_warps) for i, config in originals], rules, taken)


def _around(
    originals: Sequence[tuple[int, Config, Sequence[int]]],
    rules: StageRules,
    taken: Iterable[Config],
) -> list[Neighbour]:
    """The configs around the originals (index, config, num_warps it may move to) that are not yet taken."""
    seen = {_key(config) for config in taken}
    found: list[Neighbour] = []
    for index, original, others in originals:
        warps, stages = original.warps, original.stages
        if warps is None or stages is None:
            continue
        for new_stages in rules.num_stages:
            if abs(new_stages - stages) > rules.max_stage_step:
                continue
            for new_warps in sorted({warps, *others}):
                config = original.with_knobs(new_warps, new_stages)
                if _key(config) not in seen:
                    seen.add(_key(config))
                    moves = (_sign(new_warps - warps), _sign(new_stages - stages))
                    found.append(Neighbour(index, config, moves))
    return found


def _sign(difference: int) -> int:
    return (difference > 0) - (difference < 0)


def _key(config: Config) -> tuple[object, ...]:
    return (config.meta, config.warps, config.stages, config.extra)


def score(fitted: Fitted, gpu: GpuSpec, bound: str | None) -> float:
    """How promising a config looks among those of its block shape, in (0, 1]. Higher is better.

    reuse × hiding^a × depth^b × tail × spilling:

    - reuse: registers over the most a thread can have. Fewer warps hold larger parts of the tile each: more
      arithmetic for every operand loaded from shared memory, and independent instructions that hide
      latency as further warps would (V. Volkov, "Better Performance at Lower Occupancy", GTC 2010);
    - hiding: resident warps over the 16 that hide latency without that, at most 1;
    - depth: 1 - 1/num_stages, the share of tiles that are under way while one is used;
    - tail: waves over waves rounded up, the share of the GPU's slots that the last wave fills too;
    - spilling: registers over registers plus spilled words, a reason to doubt and not to drop.

    The exponents depend on what the profile says bounds the kernel (`_WEIGHTS`).
    """
    needs = fitted.resources
    reuse = needs.registers / gpu.max_registers_per_thread
    hiding = min(1.0, fitted.occupancy.warps_per_sm / HIDING_WARPS)
    depth = 1 - 1 / max(1.5, fitted.config.stages or 1)
    full = waves(fitted.grid, gpu, fitted.occupancy.blocks_per_sm) or 1.0
    tail = full / math.ceil(full)
    spilling = needs.registers / (needs.registers + needs.spill_bytes / 4)
    of_hiding, of_depth = _WEIGHTS.get(bound or "", _WEIGHTS_OTHERWISE)
    return float(reuse * hiding**of_hiding * depth**of_depth * tail * spilling)


def choose(
    kept: Sequence[Fitted],
    candidates: Sequence[tuple[Neighbour, Fitted]],
    gpu: GpuSpec,
    bound: str | None,
    limit: int,
) -> list[tuple[Neighbour, Fitted]]:
    """The neighbours to add, best first, until the list is `limit` long.

    A score is a guess, so the list should not bet on one: each neighbour already taken of the same original,
    and each that moves the knobs the same way, takes a fifth off a candidate's score. A candidate with the
    machine code of a config already in the list is the same kernel and is left out.
    """
    binaries = {fitted.resources.binary for fitted in kept}
    chosen: list[tuple[Neighbour, Fitted]] = []
    left = list(candidates)
    while left and len(kept) + len(chosen) < limit:
        left = [pair for pair in left if pair[1].resources.binary not in binaries]
        if not left:
            break
        best = max(
            left, key=lambda pair: score(pair[1], gpu, bound) * _FRESH ** _repeats(pair[0], chosen)
        )
        binaries.add(best[1].resources.binary)
        chosen.append(best)
    return chosen


def _repeats(neighbour: Neighbour, chosen: Sequence[tuple[Neighbour, Fitted]]) -> int:
    return sum((n.origin == neighbour.origin) + (n.moves == neighbour.moves) for n, _ in chosen)
