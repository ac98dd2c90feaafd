"""Problem files from end to end: the ModelNew rendered for each gives what its Model gives."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from gemm_children import Child

from codegen.gpu import find_gpu
from codegen.order import check
from codegen.problem import Problem
from codegen.record import Record
from codegen.render import choose
from codegen.spec import Spec
from codegen.tracing import Tracer

CASES = sorted((Path(__file__).parent / "cases" / "problems").glob("*.py"))
MAX_ELEMENTS = 1 << 20  # of a matrix that is run here
GPU = "h200"
# How far two ways to sum in float32 and round to the type may be apart, relative to the result (Frobenius).
TOLERANCE = {"float32": 1e-6, "float16": 2e-3, "bfloat16": 2e-2}


def supported() -> Iterator[object]:
    """The cases that are small enough to run."""
    for path in CASES:
        kind, _, text = path.read_text().partition("\n")[0].removeprefix("# ").partition(": ")
        if kind == "spec":
            problem = Problem.from_json(json.loads(text))
            sides = [(problem.m, problem.k), (problem.k, problem.n), (problem.m, problem.n)]
            if max(map(math.prod, sides)) * problem.batches <= MAX_ELEMENTS:
                yield pytest.param(path, id=path.stem.replace("_", " "))


@pytest.fixture(scope="module")
def tracer() -> Iterator[Tracer]:
    with Tracer() as child:
        yield child


@pytest.fixture(scope="module")
def models() -> Iterator[Child]:
    child = Child("model_child.py")
    yield child
    child.close()


def rendered(path: Path, tracer: Tracer, folder: Path, gpu: str = GPU) -> Path:
    problem, interface = tracer.read_problem(path)
    spec = Spec(problem, find_gpu(gpu), choose(problem, find_gpu(gpu)), interface)
    source = Record(spec).source()
    assert check(source.encode()) == ()
    assert Spec.from_json(json.loads(Record(spec).text())) == spec
    (file := folder / f"rendered_{path.stem}.py").write_text(source, "utf-8")
    return file


@pytest.mark.parametrize("path", list(supported()))
def test_model_new_gives_what_the_model_gives(
    path: Path, tracer: Tracer, models: Child, tmp_path: Path
) -> None:
    answer = models.ask(
        problem=str(path),
        rendered=str(rendered(path, tracer, tmp_path)),
        gpu=GPU,
        layouts=["contiguous", "spread", "turned"],
    )
    for layout, error in answer["errors"].items():
        assert error <= TOLERANCE[answer["dtype"]], layout
    names, own = answer["names"]
    assert names == own
    assert answer["same"], "parameters differ for one seed"
    assert answer["trained"][0] == answer["trained"][1]
