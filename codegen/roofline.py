"""The roofline picture as numbers to draw: where lines, dots and their labels go.

Both axes are logarithmic. All dots of one problem have its intensity, so they stand above one another; their labels
stand beside them, pushed apart so that none covers another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# In units of the picture, which is scaled to the width it gets: a phone shows it at about its own size.
WIDTH, HEIGHT = 420.0, 400.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 12.0, 14.0, 40.0
_DOTS_AT = 0.42  # of the plot's width: what is left of them is for the slope, and right for labels
_LINE = 15.0  # height of a label
_LABEL = 24  # letters that there is room for


@dataclass(frozen=True)
class Dot:
    """One subject."""

    label: str
    kind: str  # candidate, original, baseline
    tflops: float
    compared: bool = False


@dataclass(frozen=True)
class Placed:
    dot: Dot
    x: float
    y: float
    label_x: float
    label_y: float
    text: str


@dataclass(frozen=True)
class Line:
    x1: float
    y1: float
    x2: float
    y2: float
    text: str
    text_x: float
    text_y: float
    anchor: str = "start"  # of the text


@dataclass(frozen=True)
class Tick:
    at: float
    text: str


@dataclass(frozen=True)
class Roofline:
    """What the template draws."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    lines: tuple[Line, ...]  # the slope of the memory, the ceilings of the arithmetic
    dots: tuple[Placed, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    summary: str  # for who cannot see it


def roofline(
    intensity: float,
    dots: Sequence[Dot],
    ceilings: Sequence[tuple[str, float]],
    bandwidth_gbs: float | None,
) -> Roofline:
    """`intensity` in FLOP a byte, ceilings as (unit, TFLOP/s). What is not known is not drawn."""
    rates = [dot.tflops for dot in dots] + [rate for _, rate in ceilings]
    low, high = math.floor(math.log10(min(rates) / 1.3)), math.log10(max(rates) * 1.6)
    left, right = _LEFT, WIDTH - _RIGHT
    top, bottom = _TOP, HEIGHT - _BOTTOM
    # As many decades a length across as up would make the picture flat; two to each side of the dots do.
    x_low = math.log10(intensity) - 4 * _DOTS_AT
    x_high = x_low + 4

    def x(flop_a_byte: float) -> float:
        return left + (math.log10(flop_a_byte) - x_low) / (x_high - x_low) * (right - left)

    def y(tflops: float) -> float:
        return bottom - (math.log10(tflops) - low) / (high - low) * (bottom - top)

    lines = []
    bend = 10**x_low
    highest = max((rate for _, rate in ceilings), default=10**high)
    if bandwidth_gbs:
        bend = max(10**x_low, 10**low / bandwidth_gbs * 1000)
        end = min(10**x_high, highest / bandwidth_gbs * 1000)
        if bend < end:
            x1, y1 = x(bend), y(bend * bandwidth_gbs / 1000)
            x2, y2 = x(end), y(end * bandwidth_gbs / 1000)
            lines.append(Line(x1, y1, x2, y2, f"memory {bandwidth_gbs:g} GB/s", x1 + 8, bottom - 6))
    for unit, rate in ceilings:
        start = max(bend, rate / bandwidth_gbs * 1000) if bandwidth_gbs else 10**x_low
        if start < 10**x_high:
            lines.append(
                Line(
                    x(max(start, 10**x_low)),
                    y(rate),
                    right,
                    y(rate),
                    f"{unit} {rate:g}",
                    right,
                    y(rate) - 4,
                    "end",
                )
            )
    return Roofline(
        WIDTH,
        HEIGHT,
        left,
        right,
        top,
        bottom,
        tuple(lines),
        _placed(dots, x(intensity), y, (top, bottom)),
        _ticks(x_low, x_high, x),
        _ticks(low, high, y, (1, 2, 5)),
        "; ".join(f"{dot.label} {three_digits(dot.tflops)} TFLOP/s" for dot in dots),
    )


def _placed(
    dots: Sequence[Dot], x: float, y: Callable[[float], float], span: tuple[float, float]
) -> tuple[Placed, ...]:
    ordered = sorted(dots, key=lambda dot: -dot.tflops)
    wanted = [y(dot.tflops) for dot in ordered]
    return tuple(
        Placed(dot, x, at, x + 34, label + 4, f"{_short(dot.label)}  {three_digits(dot.tflops)}")
        for dot, at, label in zip(ordered, wanted, spread(wanted, *span, _LINE), strict=True)
    )


def three_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _short(label: str) -> str:
    """Its end says which config it is, its beginning whose."""
    kept = _LABEL // 2
    return label if len(label) <= _LABEL else f"{label[:kept].rstrip()}…{label[-kept:].lstrip()}"


def spread(wanted: Sequence[float], first: float, last: float, gap: float) -> list[float]:
    """Places near those wanted (ascending), at least `gap` apart, between `first` and `last`.

    Where they do not all fit they are closer, evenly.
    """
    count = len(wanted)
    if count > 1:
        gap = min(gap, (last - first) / (count - 1))
    places: list[float] = []
    for at in wanted:
        places.append(max(at, places[-1] + gap if places else first))
    limit = last
    for index in range(count - 1, -1, -1):
        places[index] = min(places[index], limit)
        limit = places[index] - gap
    return places


def _ticks(
    low: float, high: float, at: Callable[[float], float], steps: Sequence[int] = (1,)
) -> tuple[Tick, ...]:
    """At those multiples of the powers of ten between 10**low and 10**high."""
    powers = range(math.floor(low), math.floor(high) + 1)
    values = [step * 10.0**power for power in powers for step in steps]
    inside = [value for value in values if low - 1e-9 <= math.log10(value) <= high + 1e-9]
    return tuple(Tick(at(value), f"{value:g}") for value in inside)
