"""What a person asks about one file: everything but what to do with the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from codegen.gpu import GpuSpec
from codegen.inputs import InputSpec
from codegen.ncu import KernelMetrics
from codegen.stage import DEFAULT_STAGE, StageRules
from codegen.toolchain import UserFile


@dataclass(frozen=True)
class Question:
    """One file, the GPU it is for, and what is known of how it is called."""

    file: UserFile
    code: bytes  # on the lines that it has in the file or the prompt
    gpu: GpuSpec
    inputs: tuple[InputSpec, ...] | None = None
    more_inputs: tuple[tuple[InputSpec, ...], ...] = ()  # further sets, to be fast on too
    problem: Path | None = None
    reference: str | None = None
    launch: tuple[str, ...] | None = None  # a run of the user's own instead of a call of ModelNew
    metrics: Mapping[str, KernelMetrics] | None = None
    stage: StageRules = DEFAULT_STAGE
    max_configs: int | None = None  # asked for: binds the originals too
    at_definition: bool = False

    @property
    def guessed(self) -> bool:
        return self.inputs is None and self.problem is None and self.launch is None
