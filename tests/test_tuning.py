"""When a rendered kernel is tuned anew: for other sizes and operands that lie another way, and no more often."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from codegen.gpu import find_gpu
from codegen.problem import Problem
from codegen.render import choose, render

CHILD = Path(__file__).parent / "tuning_child.py"

FIRST = [[(96, 40), (40, 1)], [(40, 56), (56, 1)]]
SQUARE = [[(72, 72), (72, 1)], [(72, 72), (72, 1)]]


@pytest.mark.parametrize(
    ("problem", "calls"),
    [
        pytest.param(
            Problem("gemm", 96, 56, 40),
            [
                (FIRST, True),
                (FIRST, False),
                ([[(97, 40), (40, 1)], FIRST[1]], True),  # another M
                ([[(96, 40), (64, 1)], FIRST[1]], False),  # rows further apart
                ([[(96, 40), (1, 96)], FIRST[1]], True),  # columns in memory
                ([FIRST[0], [(40, 56), (1, 40)]], True),
                (FIRST, False),
            ],
            id="gemm",
        ),
        pytest.param(
            Problem("trimm", 72, 72, 72, triangle="lower", layout="tn"),
            [
                (SQUARE, True),
                (SQUARE, False),
                ([[(72, 72), (80, 1)], SQUARE[1]], False),
                ([[(72, 72), (1, 72)], SQUARE[1]], True),
                ([SQUARE[0], [(72, 72), (1, 72)]], True),
            ],
            id="trimm, A transposed",
        ),
    ],
)
def test_tuned_anew_where_another_config_may_be_best(
    problem: Problem, calls: list[tuple[object, bool]], tmp_path: Path
) -> None:
    gpu = find_gpu("rtx-4090")
    (path := tmp_path / "rendered.py").write_text(render(problem, gpu, choose(problem, gpu)))
    operands = json.dumps([given for given, _ in calls])
    done = subprocess.run(
        [sys.executable, str(CHILD), str(path), operands], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert [count > 0 for count in json.loads(done.stdout)] == [anew for _, anew in calls]
