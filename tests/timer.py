"""A timer that invents its samples: planted times under the noise that GPUs show, the same for the same seed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from codegen.evidence import Race


class Timer:
    """Races of subjects whose true times are known, in microseconds.

    All subjects of a round share the clock: it wanders, and now and then drops for a while as under a power cap.
    Each has noise of its own besides, which neighbouring rounds share in part, and spikes upwards. `apart` is
    how far two copies of one kernel differ for good, as a share (one standard deviation).
    """

    def __init__(self, times_us: Mapping[str, float], seed: int, apart: float = 0.0005) -> None:
        self._noise = np.random.default_rng(seed)
        self._labels = tuple(times_us)
        self._true = np.array(list(times_us.values())) * np.exp(
            self._noise.normal(0, apart, len(times_us))
        )
        self._wander = np.zeros(1 + len(times_us))

    def race(self, rounds: int) -> Race:
        """The next rounds; a second call goes on where the first ended."""
        count = len(self._labels)
        own = self._noise.normal(0, 0.004, (rounds, count))
        slow = np.empty((rounds, 1 + count))
        scale = np.array([0.004] + [0.001] * count)  # of each step; what is shared moves more
        for i in range(rounds):
            self._wander = 0.9 * self._wander + self._noise.normal(0, scale)
            slow[i] = self._wander
        capped = np.repeat(self._noise.random(rounds // 10 + 1) < 0.1, 10)[:rounds, None] * 0.12
        spikes = (self._noise.random((rounds, count)) < 0.02) * self._noise.exponential(
            0.5, (rounds, count)
        )
        times = self._true * np.exp(own + slow[:, 1:] + slow[:, :1] + capped + spikes)
        quantum = 0.032  # events count in steps
        rows = np.maximum(np.round(times / quantum), 1) * quantum
        return Race(self._labels, tuple(tuple(map(float, row)) for row in rows), "events")
