"""What a profile says of a config list: which config it shows, and what bounds the kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from codegen.gpu import GpuSpec
from codegen.ncu import KernelMetrics
from codegen.occupancy import Occupancy, waves

# Below this share of both peaks a kernel waits rather than works; above the second one it is saturated.
# (Nsight Compute, sections/SpeedOfLight.py: latency_bound_threshold, no_bound_threshold.)
WORKING_PCT, SATURATED_PCT = 60.0, 80.0
# A partial last wave matters when it may take this share of the time, were all blocks equally long.
# (Nsight Compute, sections/LaunchStatistics.py: potential_tail_effect.)
TAIL_SHARE = 0.2
# Warps an SM needs to hide the latency of arithmetic: 4 cycles, 4 schedulers.
# (CUDA C++ Programming Guide, section "Multiprocessor Level".)
HIDING_WARPS = 16

# A measured occupancy may stand this far above the theoretical one before they contradict each other;
OCCUPANCY_SLACK = 1.02
# under this share of it, it is no sign, on its own, that they belong together.
OCCUPANCY_FLOOR = 0.5
OCCUPANCY_DIGITS = 0.01  # ncu prints per cents with two decimals
SHARED_SLACK = 0.01  # CSV output gives sizes in thousands of bytes, with two decimals


@dataclass(frozen=True)
class Candidate:
    """What is known of one config that a profile may show.

    The occupancy is the theoretical one on the GPU of the profile, 0 for a config that cannot launch. A
    grid that follows from guessed input sizes rules nothing out.
    """

    grid: int | None  # blocks
    occupancy_pct: float
    grid_is_guess: bool
    block_size: int | None = None  # threads
    registers: int | None = None  # per thread
    shared_bytes: int | None = None  # per block


def attribute(metrics: KernelMetrics, candidates: Sequence[Candidate | None]) -> tuple[int, ...]:
    """The indices of the configs that a profile fits, in order; none if it fits no config.

    1. Grid and block size must be the profile's, where both are known and not guessed.
    2. The occupancy measured (`sm__warps_active`) is at most the theoretical one (2 % slack), and usually
       near it: of the configs that allow it, those with the least theoretical occupancy are taken. Where no
       grid confirms the match, it must reach half of that. A theoretical occupancy in the profile decides
       instead, if there is one.
    3. Of what is left, those with the profile's own grid (a guessed one may hit it), shared memory and
       registers are taken, if any has them. That none has proves nothing: sizes were guessed wrong, or the
       profile was made with another version of the compiler.
    """
    fits = {
        i: c for i, c in enumerate(candidates) if c is not None and not _contradicts(metrics, c)
    }
    fits = _by_occupancy(metrics, fits)
    for confirms in (_same_grid, _same_shared, _same_registers):
        fits = {i: c for i, c in fits.items() if confirms(metrics, c)} or fits
    return tuple(fits)


def _contradicts(metrics: KernelMetrics, candidate: Candidate) -> bool:
    sizes = [(candidate.block_size, metrics.block_size)]
    if not candidate.grid_is_guess:
        sizes.append((candidate.grid, metrics.grid_size))
    return candidate.occupancy_pct <= 0 or any(
        None not in pair and pair[0] != pair[1] for pair in sizes
    )


def _by_occupancy(metrics: KernelMetrics, fits: dict[int, Candidate]) -> dict[int, Candidate]:
    theoretical, achieved = metrics.theoretical_occupancy_pct, metrics.warps_active_pct
    confirmed = {i for i, c in fits.items() if _same_grid(metrics, c) and not c.grid_is_guess}
    if theoretical is not None:
        return {
            i: c
            for i, c in fits.items()
            if _near(c.occupancy_pct, theoretical, OCCUPANCY_SLACK - 1)
        }
    if achieved is None:
        return {i: c for i, c in fits.items() if i in confirmed}
    possible = {i: c for i, c in fits.items() if achieved <= c.occupancy_pct * OCCUPANCY_SLACK}
    least = min((c.occupancy_pct for c in possible.values()), default=0.0)
    return {
        i: c
        for i, c in possible.items()
        if c.occupancy_pct <= least * OCCUPANCY_SLACK
        and (i in confirmed or achieved >= c.occupancy_pct * OCCUPANCY_FLOOR)
    }


def _same_grid(metrics: KernelMetrics, candidate: Candidate) -> bool:
    return metrics.grid_size is not None and candidate.grid == metrics.grid_size


def _same_shared(metrics: KernelMetrics, candidate: Candidate) -> bool:
    return (
        metrics.shared_bytes is not None
        and candidate.shared_bytes is not None
        and _near(candidate.shared_bytes, metrics.shared_bytes, SHARED_SLACK)
    )


def _same_registers(metrics: KernelMetrics, candidate: Candidate) -> bool:
    return candidate.registers is not None and candidate.registers == metrics.registers_per_thread


def _near(ours: float, theirs: float, slack: float) -> bool:
    return math.isclose(ours, theirs, rel_tol=slack)


def unlike_predicted(metrics: KernelMetrics, candidate: Candidate) -> tuple[str, ...]:
    """Where a profile made of this very config differs from what was known of it before, a clause each.

    Sizes must be in bytes, not rounded (`ncu --print-units base`).
    """
    pairs: tuple[tuple[str, float | None, float | None], ...] = (
        ("registers", candidate.registers, metrics.registers_per_thread),
        ("bytes of shared memory", candidate.shared_bytes, metrics.shared_bytes),
        ("threads a block", candidate.block_size, metrics.block_size),
        ("% occupancy", candidate.occupancy_pct, metrics.theoretical_occupancy_pct),
        # A kernel launched several times in a call has a grid for each.
        ("blocks", candidate.grid, metrics.grid_size if metrics.launches == 1 else None),
    )
    return tuple(
        f"{theirs:,g} {what}, not {ours:,g}"
        for what, ours, theirs in pairs
        if ours is not None and theirs is not None and abs(ours - theirs) > OCCUPANCY_DIGITS
    )


@dataclass(frozen=True)
class Diagnosis:
    """What bounds a kernel, and the figures it follows from, in one line."""

    bound: str  # compute, memory, latency, too few warps, tail
    line: str


def diagnose(
    metrics: KernelMetrics, gpu: GpuSpec | None, occupancy: Occupancy | None
) -> Diagnosis | None:
    """What bounds the profiled kernel; None where the profile does not say enough.

    As Nsight Compute's Speed of Light rules: the busier of compute and memory bounds the kernel once it
    passes 60 % of its peak. Otherwise the kernel waits: for a last wave of blocks that fills only part of
    the GPU, if the GPU would pass 60 % while it is full; else for latency, and where fewer than 16 warps
    are resident on an SM, for want of warps that hide it. `gpu` is the GPU of the profile; without it and
    the `occupancy` of the config it shows, waves and warps are known only from the profile's own metrics.
    """
    measured = {"compute": metrics.sm_throughput_pct, "memory": metrics.memory_throughput_pct}
    known = {name: rate for name, rate in measured.items() if rate is not None}
    if not known:
        return None
    rates = ", ".join(f"{name} at {rate:.1f} %" for name, rate in known.items()) + " of peak"
    if metrics.dram_throughput_pct not in (None, metrics.memory_throughput_pct):
        rates += f" (DRAM at {metrics.dram_throughput_pct:.1f} %)"
    busiest = max(known, key=lambda name: known[name])
    if known[busiest] >= WORKING_PCT:
        saturated = ": saturated" if known[busiest] >= SATURATED_PCT else ""
        return Diagnosis(busiest, f"{rates}{saturated}")
    if len(known) < len(measured):
        return None  # what was not measured may be what binds

    tail, explains = _tail(_waves(metrics, gpu, occupancy), known[busiest])
    if explains:
        return Diagnosis("tail", f"{tail}; {rates}")
    also = f"; {tail}" if tail else ""
    warps = _warps(metrics, gpu, occupancy)
    if warps is not None and warps < HIDING_WARPS:
        of = f" of {gpu.max_warps_per_sm}" if gpu else ""
        few = f"{warps:.1f}{of} warps resident on an SM, {HIDING_WARPS} hide the latency of arithmetic"
        return Diagnosis("too few warps", f"{few}; {rates}{also}")
    stall = next(iter(metrics.stalls.items()), None)
    wait = f"; longest wait: {stall[0].replace('_', ' ')}, {stall[1]:.1f} cycles" if stall else ""
    return Diagnosis("latency", f"{rates}, both below {WORKING_PCT:.0f} %{wait}{also}")


def _tail(filled: float | None, busiest_pct: float) -> tuple[str, bool]:
    """What to say of a grid's last wave, and whether it alone explains a low throughput."""
    if filled is None:
        return "", False
    if filled < 1:
        return f"the grid fills {100 * filled:.0f} % of the GPU", True
    last, rounds = filled % 1, math.ceil(filled)
    if not last or 1 / rounds < TAIL_SHARE:
        return "", False
    said = f"the last of {filled:.2f} waves fills {100 * last:.0f} % of the GPU"
    return said, busiest_pct * rounds / filled >= WORKING_PCT


def _waves(
    metrics: KernelMetrics, gpu: GpuSpec | None, occupancy: Occupancy | None
) -> float | None:
    if metrics.waves is not None or metrics.grid_size is None or gpu is None:
        return metrics.waves
    if occupancy is None or not occupancy.blocks_per_sm:
        return None
    return waves(metrics.grid_size, gpu, occupancy.blocks_per_sm)


def _warps(
    metrics: KernelMetrics, gpu: GpuSpec | None, occupancy: Occupancy | None
) -> float | None:
    """Warps resident on an SM, on average while it works."""
    if metrics.warps_active_pct is not None and gpu is not None:
        return metrics.warps_active_pct / 100 * gpu.max_warps_per_sm
    return float(occupancy.warps_per_sm) if occupancy is not None else None
