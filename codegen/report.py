"""What was found out about a file, as data: the rows behind the table, the JSON report and the verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from codegen.config import Config, Source
from codegen.gpu import GpuSpec
from codegen.inputs import InputSpec, describe
from codegen.occupancy import Occupancy, waves
from codegen.outcome import Accuracy, Resources


@dataclass(frozen=True)
class Row:
    """One config: where it comes from, what becomes of it, and what is known of it."""

    config: Config
    origin: str  # original, neighbour
    status: str  # kept, added, dropped
    reason: str
    # The stage that refused it: compile, code, launch, verify, limit, prune.
    dropped_at: str | None = None
    resources: Resources | None = None
    occupancy: Occupancy | None = None
    grid: int | None = None  # blocks
    accuracy: Accuracy | None = None
    times_us: tuple[float | None, ...] = ()  # for each given set of inputs; None: not timed
    untried: bool = False  # pruned by the file at the sizes at hand: nothing is known of it

    def waves(self, gpu: GpuSpec) -> float | None:
        if self.grid is None or self.occupancy is None or not self.occupancy.blocks_per_sm:
            return None
        return waves(self.grid, gpu, self.occupancy.blocks_per_sm)


@dataclass(frozen=True)
class ProfileReport:
    """What an Nsight Compute profile says of one kernel."""

    attributed_to: tuple[int, ...]  # indices into the site's rows
    bound: str | None  # compute, memory, latency, too few warps, tail; None: it doesn't say
    line: str


@dataclass(frozen=True)
class SiteReport:
    """One autotune site."""

    kernel: str
    line: int
    rows: tuple[Row, ...]
    profile: ProfileReport | None = None
    note: str | None = None  # why it was left alone, or what to know about it
    passed_over: tuple[Row, ...] = ()  # neighbours that were compiled, and what became of them


@dataclass(frozen=True)
class Report:
    """One file on one GPU."""

    name: str
    gpu: GpuSpec
    inputs: tuple[InputSpec, ...]
    guessed: bool
    sites: tuple[SiteReport, ...]
    accepted: bool
    verdict: str
    notes: tuple[str, ...] = ()


def no_longer_read(name: str) -> str:
    """What to say of a name that a rewrite leaves behind."""
    return f"{name} is no longer read: remove it if nothing else needs it"


def to_json(report: Report) -> dict[str, Any]:
    """The report as JSON values. Fields may be added to this shape, never renamed."""
    return {
        "file": report.name,
        "gpu": report.gpu.name,
        "compute_capability": ".".join(map(str, report.gpu.compute_capability)),
        "inputs": {"guessed" if report.guessed else "given": list(describe(report.inputs))},
        "sites": [_site(site, report.gpu) for site in report.sites],
        "notes": list(report.notes),
        "verdict": {"accepted": report.accepted, "reason": report.verdict},
    }


def _site(site: SiteReport, gpu: GpuSpec) -> dict[str, Any]:
    profile = site.profile
    return {
        "kernel": site.kernel,
        "line": site.line,
        "note": site.note,
        "profile": profile
        and {
            "attributed_to": list(profile.attributed_to),
            "bound": profile.bound,
            "line": profile.line,
        },
        "configs": [_row(row, gpu) for row in site.rows],
        "passed_over": [_row(row, gpu) for row in site.passed_over],
    }


def _row(row: Row, gpu: GpuSpec) -> dict[str, Any]:
    config = row.config
    return {
        "meta": {name: _plain(value) for name, value in config.meta},
        "num_warps": config.warps if config.warps is not None else _plain(config.num_warps),
        "num_stages": config.stages if config.stages is not None else _plain(config.num_stages),
        "extra": dict(config.extra),
        "origin": row.origin,
        "status": row.status,
        "reason": row.reason,
        "resources": _resources(row, gpu),
        "accuracy": row.accuracy
        and {
            "relative_error": _finite(row.accuracy.relative_error),
            "max_error": _finite(row.accuracy.max_error),
            "inputs": row.accuracy.inputs,
            "against": row.accuracy.against,
        },
        "times_us": list(row.times_us),
    }


def _resources(row: Row, gpu: GpuSpec) -> dict[str, Any] | None:
    if row.resources is None or row.occupancy is None:
        return None
    return {
        "shared_bytes": row.resources.shared_bytes,
        "registers": row.resources.registers,
        "spill_bytes": row.resources.spill_bytes,
        "blocks_per_sm": row.occupancy.blocks_per_sm,
        "occupancy_pct": round(row.occupancy.percent, 2),
        "limited_by": " and ".join(row.occupancy.limited_by),
        "grid": row.grid,
        "waves": (lambda value: value if value is None else round(value, 2))(row.waves(gpu)),
        "machine_code": row.resources.binary,
    }


def _plain(value: Any) -> Any:
    return value.text if isinstance(value, Source) else value


def _finite(value: float) -> float | None:
    """JSON has no NaN: an error that is none (elements never written) is null."""
    return value if math.isfinite(value) else None
