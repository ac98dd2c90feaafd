"""Every config of every gemm: right in the interpreter, and within the limits of the GPU it is compiled for.

By default that is the files kept in generated/. The whole table of gemm_matrix.py, for each architecture,
takes about half an hour on two cores: CODEGEN_BROAD=1 pytest tests/test_gemm_matrix.py
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gemm_children import KERNELS, Child, compile_for, interpret, rendered
from gemm_matrix import GPUS, has_types, odd, problems, whole

from codegen.fitting import odd_sizes
from codegen.problem import Problem
from codegen.record import Record

GENERATED = sorted((Path(__file__).resolve().parent.parent / "generated").glob("gemm_*.json"))


def table(gpus: tuple[str, ...]) -> list[Any]:
    return [
        pytest.param(problem, gpu, id=f"{name} for {gpu}")
        for name, problem in problems().items()
        for gpu in gpus
        if has_types(gpu, problem)
    ]


broad = pytest.mark.skipif(
    "CODEGEN_BROAD" not in os.environ, reason="half an hour: CODEGEN_BROAD=1"
)


@pytest.fixture(scope="module")
def interpreter() -> Iterator[Child]:
    child = Child("gemm_child.py")
    yield child
    child.close()


@pytest.fixture(scope="module")
def compiler() -> Iterator[Child]:
    child = Child("gemm_compile_child.py")
    yield child
    child.close()


def kernels_of(path: Path) -> set[str]:
    text = path.read_text("utf-8")
    return {name for name in KERNELS if f"def {name}(" in text}


@pytest.mark.parametrize("record", GENERATED, ids=lambda path: path.stem)
def test_every_config_of_a_kept_file_is_right(record: Path, interpreter: Child) -> None:
    spec, path = Record.read(record).spec, record.with_suffix(".py")
    ran = {*interpret(interpreter, path, spec.gpu.key, odd(spec.problem))}
    if ran != kernels_of(path):
        ran |= interpret(interpreter, path, spec.gpu.key, whole(spec.problem))
    assert ran == kernels_of(path)


@pytest.mark.parametrize("record", GENERATED, ids=lambda path: path.stem)
def test_every_config_of_a_kept_file_fits_its_gpu(record: Path, compiler: Child) -> None:
    spec, path = Record.read(record).spec, record.with_suffix(".py")
    assert compile_for(compiler, path, spec.gpu.key, calls(spec.problem, path)) == kernels_of(path)


def calls(problem: Problem, path: Path) -> list[Problem]:
    """Sizes that between them lead to every kernel of a file."""
    made_odd = replace(problem, m=problem.m | 1, n=problem.n | 1, k=problem.k | 1)
    several = [problem, made_odd, odd_sizes(problem)]
    return several if len(kernels_of(path)) > 1 else [problem]


@broad
@pytest.mark.parametrize(("problem", "gpu"), table(("rtx-4090", "h200")))  # a GPU with each form
def test_every_config_of_the_table_is_right(
    problem: Problem, gpu: str, interpreter: Child, tmp_path: Path
) -> None:
    path = rendered(problem, gpu, tmp_path)
    ran = interpret(interpreter, path, gpu, odd(problem))
    ran |= interpret(interpreter, path, gpu, whole(problem))
    assert ran == kernels_of(path)


@broad
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("problem", "gpu"), table(GPUS))
def test_every_config_of_the_table_fits(
    problem: Problem, gpu: str, compiler: Child, tmp_path: Path
) -> None:
    path = rendered(problem, gpu, tmp_path)
    assert compile_for(compiler, path, gpu, calls(problem, path)) == kernels_of(path)
