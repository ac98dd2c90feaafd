"""What the steps hand to each other: failures as values, resources, accuracy, the verdict."""

from __future__ import annotations

from dataclasses import dataclass

ACCEPTED, REFUSED, BAD_INPUT = 0, 1, 2  # exit statuses

# What a NaN that no reference has comes from: memory that is handed out, or lies beyond an input's end, holds them.
UNWRITTEN = "elements never written, or memory read that nobody wrote"


class BadInput(Exception):
    """The input can't be used: one line saying what, where, why and what to do. Exit status 2."""


class Refused(Exception):
    """The input was looked at and nothing acceptable can be written. Exit status 1."""


@dataclass(frozen=True)
class Resources:
    """What one compiled config needs, as the compiler reports it for the target."""

    shared_bytes: int  # per block, static and dynamic
    registers: int  # per thread
    spill_bytes: int  # local memory per thread: spills and stack frame
    num_warps: (
        int  # per block, as compiled: warp specialisation may add to or drop from what was asked
    )
    binary: str  # SHA-256 of the machine code; equal means the same kernel
    serialised: bool = (
        False  # Hopper: products on tensor cores wait for one another (hazard.serialised)
    )


@dataclass(frozen=True)
class Accuracy:
    """How far a result is from the reference.

    `relative_error` is ||out - ref|| / ||ref|| (Frobenius); `max_error` is max|out - ref| over the root
    mean square of ref. Both are NaN when an element is that is finite in ref.
    """

    relative_error: float
    max_error: float
    inputs: str
    against: str  # what the reference is: `float64 A.T @ B.T`, `the other configs`


# Of a config that Triton launches at none of the sizes at hand: nothing is known of it, and nothing wrong with it.
PRUNED = "pruned at these sizes by prune_configs_by: not tried"


@dataclass(frozen=True)
class Rejected:
    """A config that is out, the stage that said so (`compile`, `launch`, `verify`; `prune`: only not tried), and why."""

    stage: str
    reason: str
    accuracy: Accuracy | None = None  # where a wrong result was seen
