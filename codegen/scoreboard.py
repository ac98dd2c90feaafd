"""What came of a benchmark: times and errors of each side of each case, and how the table reads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from codegen.benchmark import ROWS, Case, Row, cases
from codegen.evidence import Machine
from codegen.gpu import gpu_called
from codegen.limits import Limit, limit_of
from codegen.wire import from_wire, to_wire


@dataclass(frozen=True)
class Side:
    """One contestant in one case."""

    label: str  # `eager`, `max-autotune`, a peer; the kernel's own is `codegen`
    median_us: float
    error: float | None = None  # relative, against float64; None: not looked at


@dataclass(frozen=True)
class Outcome:
    """One case, measured. Without `ours` the kernel could not be timed, and `skipped` says why."""

    case: Case
    ours: Side | None
    config: str  # of the kernel, the fastest that is right
    others: tuple[Side, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()  # label, why
    rounds: int = 0  # that the medians are of
    kernel: str = ""  # what the file was rendered from, as a hash
    # Every right config, fastest first, with its time in µs: a median of few rounds, in which only configs ran.
    screened: tuple[tuple[str, float], ...] = ()
    # What measuring it took, by step; waiting for the compiler is one. Not kept.
    seconds: Mapping[str, float] = field(default_factory=dict, compare=False)

    @property
    def opponent(self) -> Side | None:
        """The fastest of those the case is against."""
        against = {*self.case.baselines, *self.case.rivals}
        timed = [side for side in self.others if side.label in against]
        return min(timed, key=lambda side: side.median_us, default=None)

    @property
    def speedup(self) -> float | None:
        if self.ours is None or self.opponent is None:
            return None
        return self.opponent.median_us / self.ours.median_us

    @property
    def tflops(self) -> float | None:
        """10^12 of the problem's own operations a second."""
        return self.case.problem.flops() / self.ours.median_us / 1e6 if self.ours else None


@dataclass(frozen=True)
class Standing:
    """A row of the table."""

    row: Row
    count: int  # of cases that were measured
    mean: float  # geometric, of the speed-ups
    worst: float
    missed: tuple[
        str, ...
    ]  # names of cases under their targets, and `mean` where that is under its own


def standings(outcomes: Sequence[Outcome]) -> tuple[Standing, ...]:
    found = []
    for row in ROWS:
        of_row = [outcome for outcome in outcomes if outcome.case.row == row.name]
        timed = [(o, o.speedup) for o in of_row if o.speedup is not None]
        if not timed:
            continue
        speedups = [speedup for _, speedup in timed]
        mean = math.exp(math.fsum(map(math.log, speedups)) / len(speedups))
        missed = [
            outcome.case.name
            for outcome, speedup in timed
            if speedup < (outcome.case.target or row.each or 0.0)
        ]
        if row.mean is not None and mean < row.mean:
            missed.insert(0, "mean")
        found.append(Standing(row, len(timed), mean, min(speedups), tuple(missed)))
    return tuple(found)


def as_json(machine: Machine, date: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    return {
        "machine": to_wire(machine),
        "date": date,
        "cases": [
            {
                "name": outcome.case.name,
                "problem": outcome.case.problem.to_json(),
                "reference": outcome.case.reference,
                "target": target(outcome.case),
                "speedup": outcome.speedup,
                "tflops": outcome.tflops,
                "config": outcome.config,
                "ours": to_wire(outcome.ours),
                "others": to_wire(outcome.others),
                "skipped": dict(outcome.skipped),
                "rounds": outcome.rounds,
                "kernel": outcome.kernel,
                "screened": dict(outcome.screened),
            }
            for outcome in outcomes
        ],
    }


def read_json(data: Any) -> tuple[Machine, tuple[Outcome, ...]]:
    """What `as_json` writes, without cases that are no longer in the table as they were then.

    Raises ValueError where it is none of that.
    """
    known = {case.name: case for case in cases()}
    try:
        machine = from_wire(Machine, data["machine"])
        read = [_outcome(known.get(each["name"]), each) for each in data["cases"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no benchmark: {error}") from None
    return machine, tuple(outcome for outcome in read if outcome)


def _outcome(case: Case | None, data: dict[str, Any]) -> Outcome | None:
    then = data["problem"], data["reference"]
    if case is None or (case.problem.to_json(), case.reference) != then:
        return None
    return Outcome(
        case,
        from_wire(Side, data["ours"]) if data["ours"] else None,
        str(data["config"]),
        from_wire(tuple[Side, ...], data["others"]),
        tuple((str(label), str(why)) for label, why in data["skipped"].items()),
        int(data["rounds"]),
        str(data["kernel"]),
        tuple((str(config), float(us)) for config, us in data.get("screened", {}).items()),
    )


def target(case: Case) -> float | None:
    row = next(row for row in ROWS if row.name == case.row)
    return case.target or row.each


def as_markdown(machine: Machine, date: str, outcomes: Sequence[Outcome]) -> str:
    """A table of rows, then one of cases."""
    lines = [
        f"{machine.gpu}, driver {machine.driver}, CUDA {machine.cuda}, PyTorch {machine.torch}, "
        f"Triton {machine.triton}, {date}. Speed-up: the fastest of those it is against, over the kernel; "
        "medians of interleaved rounds. Limit: what docs/performance.md counts. Errors are relative, against float64.",
        "",
        "| | against | cases | geometric mean | least | wanted | missed |",
        "|---|---|---|---|---|---|---|",
    ]
    for s in standings(outcomes):
        missed = f"{len(s.missed)}: {', '.join(s.missed)}" if s.missed else "–"
        lines.append(
            f"| {s.row.what} | {s.row.against} | {s.count} | {s.mean:.2f} | {s.worst:.2f} "
            f"| {_wanted(s.row, outcomes)} | {missed} |"
        )
    lines += [
        "",
        "| case | µs | limit, µs | TFLOP/s | error | against | µs | error | speed-up | config | others, µs |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    gpu = gpu_called(machine.gpu)
    lines += [
        _case(outcome, limit_of(outcome.case.problem, gpu) if gpu else None) for outcome in outcomes
    ]
    return "\n".join(lines) + "\n"


def in_one_line(outcome: Outcome) -> str:
    """`gemm-bf16-nn-4096x4096x4096: 183.1 µs, 1.03 x eager`, or why there are no times."""
    name, ours, opponent = outcome.case.name, outcome.ours, outcome.opponent
    if ours is None:
        why = "; ".join(f"{label}: {why}" for label, why in outcome.skipped)
        return f"{name}: not timed: {why or 'for no reason that was found'}"
    ahead = f"{outcome.speedup:.2f} x {opponent.label}" if opponent else "nothing to compare with"
    took = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in outcome.seconds.items())
    return f"{name}: {ours.median_us:.1f} µs, {ahead}" + (f" ({took})" if took else "")


def _wanted(row: Row, outcomes: Sequence[Outcome]) -> str:
    words = [f"mean {row.mean:g}"] if row.mean is not None else []
    words += [f"each {row.each:g}"] if row.each is not None else []
    own = {o.case.target: None for o in outcomes if o.case.row == row.name and o.case.target}
    return ", ".join(words) or " / ".join(f"{value:g}" for value in own)


def _case(outcome: Outcome, limit: Limit | None) -> str:
    skipped = [_cell(f"{label}: {why}") for label, why in outcome.skipped]
    least = f"{limit.us:.1f}" if limit else "–"
    ours, opponent = outcome.ours, outcome.opponent
    if ours is None:
        return f"| {outcome.case.name} | – | {least} | – | – | – | – | – | – | – | {'; '.join(skipped)} |"
    others = [
        f"{side.label} {side.median_us:.1f}" for side in outcome.others if side is not opponent
    ]
    cells = [
        outcome.case.name,
        f"{ours.median_us:.1f}",
        least,
        (
            f"{outcome.tflops:.0f}"
            if outcome.tflops and outcome.tflops >= 10
            else f"{outcome.tflops:.2g}"
        ),
        _error(ours),
        opponent.label if opponent else "–",
        f"{opponent.median_us:.1f}" if opponent else "–",
        _error(opponent) if opponent else "–",
        f"{outcome.speedup:.2f}" if outcome.speedup else "–",
        outcome.config,
        "; ".join([*others, *skipped]),
    ]
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    """Somebody's text, which may hold what ends a cell."""
    return " ".join(text.split()).replace("|", "\\|")


def _error(side: Side) -> str:
    return "–" if side.error is None else f"{side.error:.1e}"
