"""Subjects timed side by side on the GPU of this process. Child processes only.

Each round times every subject once, in a random order. Before every timed call the inputs, in one of several
copies, get values they never had (so that a kept result is a wrong result), the L2 cache is overwritten, and
the GPU is kept busy until the call is queued, so that the time is the GPU's and not Python's. Calls too short
for events are captured in a CUDA graph, each on inputs of its own, and timed together.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from codegen.failure import explain
from codegen.patched import Watch
from codegen.reference import Outputs

GRAPH_BELOW_US = 50.0  # events resolve about half a microsecond
_COPIES = 3  # of the inputs, timed in turn
_GRAPH_US = 500.0  # that the calls of one graph should take together
_GRAPH_CALLS = (4, 64)
_FLUSH_BYTES = 256 << 20
_WARM_CALLS = 3
_CLOCKS_EVERY_SECONDS = 0.25

Context = Callable[[], contextlib.AbstractContextManager[Any]]


@dataclass
class Racer:
    """A subject ready to be timed."""

    label: str
    run: Callable[[list[Any]], Outputs]
    context: Context  # to be entered around calls: forces its configs
    us: float = 0.0  # a call, roughly
    host_seconds: float = 0.0  # that queueing a call takes
    graph: torch.cuda.CUDAGraph | None = None
    captured: list[Outputs] = field(default_factory=list)  # of each call in the graph


class Course:
    """The inputs that all racers run on: copies that get fresh values."""

    def __init__(self, base: Sequence[Any], seed: int) -> None:
        self._base = list(base)
        self.copies: list[list[Any]] = []
        self._random = random.Random(seed)
        self._turn = 0
        self._busy = torch.empty(
            max(_FLUSH_BYTES, 2 * torch.cuda.get_device_properties().L2_cache_size),
            dtype=torch.uint8,
            device="cuda",
        )
        self._cycles_per_second = 2e9  # of the GPU's clock, at most
        self.grow(_COPIES)

    def grow(self, count: int) -> None:
        while len(self.copies) < count:
            self.copies.append(
                [
                    value.clone() if isinstance(value, torch.Tensor) else value
                    for value in self._base
                ]
            )

    def fits(self) -> int:
        """How many copies an eighth of the free memory holds, and two at the least."""
        size = sum(value.nbytes for value in self._base if isinstance(value, torch.Tensor))
        free: int = torch.cuda.mem_get_info()[0]
        return int(max(2, free // 8 // max(1, size)))

    def next(self) -> list[Any]:
        self._turn = (self._turn + 1) % _COPIES
        self.refresh(self.copies[self._turn])
        return self.copies[self._turn]

    def refresh(self, copy: list[Any]) -> None:
        """The base values times a random number between 1/2 and 2: zeros and symmetry stay."""
        factor = 2 ** self._random.uniform(-1, 1)
        for own, value in zip(copy, self._base, strict=True):
            if not isinstance(value, torch.Tensor):
                continue
            if value.is_floating_point() and value.itemsize > 1:
                torch.mul(value, factor, out=own)
            else:
                own.copy_(value)

    def shuffled(self, racers: Sequence[Racer]) -> list[Racer]:
        return self._random.sample(list(racers), len(racers))

    def pick(self, count: int) -> int:
        return self._random.randrange(count)

    def hold(self, seconds: float) -> None:
        """Keeps the GPU busy while the host queues what follows."""
        torch.cuda._sleep(int(min(seconds, 0.02) * self._cycles_per_second))

    def flush(self) -> None:
        """Overwrites the L2 cache."""
        self._busy.zero_()


def warm(racer: Racer, course: Course) -> None:
    """Calls it until it is compiled and warm, and finds out roughly how long a call takes."""
    times = []
    with racer.context():
        for _ in range(_WARM_CALLS):
            racer.run(course.next())
        torch.cuda.synchronize()
        for _ in range(_WARM_CALLS):
            start, end = _events()
            course.hold(0.005)
            inputs = course.next()
            course.flush()
            begun = time.perf_counter()
            start.record()
            racer.run(inputs)
            end.record()
            racer.host_seconds = time.perf_counter() - begun
            end.synchronize()
            times.append(start.elapsed_time(end) * 1000)
    racer.us = sorted(times)[len(times) // 2]


def capture(racers: Sequence[Racer], course: Course, is_file: Callable[[str], bool]) -> str:
    """Captures graphs where the calls are too short for events. `graph` or `events`: how they are timed.

    All are timed the same way. A file that cannot be captured leaves everybody to events; a baseline that cannot
    is left without a graph.
    """
    if min(racer.us for racer in racers) >= GRAPH_BELOW_US:
        return "events"
    wanted = _GRAPH_US / max(min(racer.us for racer in racers), 1.0)
    calls = int(min(max(wanted, _GRAPH_CALLS[0]), _GRAPH_CALLS[1], course.fits()))
    course.grow(calls)
    for racer in racers:
        if racer.graph is not None and len(racer.captured) == calls:
            continue
        try:
            _capture(racer, course.copies[:calls])
        except (
            Exception
        ) as error:  # foreign code: whatever it raises means that it cannot be captured
            explain(error, None)
            racer.graph = None
            torch.cuda.synchronize()
            if is_file(racer.label):
                return "events"
    return "graph"


def _capture(racer: Racer, copies: Sequence[list[Any]]) -> None:
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with racer.context():
        with torch.cuda.stream(side):
            # Each once before: what keeps results has them by now, and launches nothing to capture.
            for copy in copies:
                racer.run(copy)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = [racer.run(copy) for copy in copies]
    racer.graph, racer.captured = graph, captured


def race(
    racers: Sequence[Racer],
    course: Course,
    rounds: int,
    method: str,
    tell: Callable[[dict[str, Any]], None],
    read_clocks: Callable[[], dict[str, Any] | None],
    right: Callable[[list[Any], Outputs], str | None],
) -> dict[str, str]:
    """Tells of every round as it is done; answers which racers' timed calls gave wrong results (label -> why), and
    tells of those before the round that they showed in.

    `right` says what is wrong with outputs for inputs; it is asked about each racer's last timed call, and about a
    tenth of all, at random: who counts calls must not know which are looked at.
    """
    looked_at = {rounds - 1, *random.SystemRandom().sample(range(rounds), -(-rounds // 10))}
    timed = _time_graph if method == "graph" else _time_call
    last_read = 0.0
    watch = Watch()
    failures: dict[str, str] = {}
    for place in range(rounds):
        if time.monotonic() - last_read >= _CLOCKS_EVERY_SECONDS or place == rounds - 1:
            if clocks := read_clocks():
                tell({"clocks": clocks})
            last_read = time.monotonic()
        row = {}
        for racer in course.shuffled(racers):
            tell({"turn": racer.label, "step": "run"})
            with racer.context():
                us, inputs, outputs = timed(racer, course)
            row[racer.label] = us
            if place in looked_at:
                watch.check()
                if fault := right(inputs, outputs):
                    failures.setdefault(racer.label, f"its timed call is not right: {fault}")
                    tell({"failed": failures})
            del outputs
        tell({"row": row})
    return failures


def _time_call(racer: Racer, course: Course) -> tuple[float, list[Any], Outputs]:
    """The time in microseconds, the inputs, and the outputs as they were when the clock stopped.

    The GPU is held before the inputs get their values: what another stream reads meanwhile are old ones.
    """
    start, end = _events()
    course.hold(1e-4 + 2 * racer.host_seconds)
    inputs = course.next()
    course.flush()
    start.record()
    outputs = racer.run(inputs)
    end.record()
    outputs = [out.clone() for out in outputs]  # in stream order: work elsewhere is not done yet
    end.synchronize()
    return start.elapsed_time(end) * 1000, inputs, outputs


def _time_graph(racer: Racer, course: Course) -> tuple[float, list[Any], Outputs]:
    assert racer.graph is not None, "captured"
    calls = len(racer.captured)
    for copy in course.copies[:calls]:
        course.refresh(copy)
    start, end = _events()
    course.flush()
    course.hold(1e-4)
    start.record()
    racer.graph.replay()
    end.record()
    end.synchronize()
    place = course.pick(calls)
    return start.elapsed_time(end) * 1000 / calls, course.copies[place], racer.captured[place]


def _events() -> tuple[torch.cuda.Event, torch.cuda.Event]:
    return torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
