"""Operands split into scaled float16 parts: rows of very different magnitude, and values that are not finite."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest
from gemm_children import Child
from gemm_matrix import problems

from codegen.gpu import find_gpu
from codegen.precision import MEASURED_ERROR
from codegen.problem import Problem
from codegen.render import choose
from codegen.slices import Slices
from codegen.trimm_split import TILE

GPU = "h200"
PARTS = ("fp16", "fp16x3")
# Of a row: what is documented for normal inputs, twice, as rows differ; or the most that one product of two
# rounded factors can be off, as a row may have no other.
BOUND = {"fp16": max(2 * MEASURED_ERROR["fp16"], 2**-10), "fp16x3": 2 * MEASURED_ERROR["fp16x3"]}
# Two tiles each way, the second nearly empty; K of whole steps of 64 and a rest.
SIDES = {"m": 133, "n": 141, "k": 77}
GEMMS = {
    name: replace(problem, **SIDES, batch=problem.batch and (2,), epilogue=(), out_dtype="float32")
    for name, problem in problems().items()
    if problem.precision in PARTS
}
SIDE = {"fp16": 256, "fp16x3": 128}  # of the largest tiles
TRIMMS = {
    f"{triangle} {layout} {precision}": Problem(
        "trimm", *[SIDE[precision] + 9] * 3, layout=layout, triangle=triangle, precision=precision
    )
    for triangle in ("lower", "upper")
    for precision in PARTS
    for layout in (("nn",) if precision == "fp16" else ("nn", "tt"))
}
# Summed in slices: K 1637 is 26 steps, so 6 slices of 5, the last with four beyond K; in a batch of two 3 of 9, more
# than a chunk. That is what the constants of tests/split_child.py make of it.
SLICED = {
    f"sliced {layout}": Problem(
        "gemm",
        37,
        50,
        1637,
        layout=layout,
        precision="fp16x3",
        batch=(2,) if layout == "nn" else (),
    )
    for layout in ("nn", "nt", "tn", "tt")
}
SLICES = {1637: Slices(6, 5), 300: Slices(5, 1)}
SLICES_OF_A_BATCH = Slices(3, 9)
ALL = {**GEMMS, **TRIMMS, **SLICED}


@pytest.fixture(scope="module")
def interpreter() -> Iterator[Child]:
    child = Child("split_child.py")
    yield child
    child.close()


def is_sliced(problem: Problem) -> bool:
    return problem.k in SLICES


@cache
def ask(interpreter: Child, problem: Problem, *, special: bool) -> list[dict[str, float]]:
    asked = replace(problem, m=256, n=256, k=1 << 17) if is_sliced(problem) else problem
    question = {"problem": problem.to_json(), "rendered_for": asked.to_json()}
    results = interpreter.ask(gpu=GPU, special=special, **question)
    (configs,) = choose(asked, find_gpu(GPU)).values()
    assert [result["config"] for result in results] == [0, len(configs) - 1]
    return results


def test_all_forms_are_there() -> None:
    assert {(p.family, p.precision) for p in ALL.values()} == {
        (family, precision) for family in ("gemm", "trimm") for precision in PARTS
    }
    assert {p.layout for p in GEMMS.values()} == {"nn", "nt", "tn", "tt"}


@pytest.mark.parametrize("problem", ALL.values(), ids=list(ALL))
def test_each_row_is_right_whatever_its_magnitude(problem: Problem, interpreter: Child) -> None:
    for result in ask(interpreter, problem, special=False):
        assert result["library_error"] < 1e-6
        assert result["error"] <= BOUND[problem.precision or ""], result  # False for NaN


def up(size: int, step: int) -> int:
    return -(-size // step) * step


def workspace_bytes(problem: Problem) -> int:
    """As docs/render.md has it."""
    parts, batches = PARTS.index(problem.precision or "") + 1, problem.batches
    if problem.triangle:
        side = up(problem.n, TILE)
        return 4 * parts * batches * side**2 + 8 * batches * problem.n
    rows, columns = problem.m, problem.n
    if problem.batched == "a":  # folded into rows
        rows, batches = rows * batches, 1
    slices = Slices(1, up(problem.k, 64) // 64)
    if is_sliced(problem):
        slices = SLICES_OF_A_BATCH if problem.batch else SLICES[problem.k]
    k = 64 * slices.steps * slices.count
    sums = 4 * slices.count * batches * rows * columns if is_sliced(problem) else 0
    # Rounded up to eights where sums do not run along rows.
    m = rows if problem.layout[0] == "n" else up(rows, 8)
    n = columns if problem.layout[1] == "t" else up(columns, 8)
    return 2 * parts * batches * k * (m + n) + 4 * batches * (rows + columns) + sums


@pytest.mark.parametrize("name", ALL)
def test_parts_take_the_memory_that_is_documented(name: str, interpreter: Child) -> None:
    for result in ask(interpreter, ALL[name], special=False):
        assert result["workspace_bytes"] == workspace_bytes(ALL[name])


SOME = ["nn float32 fp16", "tt float32 fp16x3", "lower nn fp16", "upper tt fp16x3"]
SPECIAL = {name: ALL[name] for name in SOME}
SPECIAL |= {name: replace(SLICED[name], k=300) for name in ("sliced nt", "sliced tn")}


@pytest.mark.parametrize("problem", SPECIAL.values(), ids=list(SPECIAL))
def test_nothing_is_finite_that_should_not_be(problem: Problem, interpreter: Child) -> None:
    for result in ask(interpreter, problem, special=True):
        assert result["decided"] > 0
        assert result["finite"] == 0
        assert result["error"] <= BOUND[problem.precision or ""], result
