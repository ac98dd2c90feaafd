"""Which timed calls are looked at, and what comes of one that is wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from codegen import timing
from codegen.outcome import BadInput
from codegen.timing import Racer

COURSE = SimpleNamespace(shuffled=list)


def run(
    monkeypatch: pytest.MonkeyPatch,
    racers: list[Racer],
    rounds: int,
    tell: Callable[[dict[str, Any]], None] = lambda _: None,
) -> dict[str, str]:
    """A race on no GPU: a racer's own `run` says what its call returns."""

    def call(racer: Racer, course: object) -> tuple[float, list[object], list[torch.Tensor]]:
        return 1.0, [], racer.run([])

    monkeypatch.setattr(timing, "_time_call", call)

    def right(_inputs: list[object], outputs: list[torch.Tensor]) -> str | None:
        return None if bool(outputs[0]) else "an earlier result"

    return timing.race(racers, COURSE, rounds, "events", tell, lambda: None, right)


def racer(label: str, is_right: object) -> Racer:
    calls = iter(range(1000))
    return Racer(label, lambda _: [torch.tensor(is_right(next(calls)))], contextlib.nullcontext)


def test_who_is_right_only_in_the_last_round_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    cheat = racer("cheat", lambda call: call == 49)
    assert run(monkeypatch, [racer("honest", lambda call: True), cheat], 50) == {
        "cheat": "its timed call is not right: an earlier result"
    }


def test_who_is_wrong_is_told_before_the_round_it_showed_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is told counts, though the process should die before it answers."""
    told: list[dict[str, Any]] = []
    failures = run(monkeypatch, [racer("cheat", lambda call: call != 2)], 3, told.append)
    assert failures == {"cheat": "its timed call is not right: an earlier result"}
    kinds = [next(iter(each)) for each in told if "turn" not in each]
    assert kinds == ["row", "row", "failed", "row"]
    assert told[-2] == {"failed": failures}


def test_which_rounds_are_looked_at_cannot_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong in half of the rounds, always the same: 1 race of 32 would miss it, and not the same each time."""
    found = [bool(run(monkeypatch, [racer("cheat", lambda call: call % 2)], 50)) for _ in range(40)]
    assert sum(found) > 25


def test_a_clock_that_is_replaced_while_it_is_timed_is_put_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    was = torch.cuda.Event.elapsed_time

    def replace(_call: int) -> bool:
        torch.cuda.Event.elapsed_time = lambda *_: 0.001
        return True

    with pytest.raises(BadInput, match=r"replaces torch\.cuda\.streams\.Event\.elapsed_time"):
        run(monkeypatch, [racer("cheat", replace)], 50)
    assert torch.cuda.Event.elapsed_time is was
