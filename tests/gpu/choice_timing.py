"""The GPU's side of choice_grid.py: everything that could compute one problem, timed side by side. A child process's."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Any

import torch

from codegen import timing
from codegen.failure import explain
from codegen.forced import Pick, forced, key_of
from codegen.inputs import from_wire
from codegen.load import import_file
from codegen.reference import (
    Bounds,
    Outputs,
    Reference,
    bounds,
    distance,
    flat,
    half_ulp,
    worst,
)

SEED = 0
CALLS = 2  # of each, for a first idea of its time
FAR = 1.5  # times the best of those: what takes longer is not looked at again
ROUNDS = 5  # of the others; then of the LAST best of all, and the best two that are listed
LAST, LAST_LISTED, LAST_ROUNDS = 6, 2, 15

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Entrant:
    """A config of a kernel in a file; `listed` where the plain `codegen render` would have put it there."""

    label: str
    path: str
    kernel: str
    config: int  # its place in the file's list
    warps: int
    stages: int
    listed: bool


def serve(pipe: Connection) -> None:
    """Answers questions of `measured` until there are no more: any number of ("turn", label), then ("answer", ...)."""

    def tell(label: str) -> None:
        pipe.send(("turn", label))

    with torch.no_grad():
        while (question := pipe.recv()) is not None:
            pipe.send(("answer", measured(tell=tell, **question)))


def measured(
    inputs: Any,
    reference: str,
    names: Sequence[str],
    promise: str,
    entrants: Sequence[Entrant],
    tell: Tell,
) -> dict[str, Any]:
    """The method; the µs that each entrant took, medians of the last heat it was in; and why others were not timed.

    `last` names those that were in the last heat, whose times can be compared. Raises what a broken CUDA
    context does, once the label was told.
    """
    right = Reference(None, reference, names, {}, SEED, "cuda")
    values = right.inputs(from_wire(inputs), SEED)
    expected, allowed = _expected(right, values, promise)
    course = timing.Course(values, SEED)
    times: dict[str, float] = {}
    failures: dict[str, str] = {}
    racers: dict[str, timing.Racer] = {}
    for entrant in entrants:
        tell(entrant.label)
        racer = _racer(entrant)
        try:
            times[entrant.label] = _rough_us(racer, values, course, expected, allowed)
            racers[entrant.label] = racer
        except Exception as error:  # out of resources, or wrong
            failures[entrant.label] = explain(error, entrant.path)
            torch.cuda.synchronize()  # a context that is broken is not this one's alone
    if not racers:
        return {"method": "none", "us": {}, "last": [], "failures": failures}
    listed = {entrant.label for entrant in entrants if entrant.listed}
    field = near(times, listed)
    for label in field:
        tell(label)
        timing.warm(racers[label], course)
    for rounds in (ROUNDS, LAST_ROUNDS):
        method, found = _heat([racers[label] for label in field], course, rounds, tell)
        times |= found
        last, field = field, finalists(found, listed)
    for racer in racers.values():
        racer.graph, racer.captured = None, []
    torch.cuda.empty_cache()
    return {"method": method, "us": times, "last": last, "failures": failures}


def near(times: dict[str, float], listed: set[str]) -> list[str]:
    """Those within FAR times the best; and, however slow, the best of those listed."""
    least = min(times.values())
    found = [label for label, us in times.items() if us <= FAR * least]
    ours = [label for label in times if label in listed]
    return list(dict.fromkeys([*found, *sorted(ours, key=times.__getitem__)[:LAST_LISTED]]))


def finalists(times: dict[str, float], listed: set[str]) -> list[str]:
    """The LAST best of all, and the best of those listed."""
    order = sorted(times, key=times.__getitem__)
    ours = [label for label in order if label in listed]
    return list(dict.fromkeys([*order[:LAST], *ours[:LAST_LISTED]]))


def _expected(right: Reference, values: list[Any], promise: str) -> tuple[Outputs, Bounds]:
    expected = right.compute(values, torch.float64)
    runs = right.runs(values, promise)
    assert runs, "PyTorch multiplies all types of the grid"
    return expected, bounds(expected, runs, half_ulp(runs[0]))


@cache
def _module(path: str) -> ModuleType:
    return import_file(path)


def _racer(entrant: Entrant) -> timing.Racer:
    module = _module(entrant.path)
    model = module.ModelNew()
    picks = {
        key_of(getattr(module, entrant.kernel)): Pick(entrant.config, entrant.warps, entrant.stages)
    }

    @contextlib.contextmanager
    def context() -> Iterator[None]:
        with forced(picks):
            yield

    return timing.Racer(entrant.label, lambda values: flat(model(*values)), context)


def _rough_us(
    racer: timing.Racer,
    values: list[Any],
    course: timing.Course,
    expected: Outputs,
    allowed: Bounds,
) -> float:
    """The shortest of a few calls. Raises ValueError where the first one's result is wrong."""
    with racer.context():
        outputs = racer.run(values)
        errors = [distance(out, ref) for out, ref in zip(outputs, expected, strict=True)]
        found = worst(errors, allowed)
        if not found["right"]:
            raise ValueError(f"relative error {found['relative_error']}")
        times = []
        for _ in range(CALLS):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            course.hold(5e-4)
            course.flush()
            start.record()
            racer.run(values)
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end) * 1e3)
    return min(times)


def _heat(
    racers: Sequence[timing.Racer], course: timing.Course, rounds: int, tell: Tell
) -> tuple[str, dict[str, float]]:
    """How they were timed, and the medians over interleaved rounds."""
    rows: list[dict[str, float]] = []

    def note(said: dict[str, Any]) -> None:
        if "row" in said:
            rows.append(said["row"])
        if "turn" in said:
            tell(said["turn"])

    method = timing.capture(racers, course, lambda _label: True)
    timing.race(racers, course, rounds, method, note, lambda: None, lambda _in, _out: None)
    return method, {label: statistics.median(row[label] for row in rows) for label in rows[0]}
