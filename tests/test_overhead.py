"""tests/gpu/overhead.py where there is no GPU: its arithmetic, what it renders, and a dry run."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from itertools import count
from pathlib import Path
from types import ModuleType

import pytest

from codegen.families import find_family
from codegen.gpu import find_gpu

SCRIPT = Path(__file__).parent / "gpu" / "overhead.py"


@pytest.fixture(scope="module")
def overhead() -> ModuleType:
    spec = importlib.util.spec_from_file_location("overhead", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["overhead"] = module
    spec.loader.exec_module(module)
    return module


def test_a_calls_time_is_its_batch_shared_out_and_others_do_not_show(overhead):
    now, batches = [0], count()

    def slow() -> None:  # 3 µs, and in every other batch somebody else's 1000
        now[0] += 3_000 + (next(batches) // overhead.CALLS % 2) * 1_000_000

    def fast() -> None:
        now[0] += 500

    assert overhead.host_us((slow, fast), lambda: None, lambda: now[0]) == [3.0, 0.5]


def test_overhead_is_what_is_beyond_the_bare_launch(overhead):
    assert overhead.figures(20.0, 13.5, 2.25, 3) == {
        "total": 20.0,
        "triton": 13.5,
        "bare": 2.25,
        "overhead": 17.75,
        "wrapper": 6.5,
        "launches": 3,
    }


def test_every_template_is_there_and_is_what_the_problem_leads_to(overhead):
    h200 = find_gpu("h200")
    for problem, template in overhead.PROBLEMS.values():
        assert find_family(problem.family).form(problem, h200).template == f"{template}.py.jinja"
    folder = SCRIPT.parents[2] / "templates"
    extending = {
        str(path.relative_to(folder))
        for family in ("gemm", "trimm")
        for path in (folder / family).glob("*.jinja")
        if "extends" in path.read_text()
    }
    assert {f"{template}.py.jinja" for _, template in overhead.PROBLEMS.values()} == extending


def test_a_dry_run_times_every_launch_of_a_call(tmp_path):
    out = tmp_path / "out.json"
    subprocess.run(
        [sys.executable, SCRIPT, out, "gemm-packed", "--dry"],
        check=True,
        capture_output=True,
        timeout=300,
    )
    rows = json.loads(out.read_text())["us"]["gemm-packed"]
    assert (rows["fitting"]["launches"], rows["odd"]["launches"]) == (3, 1)
    for kind in ("fitting", "odd"):
        assert rows[kind]["total"] > rows[kind]["triton"] > rows[kind]["bare"] > 0
