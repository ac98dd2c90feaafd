"""A bench with planted answers, no GPU and no clock; run as a program, a sweep that can be killed anywhere."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from codegen.evidence import Case, Checkup, Choice, Clocks, Finding, Machine, Race, Subject
from codegen.inputs import TensorSpec
from codegen.journal import Journal
from codegen.journaled import Journaled
from codegen.verify import Against
from codegen.wire import to_wire

MACHINE = Machine(
    "NVIDIA H200", "GPU-0badcafe", (9, 0), 132, 62914560, "570.86.15", "12.8", "2.11.0", "3.6.0"
)
CASES = (
    Case((TensorSpec("float32", (549, 549)),), 1, "ragged", ((4096, 549),)),
    Case((TensorSpec("float32", (4096, 4096), "tril"), 0.5, None), 0, "given"),
)
AGAINST = Against(reference="torch.tril(A @ A)")


@dataclass
class FakeBench:
    """Answers from a subject's label alone; every question that reaches it is counted, and may take a while."""

    machine_is: Machine = MACHINE
    on_ask: Callable[[str], None] = lambda asked: None
    asked: list[str] = field(default_factory=list)
    rounds: Counter[tuple[str, ...]] = field(default_factory=Counter)  # had by each race so far
    closed: bool = False

    def machine(self) -> Machine:
        return self.machine_is

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
            self._ask(f"check {subject.label}")
            checkups.append(Checkup(subject.label, tuple(map(_finding, cases)), repeatable=True))
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
        labels = tuple(subject.label for subject in subjects)
        start = self.rounds[labels]
        self._ask(f"race {', '.join(labels)} after {start}")
        rows = []
        for place in range(start, start + rounds):
            rows.append(tuple(100.0 + len(label) + place / 8 for label in labels))
            if on_round:
                on_round(len(rows))
        self.rounds[labels] += rounds
        clocks = Clocks(1980, 3201, 412.5, 51, ("sw_power_cap",))
        return Race(labels, tuple(rows), "events", (clocks,), (("max-autotune", "hangs"),))

    def close(self) -> None:
        self.closed = True

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        self.on_ask(what)


def _finding(case: Case) -> Finding:
    return Finding(f"{case.purpose}, seed {case.seed}", float("nan"), 2e-6, None, 3e-6, "a race")


def subjects_of(path: Path, count: int) -> list[Subject]:
    """A file's configs, each a subject."""
    return [
        Subject(f"candidate #{place}", path, (Choice("kernel", 7, place, 4, 3),))
        for place in range(count)
    ]


def sweep(folder: Path, count: int, seconds: float) -> None:
    """Checks and races every config of `folder`/kernel.py; every question asked is a line of `asked`."""

    def slowly(asked: str) -> None:
        with (folder / "asked").open("a") as log:
            log.write(f"{asked}\n")
        time.sleep(seconds)

    subjects = subjects_of(folder / "kernel.py", count)
    with Journal(folder / "journal.sqlite") as journal:
        bench = Journaled(FakeBench(on_ask=slowly), journal)
        print("started", flush=True)
        checkups = bench.check(subjects, CASES, AGAINST, "ieee")
        races = [bench.race([each], CASES[1], 5, AGAINST, "ieee") for each in subjects]
    result = json.dumps(to_wire([checkups, [race.rounds_us[0] for race in races]]))
    (folder / "result.json").write_text(result)


if __name__ == "__main__":
    sweep(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
