"""The judge: who is refused and why, and how often chance fools it under the noise that GPUs show."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from timer import Timer

from codegen.evidence import Checkup, Finding, Interval, Race, Verdict
from codegen.judge import (
    LOOKS,
    RESOLUTION,
    Pairing,
    decided,
    join,
    judge,
    judge_all,
    more_rounds,
    resolution,
    speedup,
    typical_us,
)
from codegen.outcome import PRUNED

FINDING = Finding("float32[549,549], seed 1", 4e-7, 2e-6, 3e-7, 3e-6)
RIGHT = Checkup("candidate #0", (FINDING,), repeatable=True)
PAIRING = Pairing("original #1", "candidate #0", "original #1 again")


def race_of(speed: float, rounds: int = 200, seed: int = 1) -> Race:
    """A candidate `speed` times as fast as the original, timed beside it."""
    times = {"original #1": 300.0, "candidate #0": 300.0 / speed, "original #1 again": 300.0}
    return Timer(times, seed).race(rounds)


def settled(speed: float, seed: int, apart: float = 0.0005) -> tuple[Verdict, int]:
    """The verdict of a race that is timed until it is decided, and the rounds it took."""
    times = {"original #1": 300.0, "candidate #0": 300.0 / speed, "original #1 again": 300.0}
    timer = Timer(times, seed, apart)
    race: Race | None = None
    while rounds := more_rounds(race, PAIRING):
        new = timer.race(rounds)
        race = join(race, new) if race else new
    assert race is not None
    return judge([RIGHT], race, PAIRING), len(race.rounds_us)


def with_fault(fault: str) -> Checkup:
    return replace(RIGHT, fault=fault)


def with_finding(**changes: object) -> Checkup:
    return replace(RIGHT, findings=(FINDING, replace(FINDING, **changes)))  # type: ignore[arg-type]


FAST = 5.0  # times the original's speed: what a wrong kernel may well reach
REFUSED: dict[str, tuple[list[Checkup], str]] = {
    "nothing was checked": ([], "nothing was checked"),
    "a config has a fault of its own": ([with_fault("writes outside its output")], "candidate #0: writes outside its output"),
    "a finding names a fault": ([with_finding(fault="modifies its input")], "modifies its input on float32[549,549], seed 1"),
    "PyTorch's own result is not near": ([with_finding(relative_error=1.0, library_error=1.4, bound=11.2)], "nothing can be told on"),
    "an error is beyond its bound though nobody calls it a fault": ([with_finding(relative_error=4e-6)], "error 4.0e-06 against a bound of 3.0e-06"),
    "an error is NaN": ([with_finding(relative_error=math.nan)], "error nan"),
    "a config was checked on nothing": ([replace(RIGHT, findings=())], "was not checked on any inputs"),
    "it takes none of the inputs": ([replace(RIGHT, findings=(replace(FINDING, relative_error=math.nan, refused="N must be even"),))], "was not checked on any inputs"),
    "every config was pruned by its file": ([replace(RIGHT, findings=(replace(FINDING, refused=PRUNED),))], "nothing was checked"),
    "only the last of several configs is wrong": ([RIGHT, replace(with_fault("a race"), label="candidate #1")], "candidate #1: a race"),
    "the count of wrong configs is said": ([with_fault("a race"), RIGHT, with_fault("hangs")], "a race (2 of 3 configs are wrong)"),
}  # fmt: skip


@pytest.mark.parametrize(("checkups", "reason"), REFUSED.values(), ids=list(REFUSED))
def test_wrong_is_refused_however_fast(checkups: list[Checkup], reason: str) -> None:
    verdict = judge(checkups, race_of(FAST), PAIRING)
    assert (verdict.accepted, verdict.faster, verdict.speedup) == (False, False, None)
    assert reason in verdict.reason


def test_right_and_nothing_to_compare_with() -> None:
    assert judge([RIGHT]) == Verdict(True, False, "right, and compared with nothing")


def test_inputs_that_a_wrapper_refuses_are_not_held_against_it() -> None:
    odd = replace(FINDING, relative_error=math.nan, refused="asserts that N is even")
    assert judge([replace(RIGHT, findings=(odd, FINDING))], race_of(FAST), PAIRING).accepted


def test_a_config_that_its_file_prunes_is_not_held_against_it() -> None:
    never = replace(RIGHT, label="candidate #1", findings=(replace(FINDING, refused=PRUNED),))
    assert judge([RIGHT, never], race_of(FAST), PAIRING).accepted
    assert not judge([RIGHT, replace(never, fault="hangs")], race_of(FAST), PAIRING).accepted


def test_bits_that_differ_from_run_to_run_are_said() -> None:
    verdict = judge([replace(RIGHT, repeatable=False)], race_of(FAST), PAIRING)
    assert verdict.accepted
    assert verdict.reason.endswith("the bits of candidate #0 differ from run to run")


UNTIMED: dict[str, tuple[Callable[[Race], Race | None], str]] = {
    "no race": (lambda race: None, "right, not measured"),
    "the candidate failed while it was timed": (
        lambda race: replace(race, failures=(("candidate #0", "hangs (10 s)"),)),
        "candidate #0 could not be timed: hangs (10 s)",
    ),
    "the original failed while it was timed": (
        lambda race: replace(race, failures=(("original #1", "out of memory"),)),
        "original #1 could not be timed: out of memory",
    ),
    "the candidate was left out": (
        lambda race: replace(race, labels=("original #1", "eager", "original #1 again")),
        "candidate #0 was not timed",
    ),
    "a time is zero": (
        lambda race: replace(race, rounds_us=(*race.rounds_us, (300.0, 0.0, 300.0))),
        "candidate #0 has samples that are no times",
    ),
    "a time is no number": (
        lambda race: replace(race, rounds_us=(*race.rounds_us, (math.nan, 60.0, 300.0))),
        "original #1 has samples that are no times",
    ),
    "too few rounds": (
        lambda race: replace(race, rounds_us=race.rounds_us[:12]),
        "12 rounds are too few for a verdict",
    ),
    "no round": (lambda race: replace(race, rounds_us=()), "0 rounds are too few for a verdict"),
}


@pytest.mark.parametrize(("change", "reason"), UNTIMED.values(), ids=list(UNTIMED))
def test_what_was_not_timed_is_not_accepted(
    change: Callable[[Race], Race | None], reason: str
) -> None:
    verdict = judge([RIGHT], change(race_of(FAST)), PAIRING)
    assert (verdict.accepted, verdict.reason) == (False, reason)


# Of each 50 comparisons of equals 5 % may hold one that errs; of the 500 here half an error is expected at most.
@pytest.mark.parametrize("batch", range(10))
def test_fifty_comparisons_of_a_kernel_with_itself_find_no_difference(batch: int) -> None:
    verdicts = [settled(1.0, seed)[0] for seed in range(50 * batch, 50 * batch + 50)]
    assert [v.reason for v in verdicts if v.faster or v.slower] == []
    assert sum(v.accepted for v in verdicts) >= 49


SPEEDS = {
    "3 % slower is refused": (0.97, False, False, True),
    "1.5 % slower is refused": (0.985, False, False, True),
    "0.2 % slower is accepted, and not called faster": (0.998, True, False, False),
    "2 % faster is seen": (1.02, True, True, False),
    "80 % faster is seen": (1.8, True, True, False),
}


@pytest.mark.parametrize(
    ("speed", "accepted", "faster", "slower"), SPEEDS.values(), ids=list(SPEEDS)
)
def test_speed_is_judged(speed: float, accepted: bool, faster: bool, slower: bool) -> None:
    verdicts = [settled(speed, seed)[0] for seed in range(20)]
    assert {(v.faster, v.slower) for v in verdicts} == {(faster, slower)}
    assert sum(v.accepted is accepted for v in verdicts) >= 19
    assert accepted or not any(v.accepted for v in verdicts)
    inside = [v.speedup for v in verdicts if v.speedup and v.speedup.low <= speed <= v.speedup.high]
    assert len(inside) == 20


def test_the_margin_is_the_one_given() -> None:
    race = race_of(0.97, rounds=400)
    assert not judge([RIGHT], race, PAIRING, margin=0.01).accepted
    assert judge([RIGHT], race, PAIRING, margin=0.05).accepted
    assert not judge([RIGHT], race_of(1.0, 400), PAIRING, margin=0.0).accepted
    assert judge([RIGHT], race_of(1.05, 400), PAIRING, margin=0.0).accepted


def test_it_stops_early_when_it_is_decided() -> None:
    rounds = {speed: settled(speed, seed=3)[1] for speed in (0.97, 1.8)}
    assert rounds == {0.97: LOOKS[0], 1.8: LOOKS[0]}
    # A slowdown just within the margin is decided only by many rounds, if at all.
    assert settled(0.994, seed=3)[1] > LOOKS[0]


def test_it_ends_undecided_after_the_last_look() -> None:
    race = race_of(0.99, rounds=LOOKS[-1])
    assert not decided(race, PAIRING)
    assert more_rounds(race, PAIRING) == 0


def test_a_failure_ends_the_race() -> None:
    race = replace(race_of(1.0, rounds=LOOKS[0]), failures=(("candidate #0", "hangs"),))
    assert more_rounds(race, PAIRING) == 0


def test_rounds_missing_to_the_next_look_are_asked_for() -> None:
    assert more_rounds(None, PAIRING) == LOOKS[0]
    assert more_rounds(race_of(1.0, rounds=7), PAIRING) == LOOKS[0] - 7


def test_what_all_subjects_share_does_not_count() -> None:
    race = race_of(1.02)
    slowing = tuple(
        tuple(sample * (1 + place / 100) for sample in row)
        for place, row in enumerate(race.rounds_us)
    )  # three times slower by the end
    steady, drifting = speedup(race, PAIRING), speedup(replace(race, rounds_us=slowing), PAIRING)
    assert steady is not None
    assert drifting is not None
    assert drifting.low == pytest.approx(steady.low)
    assert drifting.high == pytest.approx(steady.high)


def test_a_control_that_differs_widens_the_interval() -> None:
    times = {"original #1": 300.0, "candidate #0": 297.0, "original #1 again": 304.5}
    race = Timer(times, 1, apart=0).race(400)
    assert resolution(race, PAIRING) == pytest.approx(0.03, abs=0.005)
    verdict = judge([RIGHT], race, PAIRING)
    assert not verdict.faster
    assert "the same code timed twice differs by 1." in verdict.reason
    alone = replace(PAIRING, control=None)
    assert resolution(race, alone) == RESOLUTION
    assert judge([RIGHT], race, alone).faster


def test_a_control_that_failed_says_nothing() -> None:
    race = replace(race_of(1.0), failures=(("original #1 again", "out of memory"),))
    assert resolution(race, PAIRING) == RESOLUTION


def test_verdicts_side_by_side_share_the_allowance_for_error() -> None:
    race = race_of(1.0)
    alone, shared = speedup(race, PAIRING), speedup(race, PAIRING, among=8)
    assert alone is not None
    assert shared is not None
    assert shared.low < alone.low < alone.high < shared.high


def interval(low: float, high: float) -> Interval:
    return Interval(low, (low + high) / 2, high, 0.999)


EQUAL = Verdict(True, False, "equal", interval(0.995, 1.005))
FASTER = Verdict(True, True, "faster", interval(1.1, 1.2))
WITHIN = Verdict(True, False, "a little slower", interval(0.991, 0.998), slower=True)
TOO_SLOW = Verdict(False, False, "slower", interval(0.9, 0.95), slower=True)
TOGETHER = {
    "one refused refuses all": ([FASTER, TOO_SLOW, EQUAL], TOO_SLOW),
    "faster on one and equal on the others is faster": ([EQUAL, FASTER], FASTER),
    "faster on one and slower within the margin on another is neither": (
        [FASTER, WITHIN],
        replace(FASTER, faster=False, slower=True),
    ),
    "equal on all is equal": ([EQUAL, EQUAL], EQUAL),
}


@pytest.mark.parametrize(("verdicts", "together"), TOGETHER.values(), ids=list(TOGETHER))
def test_verdicts_for_several_inputs(verdicts: list[Verdict], together: Verdict) -> None:
    assert judge_all(verdicts) == together


def test_a_typical_time_holds_the_true_one() -> None:
    typical = typical_us(Timer({"eager": 300.0}, seed=1, apart=0).race(400), "eager")
    assert typical is not None
    assert typical.low < typical.estimate < typical.high
    assert typical.estimate == pytest.approx(300, rel=0.05)


def test_races_of_other_subjects_are_not_joined() -> None:
    with pytest.raises(ValueError, match="other subjects"):
        join(race_of(1.0), replace(race_of(1.0), method="graph"))


def test_a_joined_race_keeps_every_round_and_failure() -> None:
    first = replace(race_of(1.0, 3), failures=(("eager", "no memory"),))
    second = replace(race_of(1.0, 2), failures=(("eager", "no memory"), ("compile", "hangs")))
    both = join(first, second)
    assert both.rounds_us == first.rounds_us + second.rounds_us
    assert both.failures == (("eager", "no memory"), ("compile", "hangs"))
