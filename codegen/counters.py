"""What to ask Nsight Compute for, and what of its answer a person pastes into a prompt."""

from __future__ import annotations

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
_KEPT = (
    *(ncu.SM_THROUGHPUT, ncu.GRID, ncu.WARPS_ACTIVE, ncu.DRAM_THROUGHPUT, ncu.L2_HIT),
    *(ncu.MEMORY_THROUGHPUT, ncu.BLOCK, ncu.REGISTERS, ncu.DYNAMIC_SHARED, ncu.STATIC_SHARED),
    *(ncu.WAVES, ncu.MAX_WARPS),
    *(
        f"launch__occupancy_limit_{limit}"
        for limit in ("registers", "shared_mem", "warps", "blocks")
    ),
    "l1tex__t_sector_hit_rate.pct",
    "smsp__issue_active.avg.per_cycle_active",
)
_DURATIONS = (
    "gpu__time_duration.sum",
    "gpu__time_duration.avg",
)  # ns; of one launch they are the same


def prompt_form(metrics: ncu.KernelMetrics) -> dict[str, int | float]:
    """The metrics as the prompts give them: the prompts' own five, then what a diagnosis needs besides.

    Of the tensor pipe's metrics, which go by other names on other GPUs, the busiest. Stalls come last, the
    longest first; those that took no time are left out.
    """
    values = metrics.values
    duration = [name for name in _DURATIONS if name in values][:1]
    tensor = sorted(filter(ncu.TENSOR_PIPE.search, values), key=lambda name: -values[name])[:1]
    names = (*(name for name in _KEPT if name in values), *duration, *tensor, *_stalls(values))
    return {name: int(value) if (value := values[name]).is_integer() else value for name in names}


def _stalls(values: Mapping[str, float]) -> list[str]:
    waits = [
        name
        for name, cycles in values.items()
        if (stall := ncu.STALL.fullmatch(name)) and stall[1] != "selected" and cycles
    ]
    return sorted(waits, key=lambda name: (-values[name], name))


def duration_us(metrics: ncu.KernelMetrics) -> float | None:
    """How long the launch took, from ncu's nanoseconds."""
    return next(
        (metrics.values[name] / 1000 for name in _DURATIONS if name in metrics.values), None
    )
