"""Checks and times subjects in this process: on its GPU, or in Triton's interpreter. Child processes only."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Any

import torch
import triton
from triton.compiler.errors import CompilationError
from triton.runtime.errors import InterpreterError

from codegen import examine, sensors, timing
from codegen.evidence import REFERENCE_REFUSES
from codegen.failure import explain, of_the_moment
from codegen.gpu import GpuSpec
from codegen.outcome import PRUNED, BadInput
from codegen.patched import unpatched
from codegen.pretend import pretend_gpu
from codegen.reference import Outputs, Reference, distance, paired, worst
from codegen.repair import repair_interpreter
from codegen.subjects import Subjects
from codegen.watch import Observed, as_the_driver_says, uses_atomics

_REPEATS = {"cuda": 4, "cpu": 1}  # the interpreter runs one block after another: no races


class Gauge:
    """Answers the parent's questions: `start`, `machine`, `check`, `launched`, `race`."""

    def __init__(self, progress: Callable[[Any], None]) -> None:
        self._progress = progress
        self._last = ""  # label of the subject checked last
        self._race: tuple[str, timing.Course, dict[str, timing.Racer]] | None = None

    def handle(self, question: dict[str, Any]) -> Any:
        operations: dict[str, Callable[..., Any]] = {
            "start": self._start,
            "machine": self._machine,
            "check": self._check,
            "launched": self._launched,
            "race": self._run_race,
        }
        with torch.no_grad():
            return operations[question.pop("op")](**question)

    def _start(self, number: int, gpu: dict[str, Any] | None) -> None:
        self._number, self._spec = number, GpuSpec(**gpu) if gpu else None
        self._device = "cpu" if gpu else "cuda"
        self._subjects = Subjects(self._device, self._progress)
        if self._spec:
            repair_interpreter()
            pretend_gpu(self._spec)
            return
        if not torch.cuda.is_available() or torch.cuda.device_count() <= number:
            raise BadInput(f"PyTorch {torch.__version__} sees no GPU {number}")
        torch.cuda.set_device(number)
        torch.zeros(1, device="cuda")

    def _machine(self) -> dict[str, Any]:
        if self._spec is None:
            return sensors.machine(self._number)
        return {
            "gpu": self._spec.name,
            "uuid": "interpreted",
            "compute_capability": self._spec.compute_capability,
            "sm_count": self._spec.sms,
            "l2_bytes": self._spec.l2_bytes or 0,
            "driver": "",
            "cuda": "",
            "torch": torch.__version__,
            "triton": triton.__version__,
        }

    # Checking

    def _check(self, subject: dict[str, Any], terms: dict[str, Any]) -> dict[str, Any]:
        """The fields of a Finding; `over` when the subject's other cases need not be tried, `poisoned` when this
        process cannot go on, `reference` when not the subject failed but the reference on the given inputs.
        """
        self._progress({"turn": subject["label"], "step": "reference"})
        if subject["label"] != self._last:
            # Imported anew: what another subject left in the module's memory is not this one's doing.
            self._subjects.forget(subject["path"])
            self._last = subject["label"]
        given = terms["purpose"] == "given"
        seen = Observed()
        try:
            if subject["path"]:  # before anything that it could change is used
                self._subjects.module(subject["path"])
        except Exception as error:  # foreign code: whatever it raises is a finding
            return self._raised(error, subject, seen, True)
        try:
            reference, setting = self._subjects.setting(terms)
        except Exception as error:  # somebody's expression or problem file
            why = explain(error, terms["problem"])
            if given:
                return {"reference": why, "over": True}
            if of_the_moment(why):
                return {"fault": f"could not be looked at: the reference: {why}", "over": True}
            return {"refused": f"{REFERENCE_REFUSES}: {why}"}
        try:
            run = self._subjects.runner(subject, reference, terms, seen)
            said = examine.examine(
                run, setting, self._device, _REPEATS[self._device], lambda: uses_atomics(seen)
            )
            self._synchronize()
        except Exception as error:  # foreign code: whatever it raises is a finding
            said = self._raised(error, subject, seen, given)
        on_trial = _on_trial(subject)
        if any(map(seen.picked.untried, on_trial)):  # what ran stands in for it
            said = {"refused": PRUNED} | dict.fromkeys(said.keys() & {"poisoned"}, True)
        if "poisoned" in said:
            return said
        if not setting.intact():
            self._subjects.forget_settings()
            if said.get("refused") != PRUNED:
                said["fault"] = "writes into memory that it was not given"
        if not said.get("fault") and (missed := set(on_trial) - seen.kernels):
            said.setdefault("refused", f"{missed.pop()[0]} was not launched")
        return said

    def _raised(
        self, error: Exception, subject: dict[str, Any], seen: Observed, given: bool
    ) -> dict[str, Any]:
        why = explain(error, subject["path"])
        try:
            self._synchronize()
        except Exception as broken:  # the context is lost, and every later call with it
            return {
                "fault": f"breaks the GPU's context: {_first(explain(broken, None))}",
                "over": True,
                "poisoned": True,
            }
        if self._device == "cuda":
            torch.cuda.empty_cache()
        nothing_ran = not (seen.functions or seen.kernels) or _not_compiled(error)
        if not given and nothing_ran and not of_the_moment(why):
            return {"refused": f"takes no such inputs: {why}"}
        return {"fault": why, "over": True}

    def _synchronize(self) -> None:
        if self._device == "cuda":
            torch.cuda.synchronize()

    def _launched(self, subject: dict[str, Any], terms: dict[str, Any]) -> list[dict[str, Any]]:
        """The fields of a Launched for each kernel that one call launches."""
        reference, setting = self._subjects.setting(terms)
        seen = Observed()
        self._subjects.runner(subject, reference, terms, seen)(setting.inputs)
        torch.cuda.synchronize()
        return [as_the_driver_says(kernel, grid) for kernel, grid in seen.compiled]

    # Timing

    def _run_race(
        self, subjects: list[dict[str, Any]], terms: dict[str, Any], rounds: int
    ) -> dict[str, Any]:
        """Rounds come as progress; answers the method, and who could not be timed.

        Who cannot be timed, or was wrong, is told at once as well: this process may die before it answers.
        """
        if self._spec:
            raise BadInput("the interpreter says nothing of speed")
        self._progress({"step": "reference"})
        reference, setting = self._subjects.setting(terms)
        key = repr(sorted(terms.items()))
        if self._race is None or self._race[0] != key:
            self._race = key, timing.Course(setting.inputs, terms["seed"]), {}
        _, course, known = self._race
        failures: dict[str, str] = {}
        racers = []
        for subject in subjects:
            name = repr(sorted(subject.items()))
            self._progress({"turn": subject["label"]})
            if name not in known:
                try:
                    known[name] = self._racer(subject, reference, terms, course)
                except Exception as error:  # foreign code: whatever it raises is a finding
                    said = self._raised(error, subject, Observed(), True)
                    failures[subject["label"]] = said["fault"]
                    if "poisoned" in said:
                        return {"method": "events", "failures": failures, "poisoned": True}
                    continue
            racers.append(known[name])
        if not racers:
            return {"method": "events", "failures": failures}
        files = {subject["label"] for subject in subjects if subject["path"]}
        method = timing.capture(racers, course, files.__contains__)
        if method == "graph":
            for racer in racers:
                if racer.graph is None:
                    failures[racer.label] = "can't be captured in a CUDA graph"
            racers = [racer for racer in racers if racer.graph is not None]
        self._progress({"method": method, "failed": failures})
        clocks = sensors.Sensors(sensors.machine(self._number)["uuid"])
        failures |= timing.race(
            racers,
            course,
            rounds,
            method,
            self._progress,
            clocks.read,
            lambda inputs, outputs: self._wrong(reference, setting, inputs, outputs),
        )
        return {"method": method, "failures": failures}

    def _racer(
        self,
        subject: dict[str, Any],
        reference: Reference,
        terms: dict[str, Any],
        course: timing.Course,
    ) -> timing.Racer:
        # Compiled and run once under watch: warm calls come without it.
        seen = Observed()
        self._subjects.runner(subject, reference, terms, seen)(course.next())
        torch.cuda.synchronize()
        if any(map(seen.picked.untried, _on_trial(subject))):
            raise BadInput(PRUNED)
        self._progress({"step": "run"})
        call, context = self._subjects.called(subject, reference, terms)
        racer = timing.Racer(subject["label"], call, context)
        if subject["path"] is None:
            self._progress({"step": "baseline"})
        with unpatched() if subject["path"] else contextlib.nullcontext():
            timing.warm(racer, course)
        return racer

    def _wrong(
        self,
        reference: Reference,
        setting: examine.Setting,
        inputs: list[Any],
        outputs: Outputs,
    ) -> str | None:
        if not reference:
            return None
        expected = reference.compute(inputs, torch.float64)
        result = worst(
            [distance(out, ref) for out, ref in paired(outputs, expected)], setting.allowed
        )
        if result["right"]:
            return None
        return f"relative error {result['relative_error'] or float('nan'):.2g}"


def _on_trial(subject: dict[str, Any]) -> list[tuple[str, int]]:
    """The kernel whose config is looked at, by name and line; none of a file that is called as it is."""
    return [(choice["kernel"], choice["line"]) for choice in subject["choices"][:1]]


def _not_compiled(error: Exception) -> bool:
    """Whether Triton refuses a kernel as it reads it. The interpreter reads what it runs, and checks shapes alike."""
    return isinstance(error, CompilationError) or (
        isinstance(error, InterpreterError) and "must be a power of 2" in str(error)
    )


def _first(text: str) -> str:
    """CUDA's errors go on with advice."""
    return re.split(r" (?:CUDA kernel errors might|Search for)", text)[0]
