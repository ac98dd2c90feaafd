"""The evidence behind a verdict, kept beside the file: what was checked and timed, where, how, and every sample.

`kernel.evidence.json` holds all of it; the report in HTML is made from it and from nothing else.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from codegen.evidence import Case, Checkup, Choice, Machine, Race, Verdict
from codegen.inputs import describe
from codegen.judge import CONFIDENCE, LOOKS, RESOLUTION, Pairing, worst_of
from codegen.outcome import BadInput, Resources
from codegen.wire import from_wire, to_wire
from codegen.work import Work

FORMAT = 1
SUFFIX = ".evidence.json"
METHOD = (
    "rounds of every subject once, in a random order; the L2 cache flushed before each call, the inputs rotated "
    "through copies; CUDA events, or one CUDA graph of many calls for short ones (each race says which)"
)
STATISTICS = (
    f"median over the rounds of log(original / candidate); rank interval over 25 stretches of rounds (sign test), "
    f"confidence {CONFIDENCE:.1%} over looks after {', '.join(map(str, LOOKS))} rounds (Bonferroni); widened by "
    f"{RESOLUTION:.1%}, or by twice the difference between two subjects of the same code"
)


@dataclass(frozen=True)
class Entry:
    """One config of the candidate or of the original, and all that is known of it."""

    label: str  # as the races and checkups name it: `candidate #2`
    config: str  # for a reader: `BLOCK_M=64, BLOCK_N=128, num_warps=4, num_stages=3`
    choice: Choice
    checkup: Checkup
    resources: Resources | None = None  # None: it does not compile, or is pruned
    blocks_per_sm: int | None = None
    occupancy_percent: float | None = None
    times_us: tuple[float | None, ...] = ()  # for each contest; None: it took part in no race


@dataclass(frozen=True)
class Contest:
    """One given set of inputs: how much work it is, and the race of the best on it."""

    case: Case
    work: Work
    race: Race | None = None
    pairing: Pairing | None = None


@dataclass(frozen=True)
class Source:
    """A file, as it was."""

    name: str
    sha256: str  # of it and of what it imports from its own folder
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Dossier:
    """A verdict and everything it rests on."""

    verdict: Verdict
    date: str  # ISO 8601, UTC
    codegen: str  # version
    candidate: Source
    reference: str  # `float64 A.T @ B.T`
    promise: str  # how products are computed: ieee, tf32, wide
    margin: float
    contests: tuple[Contest, ...]
    gpu: str  # key of a known GPU, or the driver's name: whose limits and peak rates count
    machine: Machine | None = None  # None: not measured
    original: Source | None = None
    diff: str = ""  # unified, of the original and the candidate
    notes: tuple[str, ...] = ()
    method: str = METHOD
    statistics: str = STATISTICS

    def provenance(self) -> dict[str, Any]:
        """Of which file it was found, where, when and how, and the figures, for the record of a rendered file.

        Errors are relative, against the reference, where a config comes nearest to its bound. Times are medians
        in microseconds, of the last race for each set of inputs.
        """
        return {
            "sha256": self.candidate.sha256,
            "date": self.date,
            "codegen": self.codegen,
            "machine": to_wire(self.machine),
            "reference": self.reference,
            "promise": self.promise,
            "configs": [
                {
                    "label": entry.label,
                    "error": to_wire(worst.relative_error) if worst else None,
                    "bound": to_wire(worst.bound) if worst else None,
                    "times_us": list(entry.times_us),
                }
                for entry in self.candidate.entries
                for worst in [worst_of(entry.checkup)]
            ],
            "races": [
                {
                    "inputs": list(describe(contest.case.inputs)),
                    "rounds": len(race.rounds_us),
                    "method": race.method,
                    "times_us": {name: median(race.samples_us(name)) for name in race.labels},
                }
                for contest in self.contests
                if (race := contest.race) and race.rounds_us
            ],
            "method": self.method,
            "statistics": self.statistics,
        }

    def text(self) -> str:
        """The dossier as its file holds it: JSON, a list of plain values on one line."""
        text = json.dumps({"format": FORMAT, **to_wire(self)}, indent=1, allow_nan=False)
        # A line break within brackets is never inside a string: JSON writes those as \n.
        return re.sub(r"\[\n\s*([^\[\]{}]*?)\n\s*\]", _on_one_line, text) + "\n"

    @classmethod
    def read(cls, path: Path) -> Dossier:
        """Raises BadInput, naming the file, where it can't be read or holds no dossier."""
        try:
            data = json.loads(path.read_text("utf-8"))
        except OSError as error:
            raise BadInput(f"{path}: can't be read: {error.strerror}") from None
        except ValueError as error:
            raise BadInput(f"{path}: not JSON: {error}") from None
        if not isinstance(data, dict) or "format" not in data:
            raise BadInput(f"{path}: not the evidence that `codegen accept` keeps")
        if data.pop("format") != FORMAT:
            raise BadInput(f"{path}: of another format than {FORMAT}: accept the file anew")
        try:
            return from_wire(cls, data)
        except ValueError as error:
            raise BadInput(
                f"{path}: not the evidence that `codegen accept` keeps: {error}"
            ) from None


def beside(path: Path) -> Path:
    """Where the dossier of a file belongs: `kernel.evidence.json` for `kernel.py`."""
    return path.with_name(path.stem + SUFFIX)


def _on_one_line(match: re.Match[str]) -> str:
    return "[" + re.sub(r",\n\s*", ", ", match[1]) + "]"
