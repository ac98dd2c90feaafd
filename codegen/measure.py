"""Checking and timing on a GPU: what a bench answers, and the one that asks a child process on this machine.

One child per GPU runs all foreign code. A subject that crashes, hangs, runs out of memory or leaves the CUDA
context unusable costs only itself: it gets a fault that says so, and the rest go on in a fresh child.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from codegen.cases import show
from codegen.child import INTERPRETED, MEMORY_LIMIT_BYTES, NO_LIMIT, Child, ChildFailed
from codegen.closing import Closing
from codegen.evidence import Case, Checkup, Clocks, Finding, Launched, Machine, Race, Subject
from codegen.gpu import GpuSpec
from codegen.inputs import TensorSpec, to_wire
from codegen.outcome import PRUNED, BadInput
from codegen.precision import PROMISES
from codegen.verify import Against

# The child names each step it begins. One that is silent for longer is taken for hung.
_STEP_SECONDS = {
    "start": 180.0,  # importing PyTorch, waking a GPU
    "import": 60.0,  # the file's own code
    "reference": 120.0,
    "compile": 180.0,  # one kernel
    "run": 20.0,  # one call of a model
    "interpret": 120.0,  # the same in the interpreter
    "baseline": 600.0,  # torch.compile tries many kernels
}

OnChecked = Callable[[int, Checkup], None]  # the subject's place, the moment it is known
OnRound = Callable[[int], None]  # rounds done so far


class Bench(Protocol):
    """Checks and times subjects: on a GPU here, elsewhere, or (in tests) nowhere."""

    def machine(self) -> Machine:
        """Where it measures."""
        ...

    def check(
        self,
        subjects: Sequence[Subject],
        cases: Sequence[Case],
        against: Against,
        promise: str,
        on_done: OnChecked | None = None,
    ) -> list[Checkup]:
        """Every subject on every case, in the subjects' order.

        `promise` is how products are meant to be computed, one of `precision.PROMISES`; the library's own
        error, from which the bound follows, is taken at that precision:

            bound = 8 × (library's error against float64 + half a unit in the last place of its result)

        The unit is that of the dtype the library gives its result in; with `wide` it gets the inputs as
        float32. Both the relative error ‖out − ref‖ / ‖ref‖ and the largest error over the root mean square of
        ref must be within it.

        Without a reference (`against` is False) nothing is said about values. Raises BadInput when the reference
        fails on a case whose purpose is `given`.
        """
        ...

    def race(
        self,
        subjects: Sequence[Subject],
        case: Case,
        rounds: int,
        against: Against,
        promise: str,
        on_round: OnRound | None = None,
    ) -> Race:
        """`rounds` more rounds of the subjects side by side: raw samples, no judgement.

        Called again with the same subjects and case it goes on with warm ones. A subject that cannot be timed, or
        whose timed calls give wrong results, has no column and stands in `Race.failures`. Baselines run
        `against`: the problem's Model or the reference expression, at the inputs' own dtype and `promise`.
        """
        ...

    def close(self) -> None: ...


class Device(Closing):
    """A Bench on this machine: the GPU with the given number, or Triton's interpreter as a GPU that is absent.

    The interpreter checks with the same code (guard bands, repeated calls, fresh values, special values) and
    cannot race. It ignores num_warps, num_stages and input precision.
    """

    def __init__(self, number: int = 0, *, interpreted: GpuSpec | None = None) -> None:
        self._number, self._interpreted = number, interpreted
        self._child: Child | None = None
        self._turn = ""  # the label of the subject that the child is busy with

    def machine(self) -> Machine:
        """Raises BadInput when there is no such GPU, or PyTorch or Triton here cannot use it."""
        answer = self._ask({"op": "machine"})
        return Machine(**{**answer, "compute_capability": tuple(answer["compute_capability"])})

    def check(
        self,
        subjects: Sequence[Subject],
        cases: Sequence[Case],
        against: Against,
        promise: str,
        on_done: OnChecked | None = None,
    ) -> list[Checkup]:
        checkups: list[Checkup] = []
        for index, subject in enumerate(subjects):
            checkups.append(self._check_one(subject, subjects, cases, against, promise))
            if on_done:
                on_done(index, checkups[-1])
        return checkups

    def _check_one(
        self,
        subject: Subject,
        subjects: Sequence[Subject],
        cases: Sequence[Case],
        against: Against,
        promise: str,
    ) -> Checkup:
        findings: list[Finding] = []
        repeatable: list[bool] = []
        for case in cases:
            terms = _terms(case, against, promise, subjects)
            try:
                answer = self._ask({"op": "check", "subject": _subject(subject), **terms})
            except ChildFailed as failure:
                answer = {"fault": str(failure), "over": True}
            if answer.get("repeatable") is not None:
                repeatable.append(answer["repeatable"])
            findings.append(_finding(case, answer))
            if answer.get("over"):
                break  # the other cases would end the same way
        if "reference" in answer:
            raise BadInput(f"computing {against} on {show(case)}: {answer['reference']}")
        fault = _first_fault(findings)
        return Checkup(
            subject.label, tuple(findings), all(repeatable) if repeatable else None, fault
        )

    def launched(
        self, subject: Subject, case: Case, against: Against | None = None
    ) -> tuple[Launched, ...]:
        """What the driver says of each kernel that a call of the subject launches. Raises BadInput if that fails."""
        terms = _terms(case, against or Against(), "ieee", [subject])
        try:
            answer = self._ask({"op": "launched", "subject": _subject(subject), **terms})
        except ChildFailed as failure:
            raise BadInput(f"{subject.label}: {failure}") from None
        return tuple(Launched(**each) for each in answer)

    def race(
        self,
        subjects: Sequence[Subject],
        case: Case,
        rounds: int,
        against: Against,
        promise: str,
        on_round: OnRound | None = None,
    ) -> Race:
        failures: dict[str, str] = {}
        rows: list[dict[str, float]] = []
        clocks: list[Clocks] = []
        method = "events"

        def take(progress: dict[str, Any]) -> None:
            nonlocal method
            failures.update(progress.get("failed", {}))
            if progress.get("method", method) != method:  # times of both kinds are not compared
                method = progress["method"]
                rows.clear()
                clocks.clear()
            if "clocks" in progress:
                read = progress["clocks"]
                clocks.append(Clocks(**{**read, "throttled": tuple(read["throttled"])}))
            if "row" in progress:
                rows.append(progress["row"])
                if on_round:
                    on_round(len(rows))

        while alive := [subject for subject in subjects if subject.label not in failures]:
            question = {
                "op": "race",
                "subjects": list(map(_subject, alive)),
                "rounds": rounds - len(rows),
                **_terms(case, against, promise, subjects),
            }
            try:
                answer = self._ask(question, take)
            except ChildFailed as failure:
                # Whoever had its turn; what was timed of the others stands, and they go on without it.
                labels = [subject.label for subject in alive]
                for label in [self._turn] if self._turn in labels else labels:
                    failures.setdefault(label, str(failure))
                if len(rows) >= rounds:  # all was timed, and the last calls looked at
                    break
                continue
            method = answer["method"]
            failures |= answer["failures"]
            if len(rows) >= rounds:
                break
        timed = tuple(subject.label for subject in subjects if subject.label not in failures)
        return Race(
            timed,
            tuple(tuple(row[label] for label in timed) for row in rows),
            method,
            tuple(clocks),
            tuple(failures.items()),
        )

    def close(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None

    def _ask(
        self, question: dict[str, Any], take: Callable[[dict[str, Any]], None] | None = None
    ) -> Any:
        def progress(said: dict[str, Any]) -> float | None:
            if "turn" in said:
                self._turn = said["turn"]
            if take:
                take(said)
            return _STEP_SECONDS.get(said.get("step", ""))

        child = self._ready()
        self._turn = ""
        try:
            answer = child.ask(question, seconds=_STEP_SECONDS["import"], on_progress=progress)
        except ChildFailed as failure:
            if failure.died:
                self.close()
            raise
        if isinstance(answer, dict) and answer.get("poisoned"):
            self.close()  # every further CUDA call of that process would fail
        return answer

    def _ready(self) -> Child:
        if self._child is None:
            gpu = self._interpreted
            self._child = Child(
                "measure",
                env={
                    "TRITON_INTERPRET": "0",
                    "TRITON_DISABLE_LINE_INFO": "1",  # so that what was compiled ahead is found again
                    **(INTERPRETED if gpu else {}),
                },
                memory_bytes=MEMORY_LIMIT_BYTES if gpu else NO_LIMIT,
            )
            start = {"op": "start", "number": self._number, "gpu": asdict(gpu) if gpu else None}
            try:
                self._child.ask(start, seconds=_STEP_SECONDS["start"])
            except ChildFailed as failure:
                self.close()
                raise BadInput(f"the GPU can't be used: {failure}") from None
        return self._child


def _first_fault(findings: Sequence[Finding]) -> str | None:
    for finding in findings:
        if finding.fault:
            return f"{finding.fault} (on {finding.case})"
    # What it refuses it cannot get wrong; but then something must be left that it takes.
    pruned = any(finding.refused == PRUNED for finding in findings)
    if findings and not pruned and all(finding.refused for finding in findings):
        return f"nothing could be checked: {findings[0].refused} (on {findings[0].case})"
    return None


def _finding(case: Case, answer: dict[str, Any]) -> Finding:
    def number(name: str) -> float:
        value = answer.get(name)
        return math.nan if value is None else float(value)

    return Finding(
        show(case),
        number("relative_error"),
        number("max_error"),
        answer.get("library_error"),
        number("bound"),
        answer.get("fault"),
        answer.get("refused"),
    )


def _terms(
    case: Case, against: Against, promise: str, subjects: Sequence[Subject]
) -> dict[str, Any]:
    """What one set of inputs is, and what is right on it."""
    if promise not in PROMISES:
        raise BadInput(f"precision {promise!r} is not one of {', '.join(PROMISES)}")
    types = {spec.dtype for spec in case.inputs if isinstance(spec, TensorSpec)}
    if promise == "wide" and not types & {"float16", "bfloat16"}:
        raise BadInput(f"precision wide is for 16-bit operands, and there are none on {show(case)}")
    paths = [subject.path for subject in subjects if subject.path]
    return {
        "terms": {
            "inputs": to_wire(case.inputs),
            "seed": case.seed,
            "purpose": case.purpose,
            "sizes": [list(pair) for pair in case.sizes],
            "problem": str(against.problem.absolute()) if against.problem else None,
            "reference": against.reference,
            "names": str(paths[0].absolute()) if paths else None,  # whose forward names the inputs
            "promise": promise,
        }
    }


def _subject(subject: Subject) -> dict[str, Any]:
    return {
        "label": subject.label,
        "path": str(subject.path.absolute()) if subject.path else None,
        "choices": [asdict(choice) for choice in subject.choices],
        "baseline": subject.baseline,
    }
