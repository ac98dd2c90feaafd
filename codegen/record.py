"""Records of rendered files: the spec that a file follows from, and what is known of the file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from codegen.outcome import BadInput
from codegen.problem import Step, shown
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
    """A name for the file that says what is in it, and that Python can import: `gemm_tt_float32_tf32_h200`.

    Sizes are not in it, and factors to six digits: `refuse_another` keeps files apart that differ in no more.
    """
    problem = spec.problem
    words = [problem.family, problem.triangle, problem.layout, problem.dtype, problem.precision]
    words += ["to", problem.out_dtype] if problem.gives_another_dtype else []
    words += ["batched"] if problem.batch else []
    words += [problem.batched] if problem.batch and problem.batched != "ab" else []
    words += [_word(step) for step in problem.epilogue]
    return "_".join([*filter(None, words), spec.gpu.key]).replace("-", "_")


def _word(step: Step) -> str:
    """`relu`, `scale_0_5`, `scale_minus2`."""
    if step.value is None:
        return step.op
    value = f"{step.value:g}".replace("-", "minus").replace("+", "").replace(".", "_")
    return f"{step.op}_{value}"


def refuse_another(path: Path, spec: Spec) -> None:
    """Raises BadInput where the file at `path` is of another spec, or no record beside it says of which.

    Configs make no other spec: they are what is found for one, and found anew.
    """
    beside = path.with_suffix(".json")
    if beside.exists():
        try:
            held = Record.read(beside).spec
        except BadInput as error:
            raise BadInput(f"{error}; {_ELSEWHERE}") from None
        if difference := _difference(held, spec):
            raise BadInput(f"{path} is there, {difference}; {_ELSEWHERE}")
    elif path.exists():
        raise BadInput(f"{path} is there, and no record beside it says of what; {_ELSEWHERE}")


_ELSEWHERE = "name another folder, or --force to replace it"


def _difference(held: Spec, spec: Spec) -> str | None:
    """The first thing that makes the held spec another one."""
    old, new = ({**each.problem.to_json(), **each.to_json()} for each in (held, spec))
    for name in {**old, **new}:
        if name not in ("problem", "configs") and old.get(name) != new.get(name):
            return f"for another {name}, {shown(old[name])}" if name in old else f"with no {name}"
    return None
