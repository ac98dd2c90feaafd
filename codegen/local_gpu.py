"""The parent's side of the child that runs a file on this machine's GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codegen.child import NO_LIMIT, Child, ChildFailed
from codegen.closing import Closing
from codegen.evidence import Machine
from codegen.inputs import InputSpec, to_wire
from codegen.outcome import BadInput
from codegen.toolchain import IMPORT_SECONDS, UserFile

START_SECONDS = 120  # PyTorch's import and CUDA's first context, on a cold machine
TUNE_SECONDS = 300

ENVIRONMENT = {"TRITON_INTERPRET": "0", "TRITON_CACHE_AUTOTUNING": "0"}


@dataclass(frozen=True)
class Timed:
    """What Triton's own autotuner measured of one kernel."""

    kernel: str
    line: int  # of its first decorator
    times_us: tuple[float | None, ...]  # by config; None: not timed
    best: int | None  # what it chose; None: a config that is not in its list


class LocalGpu(Closing):
    """A child process with the GPU. Every method raises BadInput, naming what failed."""

    def __init__(self) -> None:
        self._child = Child("gpu", env=ENVIRONMENT, memory_bytes=NO_LIMIT)

    def machine(self) -> Machine:
        try:
            found = self._child.ask({"op": "machine"}, seconds=START_SECONDS)
        except ChildFailed as failure:
            raise BadInput(
                f"profiling needs the GPU in this machine: {failure}; `codegen inspect` says what can be "
                "known without one"
            ) from None
        return Machine(**{**found, "compute_capability": tuple(found["compute_capability"])})

    def timings(
        self, file: UserFile, problem: Path | None, inputs: Sequence[InputSpec] | None
    ) -> tuple[Timed, ...]:
        """Runs the file as it is, autotuning included."""
        try:
            self._child.ask(load_question(file, problem, inputs), seconds=IMPORT_SECONDS)
            answer = self._child.ask(
                {"op": "timings", "path": str(file.path)}, seconds=TUNE_SECONDS
            )
        except ChildFailed as failure:
            raise BadInput(
                f"{file.name}: running it with Triton's autotuner failed: {failure}: "
                "name a config with --config"
            ) from None
        return tuple(
            Timed(one["kernel"], one["line"], tuple(one["times_us"]), one["best"]) for one in answer
        )

    def close(self) -> None:
        self._child.close()


def load_question(
    file: UserFile, problem: Path | None, inputs: Sequence[InputSpec] | None
) -> dict[str, Any]:
    """`inputs` None: the problem file's own."""
    return {
        "op": "load",
        "path": str(file.path),
        "problem": str(problem) if problem else None,
        "inputs": to_wire(inputs) if inputs is not None else None,
    }
