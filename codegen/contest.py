"""The steps that measure a file: which of its configs are right, and which of them is fastest.

What a file's speed means: the speed of its fastest config that is right, forced, for each given set of inputs. A
wrong config's speed counts for nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from codegen.cases import show
from codegen.evidence import Case, Checkup, Choice, Subject
from codegen.judge import fault_of, untried
from codegen.measure import Bench
from codegen.toolchain import LiveSite, Progress
from codegen.verify import Against

# Successive halving: rounds of each heat, and how many subjects go on into the next. The spread of one
# kernel's medians is 0.35 % (H200), so what is worth choosing between gets the rounds.
HEATS = ((5, 12), (15, 6), (40, 1))


@dataclass(frozen=True)
class Terms:
    """What is right, and how products are meant to be computed, one of `precision.PROMISES`."""

    against: Against
    promise: str


@dataclass(frozen=True)
class Entry:
    """One config of one kernel of a file."""

    label: str  # unique in a run
    site: int  # of the kernel, among the file's
    choice: Choice


@dataclass(frozen=True)
class Standing:
    """How an entry did: right or not, and its time for each given set of inputs, where it was timed."""

    entry: Entry
    checkup: Checkup
    times_us: tuple[float | None, ...] = ()

    @property
    def right(self) -> bool:
        return fault_of(self.checkup) is None


def entries_of(name: str, sites: Sequence[LiveSite]) -> list[Entry]:
    """Every config of the file as it stands: `candidate #2`, with the kernel's name where there are several."""
    return [entry for place in range(len(sites)) for entry in entries_at(name, place, sites)]


def entries_at(name: str, place: int, sites: Sequence[LiveSite]) -> list[Entry]:
    """Those of one kernel."""
    site = sites[place]
    return [
        Entry(
            label(name, site, sites, number),
            place,
            Choice(site.kernel, site.line, number, config.warps or 0, config.stages or 0),
        )
        for number, config in enumerate(site.configs)
    ]


def label(name: str, site: LiveSite, sites: Sequence[LiveSite], number: int) -> str:
    if len(sites) == 1:
        return f"{name} #{number}"
    namesakes = sum(other.kernel == site.kernel for other in sites)
    kernel = f"{site.kernel}:{site.line}" if namesakes > 1 else site.kernel
    return f"{name} {kernel} #{number}"


def subject(path: Path, entry: Entry, beside: Mapping[int, Entry], name: str = "") -> Subject:
    """The file with this config forced, and its other kernels at the configs given for them."""
    others = [other.choice for site, other in sorted(beside.items()) if site != entry.site]
    return Subject(name or entry.label, path, (entry.choice, *others))


def check(
    bench: Bench,
    path: Path,
    entries: Sequence[Entry],
    cases: Sequence[Case],
    terms: Terms,
    on_done: Callable[[int], None] | None = None,
) -> list[Standing]:
    """Every entry on every case, each beside the first entry of the file's other kernels.

    Raises BadInput when the reference fails on given inputs.
    """
    first = first_of(entries)
    standings: list[Standing] = []
    for entry in entries:
        standings.append(check_one(bench, path, entry, first, cases, terms))
        if on_done:
            on_done(len(standings))
    return _again_beside_right_ones(bench, path, standings, first, cases, terms)


def check_one(
    bench: Bench,
    path: Path,
    entry: Entry,
    beside: Mapping[int, Entry],
    cases: Sequence[Case],
    terms: Terms,
) -> Standing:
    one = subject(path, entry, beside)
    (checkup,) = bench.check([one], cases, terms.against, terms.promise)
    return Standing(entry, checkup)


def _again_beside_right_ones(
    bench: Bench,
    path: Path,
    standings: list[Standing],
    first: Mapping[int, Entry],
    cases: Sequence[Case],
    terms: Terms,
) -> list[Standing]:
    """In a file with several kernels, a wrong first config of one makes every config of the others look wrong."""
    right = first_right(standings)
    moved = {site for site, entry in right.items() if entry != first.get(site)}
    return [
        (
            check_one(bench, path, each.entry, {**first, **right}, cases, terms)
            if not each.right and moved - {each.entry.site}
            else each
        )
        for each in standings
    ]


def first_right(standings: Sequence[Standing]) -> dict[int, Entry]:
    """Of each kernel the first config that is right; kernels that have none are left out."""
    shown = [each.entry for each in standings if each.right and not untried(each.checkup)]
    return first_of(shown)


def first_of(entries: Sequence[Entry]) -> dict[int, Entry]:
    """Of each kernel the first entry."""
    found: dict[int, Entry] = {}
    for entry in entries:
        found.setdefault(entry.site, entry)
    return found


def time_all(
    bench: Bench,
    path: Path,
    standings: Sequence[Standing],
    cases: Sequence[Case],
    terms: Terms,
    progress: Progress,
) -> list[Standing]:
    """The standings with the times of those that are right, kernel by kernel, for each case.

    The median of the last heat an entry took part in. None: not timed, as its kernel is not launched on that case,
    or as it is wrong, or out of the race for a reason that its checkup then names.
    """
    beside = first_right(standings)
    timed = list(standings)
    rounds = sum(rounds for rounds, _ in HEATS) * len(cases) * len(beside)
    done = 0
    for case in cases:
        times: dict[str, float] = {}
        failures: dict[str, str] = {}
        for site in beside:
            running = [
                subject(path, each.entry, beside)
                for each in timed
                if each.right and each.entry.site == site and _is_launched(each, case)
            ]
            in_heats, fell_out, done = _heats(bench, running, case, terms, progress, done, rounds)
            times |= in_heats
            failures |= fell_out
        timed = [_with_time(each, times, failures) for each in timed]
    return timed


def _is_launched(each: Standing, case: Case) -> bool:
    """Whether the case launches its kernel, as far as its checkup tells."""
    found = [finding for finding in each.checkup.findings if finding.case == show(case)]
    return not any(finding.refused for finding in found)


def _with_time(each: Standing, times: Mapping[str, float], failures: Mapping[str, str]) -> Standing:
    name = each.entry.label
    if name in failures:
        reason = f"could not be timed: {failures[name]}"
        each = replace(each, checkup=replace(each.checkup, fault=reason))
    return replace(each, times_us=(*each.times_us, times.get(name)))


def _heats(
    bench: Bench,
    subjects: Sequence[Subject],
    case: Case,
    terms: Terms,
    progress: Progress,
    done: int,
    total: int,
) -> tuple[dict[str, float], dict[str, str], int]:
    times: dict[str, float] = {}
    failures: dict[str, str] = {}
    left = list(subjects)
    for rounds, go_on in HEATS:
        if left:
            start = done
            race = bench.race(
                left,
                case,
                rounds,
                terms.against,
                terms.promise,
                lambda n, start=start: progress("timing", start + n, total),  # type: ignore[misc]
            )
            failures |= dict(race.failures)
            for name in race.labels:
                times[name] = statistics.median(race.samples_us(name))
            ranked = sorted(race.labels, key=lambda name: (times[name], name))
            left = [each for each in left if each.label in ranked[:go_on]]
        done += rounds
        progress("timing", done, total)
    return times, failures, done


def fastest(standings: Sequence[Standing], case: int) -> dict[int, Entry]:
    """Of each kernel the fastest right config for one set of inputs."""
    best: dict[int, tuple[float, Entry]] = {}
    for each in standings:
        time = each.times_us[case] if case < len(each.times_us) else None
        if each.right and time is not None:
            site = each.entry.site
            best[site] = min(best.get(site, (time, each.entry)), (time, each.entry), key=_time)
    return {site: entry for site, (_, entry) in best.items()}


def _time(pair: tuple[float, Entry]) -> float:
    return pair[0]
