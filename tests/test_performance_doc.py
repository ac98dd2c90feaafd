"""docs/performance.md: its table of limits is what codegen works out, and the measured table has its place."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT

from codegen.benchmark import ROWS, cases
from codegen.float32_grade import resolved_precision
from codegen.gpu import find_gpu
from codegen.limits import limit_of

TEXT = (ROOT / "docs" / "performance.md").read_text("utf-8")
CASES = {case.name: case for case in cases()}
H200 = find_gpu("h200")
LINES = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.split("| case | computed as |")[1].split("\n\n")[0].splitlines()[2:]
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[0])
def test_each_line_of_limits_is_what_is_worked_out(line: list[str]) -> None:
    name, form, *figures = line
    problem = CASES[name].problem
    limit = limit_of(problem, H200)
    assert limit
    assert form == (resolved_precision(problem, H200) or problem.dtype)
    found = [problem.flops() / 1e9, problem.bytes_moved() / 1e6]
    found += [limit.before_us, limit.arithmetic_us, limit.memory_us, limit.us]
    assert figures == [f"{found[0]:.2f}", *(f"{value:.1f}" for value in found[1:])]


def test_every_row_has_its_limits() -> None:
    assert {CASES[name].row for name, *_ in LINES} == {row.name for row in ROWS}


def test_the_measured_table_has_its_place() -> None:
    assert re.search(r"<!-- measured: begin\..*<!-- measured: end -->", TEXT, re.DOTALL)


def test_cases_that_are_named_exist() -> None:
    table = TEXT.split("## Predicted and measured")[1].split("## ")[0]
    named = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")]
    assert len(named) > 2
    assert set(named[1:]) <= set(CASES)
