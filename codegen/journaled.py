"""A bench that remembers: what the journal knows it answers from there, and asks another bench for the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from codegen.evidence import Case, Checkup, Machine, Race, Subject
from codegen.failure import of_the_moment
from codegen.fingerprint import source_hash
from codegen.journal import Journal, job_key
from codegen.measure import Bench, OnChecked, OnRound
from codegen.verify import Against
from codegen.wire import from_wire, to_wire

METHOD = 7  # raise it when checking or timing changes in what it finds: old answers no longer count


T = TypeVar("T", Checkup, Race)


class Journaled:
    """A Bench over another one. Every answer is in the journal before it is handed on.

    Subjects are checked one at a time, so that a kill loses the one in flight and no other. A race is one answer:
    its subjects were timed side by side. The second race of one run with the same subjects and inputs goes on
    where the first ended, so it is another job than the first. An answer with a fault of the moment (memory that
    another process had, a child that was killed) is asked again, and replaced.
    """

    def __init__(self, bench: Bench, journal: Journal, method: int = METHOD) -> None:
        self._bench, self._journal, self._method = bench, journal, method
        self._machine: Machine | None = None
        self._races: Counter[str] = Counter()  # by job: how many rounds this run has had
        self.known = self.asked = 0  # answers from the journal, and from the bench

    def machine(self) -> Machine:
        if self._machine is None:
            self._machine = self._bench.machine()
        return self._machine

    def check(
        self,
        subjects: Sequence[Subject],
        cases: Sequence[Case],
        against: Against,
        promise: str,
        on_done: OnChecked | None = None,
    ) -> list[Checkup]:
        terms = self._terms(against, promise)
        checkups = []
        for index, subject in enumerate(subjects):
            job = {
                "do": "check",
                "subject": _identity(subject),
                "cases": to_wire(cases),
                **terms,
            }
            checkup = self._remembered(Checkup, job)
            if checkup is None:
                (checkup,) = self._bench.check([subject], cases, against, promise)
                self._journal.put(job, to_wire(checkup))
            checkups.append(replace(checkup, label=subject.label))
            if on_done:
                on_done(index, checkups[-1])
        return checkups

    def race(
        self,
        subjects: Sequence[Subject],
        case: Case,
        rounds: int,
        against: Against,
        promise: str,
        on_round: OnRound | None = None,
    ) -> Race:
        job: dict[str, Any] = {
            "do": "race",
            "subjects": [{"label": each.label, **_identity(each)} for each in subjects],
            "case": to_wire(case),
            **self._terms(against, promise),
        }
        same = job_key(job)
        job |= {"after": self._races[same], "rounds": rounds}
        self._races[same] += rounds
        race = self._remembered(Race, job)
        if race is None:
            race = self._bench.race(subjects, case, rounds, against, promise, on_round)
            self._journal.put(job, to_wire(race))
        elif on_round:
            on_round(len(race.rounds_us))
        return race

    def close(self) -> None:
        """Closes the bench; the journal is its owner's."""
        self._bench.close()

    def _terms(self, against: Against, promise: str) -> dict[str, Any]:
        return {
            "machine": to_wire(self.machine()),
            "method": self._method,
            "problem": source_hash(against.problem) if against.problem else None,
            "reference": against.reference,
            "promise": promise,
        }

    def _remembered(self, kind: type[T], job: dict[str, Any]) -> T | None:
        answer = self._journal.get(job)
        if answer is not None:
            try:
                found = from_wire(kind, answer)
            except ValueError:  # of another version: asked anew, and replaced
                answer = None
            else:
                answer = None if any(map(of_the_moment, _faults(found))) else answer
        if answer is None:
            self.asked += 1
            return None
        self.known += 1
        return found


def _faults(answer: Checkup | Race) -> list[str]:
    """Every reason there is for something not being right, looked at or timed."""
    if isinstance(answer, Race):
        return [why for _, why in answer.failures]
    found = [why for each in answer.findings for why in (each.fault, each.refused)]
    return [why for why in (answer.fault, *found) if why]


def _identity(subject: Subject) -> dict[str, Any]:
    """What a subject's results depend on; its label is only a name, and its place in the file system none."""
    return {
        "source": source_hash(subject.path) if subject.path else None,
        "choices": to_wire(subject.choices),
        "baseline": subject.baseline,
    }
