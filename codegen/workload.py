"""The work of the sets of inputs that a file is timed on: what its reference computes, traced and recognised."""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from codegen.evidence import Case
from codegen.inputs import InputSpec, TensorSpec
from codegen.outcome import BadInput, Refused
from codegen.problem import FLOAT8, Problem
from codegen.sections import MODEL_CLASS
from codegen.tracing import Tracer
from codegen.verify import Against
from codegen.work import Work, as_problem, work_of


def works_of(cases: Sequence[Case], against: Against, source: bytes) -> tuple[Work, ...]:
    """For each case its work; what is in no family, or can't be traced, is known by its inputs alone.

    `source` is the file under work, whose forward names what a reference expression computes with.
    """
    with Tracer() as tracer:
        return tuple(
            work_of(_problem(case, against, source, tracer), case.inputs) for case in cases
        )


def _problem(case: Case, against: Against, source: bytes, tracer: Tracer) -> Problem | None:
    try:
        if against.reference:
            names = forward_names(source)
            with tempfile.TemporaryDirectory(prefix="codegen-") as folder:
                path = Path(folder) / "reference.py"
                path.write_text(
                    as_problem(against.reference, names, _widened(case.inputs)), "utf-8"
                )
                problem, _ = tracer.read_problem(path)
                return _narrowed(problem, case.inputs)
        if against.problem and not case.sizes:  # at sizes of its own
            problem, _ = tracer.read_problem(against.problem)
            return problem
    except (BadInput, Refused):
        return None
    return None


def _widened(inputs: Sequence[InputSpec]) -> tuple[InputSpec, ...]:
    """Those of 8 bits in bfloat16: PyTorch has no product of them that could be traced."""
    return tuple(
        (
            replace(spec, dtype="bfloat16")
            if isinstance(spec, TensorSpec) and spec.dtype in FLOAT8
            else spec
        )
        for spec in inputs
    )


def _narrowed(problem: Problem, inputs: Sequence[InputSpec]) -> Problem:
    narrow = {
        spec.dtype for spec in inputs if isinstance(spec, TensorSpec) and spec.dtype in FLOAT8
    }
    return replace(problem, dtype=narrow.pop()) if len(narrow) == 1 else problem


def forward_names(source: bytes) -> tuple[str, ...]:
    """What ModelNew.forward calls its arguments, as written; none where there is no such method."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    for model in tree.body:
        if isinstance(model, ast.ClassDef) and model.name == MODEL_CLASS:
            for method in model.body:
                if isinstance(method, ast.FunctionDef) and method.name == "forward":
                    taken = [*method.args.posonlyargs, *method.args.args]
                    return tuple(each.arg for each in taken[1:])
    return ()
