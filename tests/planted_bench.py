"""A bench with planted answers and a clock of its own: what measuring is tested with where there is no GPU."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from codegen.cases import show
from codegen.evidence import Case, Checkup, Choice, Finding, Machine, Race, Subject
from codegen.verify import Against

MACHINE = Machine("NVIDIA H200", "GPU-fake", (9, 0), 132, 50 << 20, "570.1", "12.8", "2.11", "3.6")

# A subject's config -> microseconds, or why it is wrong.
Speed = Callable[[Subject, Case], float]
Fault = Callable[[Subject, Case, str], str | None]


@dataclass
class PlantedBench:
    """Every subject takes `speed` microseconds, give or take a thousandth, and is wrong where `fault` says."""

    speed: Speed
    fault: Fault = lambda subject, case, promise: None
    launched: Callable[[Subject, Case], bool] = lambda subject, case: True
    refused: str = "its kernel was not launched"  # what is said where `launched` is False
    noise: float = 0.001
    checked: list[tuple[str, tuple[Choice, ...], str]] = field(default_factory=list)
    raced: list[tuple[tuple[str, ...], int]] = field(default_factory=list)
    timed: list[tuple[Subject, Case]] = field(default_factory=list)
    seconds: float = 0.0  # on the GPU, by the fake clock

    def __post_init__(self) -> None:
        self._random = random.Random(0)

    def machine(self) -> Machine:
        return MACHINE

    def check(
        self,
        subjects: Sequence[Subject],
        cases: Sequence[Case],
        against: Against,
        promise: str,
        on_done: Callable[[int, Checkup], None] | None = None,
    ) -> list[Checkup]:
        checkups = []
        for place, subject in enumerate(subjects):
            self.checked.append((subject.label, subject.choices, promise))
            findings = []
            for case in cases:
                fault = self.fault(subject, case, promise)
                error = 0.5 if fault else 1e-7
                refused = None if self.launched(subject, case) else self.refused
                findings.append(Finding(show(case), error, error, 1e-7, 1e-6, fault, refused))
            first = next((finding.fault for finding in findings if finding.fault), None)
            checkups.append(Checkup(subject.label, tuple(findings), True, first))
            if on_done:
                on_done(place, checkups[-1])
        return checkups

    def race(
        self,
        subjects: Sequence[Subject],
        case: Case,
        rounds: int,
        against: Against,
        promise: str,
        on_round: Callable[[int], None] | None = None,
    ) -> Race:
        self.raced.append((tuple(subject.label for subject in subjects), rounds))
        self.timed += [(subject, case) for subject in subjects]
        rows = []
        for number in range(rounds):
            drift = self._random.gauss(1, self.noise)  # what a round's subjects share
            row = [
                self.speed(subject, case) * drift * self._random.gauss(1, self.noise)
                for subject in subjects
            ]
            self.seconds += sum(row) / 1e6
            rows.append(tuple(row))
            if on_round:
                on_round(number + 1)
        return Race(tuple(subject.label for subject in subjects), tuple(rows), "events")

    def close(self) -> None:
        pass
