"""A dossier as one HTML page that needs nothing else: no network, no script, no font.

Everything shown is in the dossier, or among the known GPUs' figures, and is left out where it is not known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from codegen.dossier import Contest, Dossier, Entry
from codegen.evidence import Checkup, Clocks, Interval
from codegen.gpu import GpuSpec, find_gpu, sources
from codegen.inputs import describe
from codegen.judge import fault_of, typical_us, untried, worst_of
from codegen.judge import speedup as ratio_of
from codegen.outcome import PRUNED, BadInput
from codegen.roofline import Dot, Roofline, roofline, three_digits

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class TimeRow:
    """One subject's time on one set of inputs. Lengths are percent of the widest."""

    label: str
    kind: str  # candidate, original, baseline
    time: str  # `1.517 ms`
    interval: str  # `1.514 – 1.521`; empty: it took part in no last race
    ratio: str  # original / this, with its interval
    rate: str  # TFLOP/s, or GB/s where the operations are not known
    bar: float
    low: float | None = None
    high: float | None = None
    compared: bool = False  # one of the two that the verdict compares
    failure: str | None = None


@dataclass(frozen=True)
class ContestView:
    title: str
    rounds: str
    rows: tuple[TimeRow, ...]
    picture: Roofline | None
    no_picture: str  # why there is none
    base: str  # whose time the others are compared with
    clocks: str
    work: tuple[tuple[str, str, str], ...]  # (what, how much, where from)


def page(dossier: Dossier) -> str:
    """The report: the same bytes for the same dossier."""
    gpu = known_gpu(dossier.gpu)
    template = _environment().get_template("page.html.jinja")
    return template.render(
        d=dossier,
        outcome=_outcome(dossier),
        contests=[_contest(dossier, place, gpu) for place in range(len(dossier.contests))],
        files=[source for source in (dossier.candidate, dossier.original) if source],
        peaks=_peaks(dossier, gpu),
        diff=[(_diff_kind(line), line) for line in dossier.diff.splitlines()],
        worst=_worst,
        fault_of=fault_of,
        untried=untried,
        pruned=PRUNED,
        time_of=_time,
        best_times=_best_times(dossier),
    )


def known_gpu(name: str) -> GpuSpec | None:
    """The GPU of that key or name, if its figures are known."""
    try:
        return find_gpu(name)
    except BadInput:
        return None


def _outcome(dossier: Dossier) -> tuple[str, str]:
    """(class, headline)."""
    verdict = dossier.verdict
    if not verdict.accepted:
        return "refused", "Refused"
    if not any(contest.race for contest in dossier.contests):
        return "accepted", "Accepted, not measured"
    if not verdict.faster:
        return "accepted", "Accepted"
    bound = any(contest.pairing and contest.pairing.binding for contest in dossier.contests)
    return "faster", f"Accepted, and faster{'' if bound else ' than eager'}"


def _contest(dossier: Dossier, place: int, gpu: GpuSpec | None) -> ContestView:
    contest = dossier.contests[place]
    rows = _rows(dossier, place)
    work = contest.work
    dots = [
        Dot(_without_kernel(row.label, dossier, place), row.kind, rate, row.compared)
        for row, time in rows
        if time and (rate := work.tflops(time))
    ]
    picture = None
    why = ""
    if work.intensity is None:
        why = f"No roofline: operations {work.flops_from}; bytes: {work.bytes_from}."
    elif not dots:
        why = "No roofline: nothing was timed."
    else:
        peaks = [(unit, gpu.peak_tflops(unit)) for unit in work.units] if gpu else []
        ceilings = tuple((unit, rate) for unit, rate in peaks if rate)
        picture = roofline(
            work.intensity, dots, ceilings, gpu.memory_bandwidth_gbs if gpu else None
        )
    race, pairing = contest.race, contest.pairing
    rounds = (
        f"{len(race.rounds_us)} rounds, {_METHODS.get(race.method, race.method)}" if race else ""
    )
    return ContestView(
        ", ".join(describe(contest.case.inputs)),
        rounds,
        tuple(row for row, _ in rows),
        picture,
        why,
        f"{pairing.original}'s" if pairing and not pairing.binding else "the original's",
        _clocks(race.clocks if race else ()),
        _work(contest),
    )


_METHODS = {"events": "timed with CUDA events", "graph": "timed in CUDA graphs of many calls"}


def _rows(dossier: Dossier, place: int) -> list[tuple[TimeRow, float | None]]:
    """Every subject that was timed on these inputs with its time in microseconds, fastest first."""
    contest = dossier.contests[place]
    times: dict[str, tuple[float, Interval | None]] = {}
    for _, entry in _entries(dossier):
        time = entry.times_us[place] if place < len(entry.times_us) else None
        if time is not None:
            times[entry.label] = (time, None)
    race, pairing = contest.race, contest.pairing
    for label in race.labels if race else ():
        interval = typical_us(race, label) if race else None
        if interval:
            times[label] = (interval.estimate, interval)
    longest = max((known.high if known else time for time, known in times.values()), default=1.0)
    kinds = {entry.label: side for side, entry in _entries(dossier)}
    if pairing and pairing.control:
        kinds[pairing.control] = "original"
    if pairing:  # a file of several kernels races under the labels of several configs
        kinds[pairing.candidate] = "candidate"
        if pairing.binding:
            kinds[pairing.original] = "original"
    rows: list[tuple[TimeRow, float | None]] = []
    for label, (time, known) in sorted(times.items(), key=lambda item: item[1][0]):
        compared = bool(pairing and label in (pairing.original, pairing.candidate))
        row = TimeRow(
            label,
            kinds.get(label, "baseline"),
            _time(time),
            f"{_time(known.low)} – {_time(known.high)}" if known else "",
            _ratio(contest, label),
            _rate(contest, time),
            100 * time / longest,
            100 * known.low / longest if known else None,
            100 * known.high / longest if known else None,
            compared,
        )
        rows.append((row, time))
    failures = race.failures if race else ()
    rows += [
        (TimeRow(label, kinds.get(label, "baseline"), "–", "", "", "", 0.0, failure=why), None)
        for label, why in failures
    ]
    return rows


def _without_kernel(label: str, dossier: Dossier, place: int) -> str:
    """Where these inputs launch one kernel only, its name says nothing."""
    timed = [entry for _, entry in _entries(dossier) if any(entry.times_us[place : place + 1])]
    kernels = {entry.choice.kernel for entry in timed}
    return label.replace(f" {kernels.pop()} ", " ") if len(kernels) == 1 else label


def _entries(dossier: Dossier) -> list[tuple[str, Entry]]:
    found = [("candidate", entry) for entry in dossier.candidate.entries]
    original = dossier.original.entries if dossier.original else ()
    return found + [("original", entry) for entry in original]


def _ratio(contest: Contest, label: str) -> str:
    """How many times the original's speed a subject of the same race has."""
    race, pairing = contest.race, contest.pairing
    if not race or not pairing or label not in race.labels or label == pairing.original:
        return ""
    if pairing.original not in race.labels:
        return ""
    against = replace(pairing, candidate=label)
    if label == pairing.control:
        against = replace(against, control=None)
    interval = ratio_of(race, against)
    return (
        f"{interval.estimate:.3f} × ({interval.low:.3f} – {interval.high:.3f})" if interval else ""
    )


def _rate(contest: Contest, time_us: float) -> str:
    rate = contest.work.tflops(time_us)
    if rate is not None:
        return f"{three_digits(rate)} TFLOP/s"
    rate = contest.work.gbs(time_us)
    return f"{three_digits(rate)} GB/s" if rate is not None else ""


def _work(contest: Contest) -> tuple[tuple[str, str, str], ...]:
    work = contest.work
    rows = [("operations", _scaled(work.flops, "FLOP"), work.flops_from)]
    rows += [("memory", _scaled(work.bytes_moved, "B"), work.bytes_from)]
    if work.intensity is not None:
        rows.append(("intensity", f"{three_digits(work.intensity)} FLOP/B", "one by the other"))
    return tuple(rows)


def _scaled(amount: int | None, unit: str) -> str:
    if amount is None:
        return "–"
    scale, prefix = next(
        (pair for pair in [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")] if amount >= pair[0]),
        (1.0, ""),
    )
    return f"{amount / scale:.4g} {prefix}{unit}"


def _clocks(clocks: Sequence[Clocks]) -> str:
    """`SM 1,980 MHz, memory 3,201 MHz, 412 – 655 W, 51 – 63 °C; throttled: sw_power_cap (3 of 9 readings)`."""
    if not clocks:
        return "Clocks not known"

    def span(values: Sequence[float], unit: str) -> str:
        low, high = f"{min(values):,.0f}", f"{max(values):,.0f}"
        return f"{low} {unit}" if low == high else f"{low} – {high} {unit}"

    reasons: dict[str, int] = {}
    for each in clocks:
        for reason in each.throttled:
            reasons[reason] = reasons.get(reason, 0) + 1
    slowed = ", ".join(f"{reason} ({n} of {len(clocks)} readings)" for reason, n in reasons.items())
    return (
        f"SM {span([each.sm_mhz for each in clocks], 'MHz')}, "
        f"memory {span([each.memory_mhz for each in clocks], 'MHz')}, "
        f"{span([each.watts for each in clocks], 'W')}, "
        f"{span([each.celsius for each in clocks], '°C')}; "
        + (f"throttled: {slowed}" if slowed else "never throttled")
    )


def _peaks(dossier: Dossier, gpu: GpuSpec | None) -> list[tuple[str, str, str]]:
    """(what, how much, source) of the ceilings drawn."""
    if gpu is None:
        return []
    cited = sources(gpu)
    units = dict.fromkeys(unit for each in dossier.contests for unit in each.work.units)
    rows = [
        (f"peak {unit}", f"{rate:g} TFLOP/s", cited.get("tflops", ""))
        for unit in units
        if (rate := gpu.peak_tflops(unit)) is not None
    ]
    if gpu.memory_bandwidth_gbs is not None:
        bandwidth = f"{gpu.memory_bandwidth_gbs:g} GB/s"
        rows.append(("peak memory bandwidth", bandwidth, cited.get("memory_bandwidth_gbs", "")))
    return rows


def _worst(checkup: Checkup) -> tuple[str, str, str]:
    """(error, bound, library's error) where a config comes nearest to its bound, or furthest beyond."""
    worst = worst_of(checkup)
    if worst is None:
        return "–", "–", "–"
    error = worst.relative_error
    library = worst.library_error
    return (
        "NaN" if math.isnan(error) else f"{error:.1e}",
        "–" if math.isnan(worst.bound) else f"{worst.bound:.1e}",
        "–" if library is None or math.isnan(library) else f"{library:.1e}",
    )


def _best_times(dossier: Dossier) -> dict[str, str]:
    """By label, its time on each set of inputs; the last race's where it took part."""
    found: dict[str, list[str]] = {}
    for place in range(len(dossier.contests)):
        for row, time in _rows(dossier, place):
            if time is not None:
                found.setdefault(row.label, []).append(row.time)
    return {label: ", ".join(times) for label, times in found.items()}


def _time(time_us: float) -> str:
    """Four digits, in the unit that suits: `0.8381 ms`, `38.12 µs`."""
    if time_us >= 100:
        return f"{time_us / 1000:#.4g} ms"
    return f"{time_us:#.4g} µs"


def _diff_kind(line: str) -> str:
    if line.startswith(("---", "+++")):
        return "file"
    return {"+": "added", "-": "removed", "@": "place"}.get(line[:1], "same")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    def load(name: str) -> str:
        return (resources.files("codegen") / name).read_text("utf-8")

    made = Environment(
        loader=FunctionLoader(load),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
    )
    made.filters["thousands"] = lambda number: f"{number:,}"
    return made
