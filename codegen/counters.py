"""What to ask Nsight Compute for, and what of its answer a person pastes into a prompt."""

from __future__ import annotations

import re
from collections.abc import Mapping

from codegen import ncu

# Sections and not metrics where there is one: which counters a figure is made of differs from GPU to GPU,
# and ncu's own section files know it.
SECTIONS = (
    "SpeedOfLight",  # throughputs, duration
    "LaunchStats",  # grid, block, registers, shared memory, waves
    "Occupancy",  # achieved and theoretical, and what limits it
    "WarpStateStats",  # what issued instructions waited for
    "ComputeWorkloadAnalysis",  # how busy each pipe is, the tensor cores' among them
    "MemoryWorkloadAnalysis",  # hit rates
)
# Asked for by name: the prompts have them, and no section has both on every GPU.
METRICS = (ncu.DRAM_THROUGHPUT, ncu.L2_HIT)

# In this order, the prompts' own five first.
_KEPT = tuple(
    re.compile(pattern)
    for pattern in (
        *map(
            re.escape,
            (ncu.SM_THROUGHPUT, ncu.GRID, ncu.WARPS_ACTIVE, ncu.DRAM_THROUGHPUT, ncu.L2_HIT),
        ),
        *map(re.escape, (ncu.MEMORY_THROUGHPUT, ncu.BLOCK, ncu.REGISTERS)),
        *map(re.escape, (ncu.DYNAMIC_SHARED, ncu.STATIC_SHARED, ncu.WAVES, ncu.MAX_WARPS)),
        r"launch__occupancy_limit_(?:registers|shared_mem|warps|blocks)",
        r"gpu__time_duration\.(?:sum|avg)",
        r"l1tex__t_sector_hit_rate\.pct",
        r"sm__(?:inst_executed_)?pipe_tensor\w*\.avg\.pct_of_peak_sustained_(?:active|elapsed)",
        r"smsp__issue_active\.avg\.per_cycle_active",
    )
)


def prompt_form(metrics: ncu.KernelMetrics) -> dict[str, int | float]:
    """The metrics as the prompts give them: the prompts' own five, then what a diagnosis needs besides.

    Stalls come last, the longest first; those that took no time are left out.
    """
    values = metrics.values
    kept = {
        name: values[name] for wanted in _KEPT for name in values if wanted.fullmatch(name)
    } | _stalls(values)
    return {name: int(value) if value.is_integer() else value for name, value in kept.items()}


def _stalls(values: Mapping[str, float]) -> dict[str, float]:
    waits = [
        (name, value)
        for name, value in values.items()
        if (stall := ncu.STALL.fullmatch(name)) and stall[1] != "selected" and value
    ]
    return dict(sorted(waits, key=lambda wait: (-wait[1], wait[0])))


def duration_us(metrics: ncu.KernelMetrics) -> float | None:
    """How long the launch took, from ncu's nanoseconds."""
    found = [
        value for name, value in metrics.values.items() if name.startswith("gpu__time_duration.")
    ]
    return found[0] / 1000 if found else None
