"""Which of the timed configs to write: those that cover the given inputs best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

Times = Sequence[float | None]  # for each given set of inputs; None: not timed


def winners(times: Mapping[int, Times]) -> list[int]:
    """The fastest for each given set of inputs, in their order, each once."""
    sets = max(map(len, times.values()), default=0)
    found: list[int] = []
    for case in range(sets):
        timed = {
            key: time
            for key, row in times.items()
            if (time := row[case] if case < len(row) else None) is not None
        }
        if timed:
            best = min(timed, key=lambda key: (timed[key], key))
            if best not in found:
                found.append(best)
    return found


def cover(times: Mapping[int, Times], originals: Sequence[int], limit: int) -> list[int]:
    """At most `limit` of the timed: the winners, then the originals, then the others, each by speed.

    Speed over several sets of inputs is the geometric mean of the times over the best time of each set.
    """
    first = winners(times)
    ranked = sorted(times, key=lambda key: (_behind(times[key], times), key))
    kept = [key for key in ranked if key in originals and key not in first]
    others = [key for key in ranked if key not in originals and key not in first]
    return [*first, *kept, *others][:limit]


def _behind(row: Times, times: Mapping[int, Times]) -> float:
    """Mean log of a row's times over the best; infinite where it was not timed."""
    best = [
        min((time for time in column if time is not None), default=None)
        for column in zip(*times.values(), strict=True)
    ]
    if any(time is None for time in row):
        return math.inf
    ratios = [math.log(a / b) for a, b in zip(row, best, strict=True) if a and b]
    return sum(ratios) / len(ratios) if ratios else math.inf
