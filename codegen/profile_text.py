"""How a profile looks to a person."""

from __future__ import annotations

from collections.abc import Iterator

from codegen.counters import duration_us
from codegen.inputs import describe
from codegen.profiling import Profile, Shown

_STALLS = 3  # the longest


def as_lines(profile: Profile) -> Iterator[str]:
    """What Nsight Compute saw of each kernel, how that compares with what was predicted, and the diagnosis."""
    guess = "  (a guess: give --inputs or --problem)" if profile.guessed else ""
    yield (
        f"{profile.name} on {profile.machine.gpu}, inputs {'  '.join(describe(profile.inputs))}{guess}, "
        f"Nsight Compute {profile.nsight}"
    )
    for each in profile.kernels:
        yield ""
        yield f"{each.kernel} (line {each.line}) #{each.choice.index} {each.row.config}: {each.choice.why}"
        yield from (f"  {what:<11} {said}" for what, said in _rows(each))
    yield from profile.notes


def _rows(each: Shown) -> Iterator[tuple[str, str]]:
    metrics = each.metrics
    duration = duration_us(metrics)
    if duration is not None:
        yield "time", f"{duration:,.1f} µs under the profiler (caches flushed, clocks not controlled)"
    rates = {
        "compute": metrics.sm_throughput_pct,
        "memory": metrics.memory_throughput_pct,
        "DRAM": metrics.dram_throughput_pct,
        "tensor pipe": metrics.tensor_pipe_pct,
    }
    yield "% of peak", ", ".join(f"{what} {_pct(rate)}" for what, rate in rates.items())
    achieved, fits = metrics.warps_active_pct, metrics.theoretical_occupancy_pct
    limits = each.row.occupancy.limited_by if each.row.occupancy else ()
    yield "occupancy", f"{_pct(achieved, 2)} % of {_pct(fits, 2)} % (bound by {' and '.join(limits)})"
    spills = each.row.resources.spill_bytes if each.row.resources else 0
    yield "needs", (
        f"{metrics.registers_per_thread} registers{f', {spills} bytes spilled' if spills else ''}, "
        f"{metrics.shared_bytes or 0:,.0f} bytes shared"
    )
    if metrics.stalls:
        waits = list(metrics.stalls.items())[:_STALLS]
        yield "waits", ", ".join(
            f"{name.replace('_', ' ')} {cycles:.1f}" for name, cycles in waits
        ) + " cycles"
    if each.surprises:
        yield "unlike", f"what was predicted without the GPU: {'; '.join(each.surprises)}"
    else:
        yield "as", "predicted without the GPU: registers, shared memory, occupancy, blocks"
    diagnosis = each.diagnosis
    yield "diagnosis", (
        f"{diagnosis.bound}: {diagnosis.line}" if diagnosis else "too few metrics for one"
    )


def _pct(rate: float | None, decimals: int = 1) -> str:
    return "–" if rate is None else f"{rate:.{decimals}f}"
