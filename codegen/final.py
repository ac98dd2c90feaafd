"""The last race: one file's fastest configs beside another's and the library, for the judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from codegen.contest import Entry, Terms
from codegen.evidence import Case, Race, Subject
from codegen.judge import Pairing, join, more_rounds
from codegen.measure import Bench

CONTROL = "original again"
LIBRARY = Subject("eager", baseline="eager")


@dataclass(frozen=True)
class Side:
    """One of two files in the last race: its fastest configs."""

    path: Path
    best: Mapping[int, Entry]

    def subject(self, name: str) -> Subject:
        return Subject(name, self.path, tuple(entry.choice for entry in self.best.values()))

    @property
    def label(self) -> str:
        return ", ".join(entry.label for entry in self.best.values())


def last_race(
    bench: Bench,
    candidate: Side,
    original: Side | None,
    baselines: Sequence[Subject],
    case: Case,
    terms: Terms,
    margin: float,
    among: int,
    show: Callable[[int], None],
) -> tuple[Race, Pairing | None]:
    """The two files' best side by side with the baselines, until the judge has seen enough.

    The original runs twice under two names: the difference between the two says what a race can resolve. Without
    an original the candidate is compared with the library, which binds nobody.
    """
    pairing = Pairing(original.label, candidate.label, CONTROL) if original else None
    if original is None and LIBRARY in baselines:
        pairing = Pairing(LIBRARY.label, candidate.label, binding=False)
    subjects = [candidate.subject(candidate.label), *baselines]
    if original:
        subjects[1:1] = [original.subject(original.label), original.subject(CONTROL)]
    race: Race | None = None
    while rounds := _rounds(race, pairing, margin, among):
        done = len(race.rounds_us) if race else 0
        more = bench.race(
            subjects,
            case,
            rounds,
            terms.against,
            terms.promise,
            lambda n, done=done: show(done + n),  # type: ignore[misc]
        )
        # Who was too fast for events may have fallen out, or a warm start taken the time for another.
        if race is None:
            race = more
        elif race.method != more.method:
            race = replace(more, failures=(*race.failures, *more.failures))
        else:
            race = join(_only(race, more.labels), _only(more, race.labels))
        if not more.rounds_us:  # nobody is left to be timed
            break
        subjects = [each for each in subjects if each.label in race.labels]
    assert race is not None, "there is always a first look"
    return race, pairing


def _rounds(race: Race | None, pairing: Pairing | None, margin: float, among: int) -> int:
    if pairing is None:  # nothing to decide: a first look's worth, for the times
        return 0 if race else more_rounds(None, Pairing("", ""))
    return more_rounds(race, pairing, margin, among)


def _only(race: Race, labels: Sequence[str]) -> Race:
    """The race without the columns of those that fell out in its other stretch."""
    kept = [place for place, name in enumerate(race.labels) if name in labels]
    return replace(
        race,
        labels=tuple(race.labels[place] for place in kept),
        rounds_us=tuple(tuple(row[place] for place in kept) for row in race.rounds_us),
    )
