"""A benchmark as a picture: bars of speed-ups, and where the kernels stand under the roofline. SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from codegen.benchmark import ROWS, Row
from codegen.evidence import Machine
from codegen.gpu import gpu_called
from codegen.problem import Problem
from codegen.scoreboard import Outcome, target

_WIDTH, _LEFT, _RIGHT = 960, 270, 120
_CLOSE = 60  # to the right of a bar, where its figure goes: a mark there pushes it on
_MANY = 15  # cases of a row; beyond, those that differ in sizes share a bar
_BAR, _GAP, _HEAD = 12, 5, 26
_ROOF_HEIGHT = 420
_STYLE = """
text { font: 11px system-ui, sans-serif; fill: #222 } .head { font-size: 13px; font-weight: 600 }
.ours { fill: #2563eb } .short { fill: #d97706 } .line { stroke: #999; fill: none } .mark { stroke: #222; stroke-width: 2 }
.faint { stroke: #ddd; fill: none } .ground { fill: #fff }
@media (prefers-color-scheme: dark) {
text { fill: #ddd } .ground { fill: #16181d } .faint { stroke: #333 } .line { stroke: #777 }
.mark { stroke: #eee } .ours { fill: #60a5fa } .short { fill: #fbbf24 } }
""".strip()


def draw(machine: Machine, date: str, outcomes: Sequence[Outcome]) -> str:
    """One self-contained SVG; speed-ups and both axes of the roofline are logarithmic."""
    bars, height = _bars(outcomes)
    roof = list(_roofline(machine, outcomes, height + 40))
    whole = height + 40 + (_ROOF_HEIGHT + 50 if roof else 0)
    title = f"{machine.gpu}, PyTorch {machine.torch}, Triton {machine.triton}, {date}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {whole}" role="img">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style>",
            f'<rect class="ground" width="{_WIDTH}" height="{whole}"/>',
            *bars,
            *roof,
            _text(
                10,
                whole - 10,
                f"{title}. Upright marks: what is wanted; orange: something is under it.",
            ),
            "</svg>\n",
        ]
    )


@dataclass(frozen=True)
class _Entry:
    """A bar: one case, or several that differ in their sizes alone, as the geometric mean and the range."""

    label: str
    speedups: tuple[float, ...]
    wanted: float | None

    @property
    def mean(self) -> float:
        return math.exp(math.fsum(map(math.log, self.speedups)) / len(self.speedups))

    @property
    def told(self) -> str:
        if not self.speedups:
            return "not timed"
        if len(self.speedups) == 1:
            return f"{self.mean:.2f}"
        return f"{self.mean:.2f} ({min(self.speedups):.2f} to {max(self.speedups):.2f})"


def _entries(row: Row, outcomes: Sequence[Outcome]) -> list[_Entry]:
    """Of a row of many cases one for each name without its sizes."""
    of_row = [outcome for outcome in outcomes if outcome.case.row == row.name]
    together: dict[str, list[Outcome]] = {}
    for outcome in of_row:
        name = outcome.case.name
        together.setdefault(name.rpartition("-")[0] if len(of_row) > _MANY else name, []).append(
            outcome
        )
    return [
        _Entry(label, tuple(o.speedup for o in several if o.speedup), target(several[0].case))
        for label, several in together.items()
    ]


def _bars(outcomes: Sequence[Outcome]) -> tuple[list[str], float]:
    """Bars grouped by row, with a mark at their targets; and where they end."""
    speedups = [outcome.speedup for outcome in outcomes if outcome.speedup]
    low = min([0.5, *speedups])
    high = max([2.0, *speedups, *(target(o.case) or 0 for o in outcomes)]) * 1.05
    wide = _WIDTH - _LEFT - _RIGHT

    def x(value: float) -> float:
        return _LEFT + wide * math.log(value / low) / math.log(high / low)

    lines: list[str] = []
    y = 20.0
    for row in ROWS:
        entries = _entries(row, outcomes)
        if not entries:
            continue
        lines.append(_text(10, y + 10, f"{row.what}: times as fast as {row.against}", "head"))
        y += _HEAD
        for entry in entries:
            lines.append(_text(_LEFT - 6, y + 10, entry.label, anchor="end"))
            ends = [x(1.0)]
            if entry.speedups:
                kind = "ours" if min(entry.speedups) >= (entry.wanted or 1.0) else "short"
                begin, end = sorted((x(1.0), x(entry.mean)))
                lines.append(_bar(begin, y, end - begin, kind))
                middle = y + _BAR / 2
                ends += [x(max(entry.speedups)), end]
                if len(entry.speedups) > 1:
                    lines.append(_line(x(min(entry.speedups)), middle, ends[1], middle, "mark"))
            if entry.wanted:
                at = x(entry.wanted)
                lines.append(_line(at, y - 1, at, y + _BAR + 1, "mark"))
                ends += [at] if at < max(ends) + _CLOSE else []
            lines.append(_text(max(ends) + 6, y + 10, entry.told))
            y += _BAR + _GAP
        y += 8
    lines.insert(0, _line(x(1.0), 20, x(1.0), y, "line"))
    return lines, y


def _roofline(machine: Machine, outcomes: Sequence[Outcome], top: float) -> Iterator[str]:
    """Operations a second over operations a byte, both as the problem counts them: each operand read once."""
    gpu = gpu_called(machine.gpu)
    points = [
        (o.case.problem.flops() / max(o.case.problem.bytes_moved(), 1), o.tflops, o)
        for o in outcomes
        if o.tflops
    ]
    if gpu is None or not points or not gpu.memory_bandwidth_gbs:
        return
    bandwidth = gpu.memory_bandwidth_gbs / 1e3  # TB/s
    peaks = {name: gpu.peak_tflops(name) for name in ("fp32", "tf32", "bf16", "fp8")}
    rates = [rate for rate in peaks.values() if rate]
    left, right = min(p[0] for p in points) / 2, max(p[0] for p in points) * 2
    floor, ceiling = min(p[1] for p in points if p[1]) / 2, max(rates) * 1.5
    wide, high = _WIDTH - 140, _ROOF_HEIGHT

    def x(value: float) -> float:
        return 60 + wide * math.log(value / left) / math.log(right / left)

    def y(value: float) -> float:
        return top + high * (1 - math.log(value / floor) / math.log(ceiling / floor))

    yield _text(10, top - 8, "TFLOP/s over FLOP per byte of operands and result", "head")
    for name, rate in peaks.items():
        if rate is None:
            continue
        ridge = min(max(rate / bandwidth, left), right)
        yield _line(x(ridge), y(rate), x(right), y(rate), "line")
        yield _text(x(right) + 4, y(rate) + 4, f"{name} {rate:g}")
    slope = (max(left, floor / bandwidth), max(rates) / bandwidth)
    yield _line(x(slope[0]), y(slope[0] * bandwidth), x(slope[1]), y(slope[1] * bandwidth), "line")
    yield _text(x(slope[0]) + 8, y(slope[0] * bandwidth) - 6, f"{gpu.memory_bandwidth_gbs:g} GB/s")
    for intensity, rate, outcome in points:
        assert rate is not None
        name = escape(f"{outcome.case.name}: {rate:.0f} TFLOP/s, {_unit(outcome.case.problem)}")
        yield (
            f'<circle class="ours" cx="{x(intensity):.1f}" cy="{y(rate):.1f}" r="4" '
            f'fill-opacity="0.7"><title>{name}</title></circle>'
        )


def _unit(problem: Problem) -> str:
    return problem.precision or problem.dtype


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _bar(x: float, y: float, width: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{_BAR}"/>'
