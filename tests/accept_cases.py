"""The planted kernels of tests/cases/accept: what is asked of each, read from its head."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from codegen.cases import plan_cases
from codegen.evidence import Case, Choice, Subject
from codegen.inputs import parse_inputs
from codegen.verify import Against

FOLDER = Path(__file__).parent / "cases" / "accept"
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Planted:
    path: Path
    inputs: str
    reference: str
    promise: str = "ieee"
    where: str = "anywhere"  # or `gpu`: an interpreter can't show it; or `race`: only timing can
    expect: str = ""  # a pattern that the faults of the wrong configs match; empty: it is good
    wrong: tuple[int, ...] = ()  # the configs that are wrong
    against: str | None = None  # the file that it is measured against

    @property
    def against_reference(self) -> Against:
        return Against(None, self.reference)

    def cases(self, *, given: bool, seed: int = 0) -> tuple[Case, ...]:
        """With `given` as on a GPU, else as in the interpreter."""
        sides = tuple(map(int, re.findall(r'"BLOCK\w*": (\d+)', self.path.read_text())))
        inputs = parse_inputs(self.inputs)
        return plan_cases(inputs, sides, given=given, aligned=given, seed=seed)

    def subjects(self) -> list[Subject]:
        """One for each config of each autotuned kernel."""
        return [
            Subject(f"{self.path.stem} {choice.kernel} #{choice.config}", self.path, (choice,))
            for choice in choices(self.path)
        ]


def planted(folder: str) -> list[Planted]:
    return [read(path) for path in sorted((FOLDER / folder).glob("*.py"))]


def read(path: Path) -> Planted:
    head = dict(re.findall(r"^# ([a-z ]+): (.*)$", path.read_text(), re.MULTILINE))
    return Planted(
        path,
        head["inputs"],
        head["reference"],
        head["promise"],
        head["where"],
        head.get("expect", ""),
        tuple(map(int, head.get("wrong configs", "").split())),
        head.get("against"),
    )


def choices(path: Path) -> list[Choice]:
    """Every config of every autotuned kernel of a file whose lists are plain."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.FunctionDef) and node.decorator_list):
            continue
        tuned = ast.unparse(node.decorator_list[0])
        if "autotune" in tuned:
            knobs = re.findall(r"num_warps=(\d+), num_stages=(\d+)", tuned)
            line = node.decorator_list[0].lineno
            found += [
                Choice(node.name, line, index, int(warps), int(stages))
                for index, (warps, stages) in enumerate(knobs)
            ]
    return found
