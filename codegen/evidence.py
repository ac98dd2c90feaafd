"""What a GPU said, as data: the machine, what was checked or timed, every finding and every sample.

Whatever measures hands these to whatever judges, keeps and shows; they travel as JSON, so a measuring job
can be answered on another host.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from codegen.inputs import InputSpec


@dataclass(frozen=True)
class Machine:
    """Where it was measured. Results of machines that differ in any of these are not the same results."""

    gpu: str  # as the driver names it: `NVIDIA H200`
    uuid: str
    compute_capability: tuple[int, int]
    sm_count: int
    l2_bytes: int
    driver: str
    cuda: str
    torch: str
    triton: str


@dataclass(frozen=True)
class Choice:
    """One config forced on one kernel: an entry of its live list, with knobs that may be others."""

    kernel: str
    line: int  # of the kernel's first decorator
    config: int  # index into the live list
    num_warps: int
    num_stages: int


@dataclass(frozen=True)
class Subject:
    """What is checked or timed: a file's ModelNew with configs forced on its kernels, or a baseline."""

    label: str  # unique in a run: `candidate #2`, `original #0`, `eager`
    path: Path | None = None  # None: a baseline
    # The first is on trial: inputs that do not launch its kernel say nothing of it. Kernels not named run with
    # their first config.
    choices: tuple[Choice, ...] = ()
    baseline: str | None = None  # eager, compile, max-autotune


@dataclass(frozen=True)
class Case:
    """One set of inputs."""

    inputs: tuple[InputSpec, ...]
    seed: int
    purpose: str  # given, ragged, small, special (NaN and infinities among the values)
    sizes: tuple[
        tuple[int, int], ...
    ] = ()  # a problem file's whole numbers, and what stands for them


REFERENCE_REFUSES = "the reference takes no such inputs"  # how such a Finding.refused begins


@dataclass(frozen=True)
class Finding:
    """One subject on one case. Errors as in `outcome.Accuracy`."""

    case: str  # for a person: `float32[549,549], float32[549,549], seed 1`
    relative_error: float
    max_error: float
    library_error: (
        float | None
    )  # relative, of PyTorch's own product at the same dtype and precision
    bound: float  # on relative_error
    fault: str | None = None  # None: right; else why not, as a clause
    # Why nothing could be said: the wrapper (or the reference) takes no such inputs, and they are not the given
    # ones. What a file refuses it cannot get wrong.
    refused: str | None = None


@dataclass(frozen=True)
class Checkup:
    """One subject on every case, and what only shows over several calls."""

    label: str
    findings: tuple[Finding, ...]
    repeatable: bool | None = (
        None  # the same bits from the same inputs, every time; None: not found out
    )
    fault: str | None = None  # None: right everywhere; else the first thing wrong, as a clause


@dataclass(frozen=True)
class Launched:
    """One kernel that a call launched, as the driver and Triton's runtime describe it."""

    kernel: str
    grid: int  # blocks
    num_warps: int
    registers: int  # per thread
    local_bytes: int  # per thread: spills and stack frame
    shared_bytes: int  # per block, static and dynamic
    blocks_per_sm: int  # cuOccupancyMaxActiveBlocksPerMultiprocessor


@dataclass(frozen=True)
class Clocks:
    """The GPU between two stretches of timing, through NVML."""

    sm_mhz: int
    memory_mhz: int
    watts: float
    celsius: int
    throttled: tuple[str, ...]  # NVML's reasons: `sw_power_cap`, `hw_thermal_slowdown`


@dataclass(frozen=True)
class Race:
    """Subjects timed side by side: each round times each of them once, in an order of its own."""

    labels: tuple[str, ...]
    rounds_us: tuple[tuple[float, ...], ...]  # [round, subject], microseconds a call
    method: str  # `events` or `graph`
    clocks: tuple[Clocks, ...] = ()
    failures: tuple[tuple[str, str], ...] = ()  # (label, why) of those that could not be timed

    def samples_us(self, label: str) -> tuple[float, ...]:
        column = self.labels.index(label)
        return tuple(row[column] for row in self.rounds_us)


@dataclass(frozen=True)
class Interval:
    """A confidence interval of a ratio of times, or of a time in microseconds."""

    low: float
    estimate: float
    high: float
    confidence: float  # 0.99: of all such intervals, that share holds the true value
    widened: float = 0.0  # at each end, as a share, for what more samples would not show


@dataclass(frozen=True)
class Verdict:
    """What `judge` concludes."""

    accepted: bool
    faster: bool  # the whole interval of original/candidate lies above 1
    reason: str  # one line
    speedup: Interval | None = (
        None  # original over candidate; None: nothing to compare with, or not timed
    )
    slower: bool = False  # the whole interval lies below 1
