"""Progress where there is no terminal: a line now and then, in a log that a person reads afterwards."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from codegen import present


@pytest.fixture
def log() -> io.StringIO:
    return io.StringIO()


def lines_once_there(log: io.StringIO, count: int) -> list[str]:
    """What was said, once there are so many lines; whatever there is after ten seconds."""
    end = time.monotonic() + 10
    while log.getvalue().count("\n") < count and time.monotonic() < end:
        time.sleep(0.01)
    return log.getvalue().splitlines()


def test_what_takes_long_is_named_while_it_is_under_way(log, monkeypatch):
    monkeypatch.setattr(present, "LINE_SECONDS", 0.02)
    with present.progress(Console(file=log)) as show:
        show("importing", 0, 1)
        assert lines_once_there(log, 1) == ["codegen: importing"]
        show("checking candidate", 3, 12)
        assert lines_once_there(log, 2)[1:] == ["codegen: checking candidate: 3 of 12"]
        time.sleep(0.1)  # nothing new, so nothing is said
    assert len(log.getvalue().splitlines()) == 2


def test_it_goes_by_the_clock_and_not_by_the_steps(log, monkeypatch):
    monkeypatch.setattr(present, "LINE_SECONDS", 0.1)
    begun = time.monotonic()
    with present.progress(Console(file=log)) as show:
        for done in range(300):
            show("timing", done, 300)
            time.sleep(0.001)
    assert 1 <= log.getvalue().count("\n") <= (time.monotonic() - begun) / 0.1


def test_what_is_done_at_once_says_nothing(log):
    with present.progress(Console(file=log)) as show:
        show("checking candidate", 12, 12)
    assert log.getvalue() == ""


def test_a_terminal_has_a_bar_and_no_lines(log, monkeypatch):
    monkeypatch.setattr(present, "LINE_SECONDS", 0.01)
    terminal = Console(file=log, force_terminal=True, width=80)
    with present.progress(terminal) as show:
        show("checking candidate", 3, 12)
        time.sleep(0.3)
    assert "3/12" in log.getvalue()
    assert "codegen:" not in log.getvalue()
