"""The rule that accepts or refuses, and the statistics under it. Pure: findings and samples in, a verdict out.

The samples come from a race: every round times every subject once, in a random order. What one round's
subjects share (the clock, the temperature, a neighbour's load) cancels in the ratio of two of its times, so
everything here rests on log(original / candidate), round by round:

- The ratio is the median over the rounds: spikes do not move it.
- Its interval is a rank interval (the sign test's, `scipy.stats.quantile_test`), which asks nothing of the
  distribution. Neighbouring rounds may resemble each other, so the ranks are not those of rounds but those of the
  medians of 25 stretches of consecutive rounds.
- A race is looked at after 50, 100, 200, 400 and 800 rounds and ends as soon as it is decided. The error of one
  part in a thousand is split evenly over these looks (Bonferroni), so looking often does not buy a verdict.
- More rounds narrow the interval without end, but not what differs between two copies of one kernel: where their
  memory and code happen to lie. So the interval is widened at both ends by the resolution: 0.3 %, or twice
  the difference seen between two subjects of the same code in the same race (the control), if that is more.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from codegen.evidence import Checkup, Finding, Interval, Race, Verdict
from codegen.outcome import PRUNED

MARGIN = 0.01  # of speed: what a candidate may lose and still be accepted
CONFIDENCE = 0.999  # of a verdict, over all looks: of 1000 comparisons of equals one may err
LOOKS = (50, 100, 200, 400, 800)  # rounds after which a race is looked at; the last ends it
RESOLUTION = 0.003  # one kernel timed ten times over on an H200 spread over 0.35 %
_STRETCHES = 25
_CONTROL_FACTOR = 2  # one control is one draw of what may differ


@dataclass(frozen=True)
class Pairing:
    """Which subjects of a race are compared, by label."""

    original: str
    candidate: str
    control: str | None = None  # the original's code once more, as a subject of its own
    binding: bool = True  # False: the candidate does not replace it, and may be slower


def judge(
    checkups: Sequence[Checkup],
    race: Race | None = None,
    pairing: Pairing | None = None,
    margin: float = MARGIN,
    among: int = 1,
) -> Verdict:
    """Accepted: right everywhere, and the interval on original/candidate lies above 1 - margin.

    `checkups` holds every config of the candidate. Without a pairing there is nothing to compare with, and
    being right is enough; so it is with one that does not bind, which only says how fast the candidate is. But what
    was timed must have been right while it was timed. A finding counts as wrong when it names a fault, and also when its error is not within
    its bound. `among` is how many verdicts are reached side by side (one for each set of inputs); they
    share the allowance for error.
    """
    if all(map(untried, checkups)):
        return Verdict(False, False, "nothing was checked")
    wrong = [(checkup.label, why) for checkup in checkups if (why := fault_of(checkup))]
    if wrong:
        label, why = wrong[0]
        more = f" ({len(wrong)} of {len(checkups)} configs are wrong)" if len(wrong) > 1 else ""
        return Verdict(False, False, f"{label}: {why}{more}")
    unsteady = [checkup.label for checkup in checkups if checkup.repeatable is False]
    note = f"; the bits of {', '.join(unsteady)} differ from run to run" if unsteady else ""
    if pairing is None:
        return Verdict(True, False, f"right, and compared with nothing{note}")
    untimed = _untimed(race, pairing)
    if race is None or untimed:
        ours = race is None or _why_untimed(race, pairing.candidate)
        if pairing.binding or ours:
            return Verdict(False, False, untimed or "right, not measured")
        return Verdict(True, False, f"right, and compared with nothing: {untimed}{note}")
    interval = speedup(race, pairing, among=among)
    if interval is None:
        return Verdict(False, False, f"{len(race.rounds_us)} rounds are too few for a verdict")
    reason = _compared(interval, margin, len(race.rounds_us), pairing)
    accepted = interval.low > 1 - margin or not pairing.binding
    return Verdict(
        accepted,
        accepted and interval.low > 1,
        reason + note if accepted else reason,
        interval,
        slower=interval.high < 1,
    )


def judge_all(verdicts: Sequence[Verdict]) -> Verdict:
    """One verdict of those for several sets of inputs.

    Accepted when all are; faster when one is and none is slower. The speedup shown is that of the verdict
    that decides: the first refused, else the fastest.
    """
    for verdict in verdicts:
        if not verdict.accepted:
            return verdict
    best = max(verdicts, key=lambda verdict: verdict.speedup.estimate if verdict.speedup else 0.0)
    slower = any(verdict.slower for verdict in verdicts)
    faster = not slower and any(verdict.faster for verdict in verdicts)
    return replace(best, faster=faster, slower=slower)


def fault_of(checkup: Checkup) -> str | None:
    """Why a checkup does not show its subject to be right; None where it does, or where it is `untried`."""
    if checkup.fault:
        return checkup.fault
    looked_at = [finding for finding in checkup.findings if finding.refused is None]
    if not looked_at:
        return None if untried(checkup) else "was not checked on any inputs"
    return next((why for finding in looked_at if (why := _wrong(finding))), None)


def untried(checkup: Checkup) -> bool:
    """Whether Triton launches the config on none of the inputs, as its file prunes it there: nothing is known of it."""
    refusals = [finding.refused for finding in checkup.findings]
    return checkup.fault is None and PRUNED in refusals and None not in refusals


def worst_of(checkup: Checkup) -> Finding | None:
    """The finding that comes nearest to its bound, or exceeds it most; None where nothing was looked at."""
    looked_at = [finding for finding in checkup.findings if finding.refused is None]
    return max(looked_at, key=_excess, default=None)


def _excess(finding: Finding) -> float:
    ratio = finding.relative_error / (finding.bound or 1e-300)
    return math.inf if math.isnan(ratio) else ratio


def _wrong(finding: Finding) -> str | None:
    if finding.fault:
        return f"{finding.fault} on {finding.case}"
    error, bound = finding.relative_error, finding.bound
    if 1 <= bound < math.inf:
        return (
            f"nothing can be told on {finding.case}: PyTorch's own result is {finding.library_error:.1e} off what "
            "float64 gives, so the reference is not one function"
        )
    if not error <= bound:  # NaN is not
        return f"error {error:.1e} against a bound of {bound:.1e} on {finding.case}"
    return None


def speedup(
    race: Race,
    pairing: Pairing,
    confidence: float = CONFIDENCE,
    looks: int = len(LOOKS),
    among: int = 1,
) -> Interval | None:
    """How many times faster the candidate is than the original; None where the rounds are too few.

    The interval holds the true ratio with `confidence`, at every one of `looks` looks of `among` races
    together, and is widened by the resolution.
    """
    share = 1 - (1 - confidence) / (looks * among)
    ratios = _log_ratios(race, pairing.original, pairing.candidate)
    interval = _of_median(ratios, share)
    if interval is None:
        return None
    low, estimate, high = interval
    widened = resolution(race, pairing)
    return Interval(
        math.exp(low - widened),
        math.exp(estimate),
        math.exp(high + widened),
        confidence,
        widened,
    )


def resolution(race: Race, pairing: Pairing) -> float:
    """The difference, as a share of a time, that says nothing about two kernels."""
    if pairing.control is None or _why_untimed(race, pairing.control):
        return RESOLUTION
    apart = statistics.median(_log_ratios(race, pairing.original, pairing.control))
    return max(RESOLUTION, _CONTROL_FACTOR * abs(apart))


def typical_us(race: Race, label: str, confidence: float = 0.99) -> Interval | None:
    """The median time of a call in microseconds, for a reader: verdicts rest on ratios within a round."""
    interval = _of_median(race.samples_us(label), confidence)
    return Interval(*interval, confidence) if interval else None


def more_rounds(race: Race | None, pairing: Pairing, margin: float = MARGIN, among: int = 1) -> int:
    """How many rounds to time before looking again; 0: it is decided, or there is nothing more to learn."""
    done = len(race.rounds_us) if race else 0
    if race and done >= LOOKS[0] and decided(race, pairing, margin, among):
        return 0
    return next((look - done for look in LOOKS if look > done), 0)


def decided(race: Race, pairing: Pairing, margin: float = MARGIN, among: int = 1) -> bool:
    """Whether more rounds would not change the verdict: faster, slower, or equal as far as can be resolved."""
    if _untimed(race, pairing):
        return True
    interval = speedup(race, pairing, among=among)
    if interval is None:
        return False
    if interval.low > 1 or interval.high < 1 - margin:
        return True
    # Accepted; faster is out of reach once the interval lies below the resolution before it is widened.
    faster_yet = math.log(interval.high) > 2 * interval.widened
    return interval.low > 1 - margin and not faster_yet


def join(first: Race, second: Race) -> Race:
    """Two stretches of the same race, one after the other; who failed in either has failed."""
    if (first.labels, first.method) != (second.labels, second.method):
        raise ValueError("races of other subjects, or timed in another way, cannot be joined")
    return replace(
        first,
        rounds_us=first.rounds_us + second.rounds_us,
        clocks=first.clocks + second.clocks,
        failures=first.failures
        + tuple(failure for failure in second.failures if failure not in first.failures),
    )


def _untimed(race: Race | None, pairing: Pairing) -> str | None:
    """Why the two were not timed side by side; None when they were."""
    if race is None:
        return "right, not measured"
    return _why_untimed(race, pairing.candidate) or _why_untimed(race, pairing.original)


def _why_untimed(race: Race, label: str) -> str | None:
    failures = dict(race.failures)
    if label in failures:
        return f"{label} could not be timed: {failures[label]}"
    if label not in race.labels:
        return f"{label} was not timed"
    if not all(0 < sample < math.inf for sample in race.samples_us(label)):
        return f"{label} has samples that are no times"
    return None


def _compared(interval: Interval, margin: float, rounds: int, pairing: Pairing) -> str:
    """The comparison in words: `1.81 times the original's speed (1.79 to 1.83)`."""
    whose = "the original's" if pairing.binding else f"{pairing.original}'s"
    figures = (
        f"{interval.estimate:.3f} times {whose} speed "
        f"({interval.low:.3f} to {interval.high:.3f}, {rounds} rounds)"
    )
    if not pairing.binding:
        return f"right, {figures}"
    if interval.low > 1:
        return f"right and faster: {figures}"
    if interval.low > 1 - margin:
        slower = "slower within the margin" if interval.high < 1 else "as fast as the original"
        return f"right and {slower}: {figures}"
    if interval.high < 1 - margin:
        return f"slower than the margin of {margin:.1%} allows: {figures}"
    if interval.widened > max(margin, RESOLUTION):
        apart = f"the same code timed twice differs by {interval.widened / _CONTROL_FACTOR:.2%}"
        return f"not shown to be fast enough, {apart}: {figures}"
    return f"not shown to be within {margin:.1%} of the original: {figures}"


def _log_ratios(race: Race, over: str, under: str) -> list[float]:
    pairs = zip(race.samples_us(over), race.samples_us(under), strict=True)
    return [math.log(a / b) for a, b in pairs]


def _of_median(values: Sequence[float], confidence: float) -> tuple[float, float, float] | None:
    """(low, median, high) over the medians of stretches; None where no ranks give that confidence."""
    from scipy.stats import (
        quantile_test,
    )  # here: half a second that `codegen --help` need not wait for

    if not values:
        return None
    stretches = min(_STRETCHES, len(values))
    ends = [len(values) * end // stretches for end in range(stretches + 1)]
    medians = [statistics.median(values[start:end]) for start, end in itertools.pairwise(ends)]
    found = quantile_test(medians, p=0.5).confidence_interval(confidence)
    if math.isnan(found.low) or math.isnan(found.high):
        return None
    middle = statistics.median(values)
    return min(float(found.low), middle), middle, max(float(found.high), middle)
