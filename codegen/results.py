"""What `codegen bench` knows so far, and the files that say it: whole after every case."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from codegen import picture, scoreboard
from codegen.benchmark import Case, cases
from codegen.evidence import Machine
from codegen.outcome import BadInput
from codegen.scoreboard import Outcome
from codegen.write import write_whole

STDOUT = "-"


@dataclass(frozen=True)
class Files:
    """Where results go; None: nowhere."""

    json: str | None = None  # `-`: nowhere until the end
    markdown: str | None = None
    svg: str | None = None


class Results:
    """The outcomes on one machine, by case. A JSON file that is there is added to."""

    def __init__(self, machine: Machine, files: Files) -> None:
        """Raises BadInput where the JSON file that is there is another machine's, or no benchmark."""
        self._machine, self._files = machine, files
        self._outcomes: dict[str, Outcome] = {}
        path = files.json
        if path in (None, STDOUT) or not Path(path).is_file() or not Path(path).stat().st_size:
            return
        try:
            then, outcomes = scoreboard.read_json(json.loads(Path(path).read_bytes()))
        except (OSError, ValueError) as error:
            raise BadInput(f"--json: {path}: can't be added to: {error}") from None
        # The same GPU may be another one of its kind.
        if replace(then, uuid="") != replace(machine, uuid=""):
            raise BadInput(
                f"--json: {path}: holds figures of {then.gpu}, driver {then.driver}, CUDA {then.cuda}, "
                f"PyTorch {then.torch}, Triton {then.triton}, which is not what is here: name another file"
            )
        self._outcomes = {outcome.case.name: outcome for outcome in outcomes}

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """In the table's order."""
        return tuple(self._outcomes[c.name] for c in cases() if c.name in self._outcomes)

    def left(
        self, wanted: Sequence[Case], rounds: int, fingerprint: Callable[[Case], str]
    ) -> list[Case]:
        """Those that are not timed yet, or in fewer rounds, or with a kernel that is no longer rendered so."""
        return [case for case in wanted if not self._stands(case, rounds, fingerprint)]

    def _stands(self, case: Case, rounds: int, fingerprint: Callable[[Case], str]) -> bool:
        outcome = self._outcomes.get(case.name)
        return (
            outcome is not None
            and outcome.speedup is not None
            and outcome.rounds >= rounds
            and outcome.kernel == fingerprint(case)
        )

    def add(self, outcome: Outcome) -> None:
        """Takes an outcome, and writes the files anew."""
        self._outcomes[outcome.case.name] = outcome
        self.write()

    def write(self) -> None:
        files, outcomes, date = self._files, self.outcomes, datetime.date.today().isoformat()
        if files.json and files.json != STDOUT:
            write_whole(Path(files.json), self.json().encode())
        if files.markdown:
            write_whole(Path(files.markdown), self.markdown().encode())
        if files.svg:
            write_whole(Path(files.svg), picture.draw(self._machine, date, outcomes).encode())

    def json(self) -> str:
        date = datetime.date.today().isoformat()
        return json.dumps(scoreboard.as_json(self._machine, date, self.outcomes), indent=1) + "\n"

    def markdown(self) -> str:
        date = datetime.date.today().isoformat()
        return scoreboard.as_markdown(self._machine, date, self.outcomes)

    def met(self, wanted: Sequence[Case]) -> bool:
        """Whether all of these were timed, and none of them, nor the mean of their rows, misses its target."""
        names = {case.name for case in wanted}
        outcomes = [outcome for outcome in self.outcomes if outcome.case.name in names]
        missed = any(standing.missed for standing in scoreboard.standings(outcomes))
        return not missed and all(outcome.speedup is not None for outcome in outcomes)
