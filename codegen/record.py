"""Records of rendered files: the spec that a file follows from, and what is known of the file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from codegen.outcome import BadInput
from codegen.render import render
from codegen.spec import Spec

# What is known once it has been found out; null until then.
_FINDINGS = ("verdict", "provenance")


@dataclass(frozen=True)
class Record:
    """A spec and the findings about the file rendered from it: the JSON beside each file of generated/."""

    spec: Spec
    findings: dict[str, Any] = field(default_factory=lambda: dict.fromkeys(_FINDINGS))

    @classmethod
    def read(cls, path: Path) -> Record:
        """Raises BadInput, naming the file, where it can't be read or does not hold a record."""
        try:
            data = json.loads(path.read_text("utf-8"))
        except OSError as error:
            raise BadInput(f"{path}: can't be read: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{path}: not JSON: {str(error)[:200]}") from None
        if not isinstance(data, dict):
            raise BadInput(f"{path}: a record is an object with problem, gpu and configs")
        try:
            spec = Spec.from_json(data)
        except BadInput as error:
            raise BadInput(f"{path}: {error}") from None
        rest = {name: value for name, value in data.items() if name not in spec.to_json()}
        return cls(spec, dict.fromkeys(_FINDINGS) | rest)

    def about(self, source: str) -> Record:
        """The record with its findings if they are about this source; they say nothing of another."""
        provenance = self.findings.get("provenance")
        sha256 = provenance.get("sha256") if isinstance(provenance, dict) else None
        if sha256 in (None, hashlib.sha256(source.encode()).hexdigest()):
            return self
        return replace(self, findings=self.findings | dict.fromkeys(_FINDINGS))

    def text(self) -> str:
        """The record as its file holds it."""
        return json.dumps(self.spec.to_json() | self.findings, indent=2) + "\n"

    def source(self) -> str:
        """The kernel file, rendered anew. Raises BadInput where the spec's configs are not its kernels'."""
        spec = self.spec
        return render(spec.problem, spec.gpu, spec.configs, spec.interface)


def file_stem(spec: Spec) -> str:
    """A name for the file that says what is in it, and that Python can import: `gemm_tt_float32_tf32_h200`."""
    problem = spec.problem
    words = [problem.family, problem.triangle, problem.layout, problem.dtype, problem.precision]
    words += ["to", problem.out_dtype] if problem.gives_another_dtype else []
    words += ["batched"] if problem.batch else []
    words += [step.op for step in problem.epilogue]
    return "_".join([*filter(None, words), spec.gpu.key]).replace("-", "_")
