"""What `codegen bench` measures, and how its results read: the table as data, arithmetic, Markdown, JSON, the picture."""

from __future__ import annotations

import ast
import json
import math
import re
from collections import Counter
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from planted_bench import MACHINE

from codegen import picture, scoreboard
from codegen.benchmark import PEERS, ROWS, cases, chosen
from codegen.gpu import find_gpu
from codegen.limits import limit_of
from codegen.problem import Problem
from codegen.render import choose, environment, filled_in
from codegen.scoreboard import Outcome, Side

CASES = cases()
BY_NAME = {case.name: case for case in CASES}
H200 = find_gpu("h200")
BASELINES = {"eager", "compile", "max-autotune"}
FP16 = "gemm-fp16-nn-4096x4096x4096"  # in the row gemm-16, without peers


def outcome(name: str, us: float, others: dict[str, float], **fields: object) -> Outcome:
    sides = tuple(Side(label, time, 3e-7) for label, time in others.items())
    return Outcome(BY_NAME[name], Side("codegen", us, 2e-7), "128 warps=8", sides, **fields)


def untimed(name: str) -> Outcome:
    return Outcome(BY_NAME[name], None, "", skipped=(("codegen #0", "crashes"),))


# The table


def test_names_are_unique() -> None:
    assert [name for name, count in Counter(case.name for case in CASES).items() if count > 1] == []


def test_every_row_has_cases_and_a_target_and_a_quick_case() -> None:
    for row in ROWS:
        own = [case for case in CASES if case.row == row.name]
        assert own, row.name
        assert row.mean or all(scoreboard.target(case) for case in own), row.name
        assert any(case.quick for case in own), row.name
    assert {case.row for case in CASES} == {row.name for row in ROWS}


def test_names_start_with_their_row_or_say_its_type() -> None:
    for case in CASES:
        start = case.name.split("-")[0]
        assert start == case.row.split("-")[0], case.name


def test_every_problem_can_be_rendered_for_an_h200() -> None:
    problems = {case.problem for case in CASES}
    for problem in problems:
        ast.parse(filled_in(problem, H200, choose(problem, H200)))


def test_what_a_case_is_compared_with_exists() -> None:
    for case in CASES:
        assert set(case.baselines) <= BASELINES, case.name
        assert set(case.rivals) <= set(PEERS), case.name
        assert set(case.peers) <= BASELINES | set(PEERS), case.name
        assert case.baselines or case.rivals, case.name


def test_peers_are_python_for_each_case_they_are_in() -> None:
    named = [(case, name) for case in CASES for name in (*case.rivals, *case.peers)]
    for case, name in named:
        if name in PEERS:
            template = environment().get_template(f"peers/{name}.py.jinja")
            tree = ast.parse(template.render(problem=case.problem))
            assert "ModelNew" in {n.name for n in tree.body if isinstance(n, ast.ClassDef)}
    assert set(PEERS) <= {name for _, name in named}


def test_references_are_expressions_of_the_operands() -> None:
    for case in CASES:
        tree = ast.parse(case.reference, mode="eval")
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert names - {"torch", "F"} == set(case.problem.operands), case.reference


def test_the_library_is_measured_at_the_precision_that_was_asked_for() -> None:
    promises = {case.row: set() for case in CASES}
    for case in CASES:
        promises[case.row].add(case.promise)
    assert {row for row, found in promises.items() if found == {"tf32"}} == {
        "gemm-tf32",
        "trimm-tf32",
    }
    assert all(len(found) == 1 for found in promises.values())


def test_a_subset_is_chosen_by_row_or_by_how_names_begin() -> None:
    assert chosen((), False) == CASES
    assert {case.row for case in chosen(("gemm-tf32",), False)} == {"gemm-tf32"}
    assert [case.name for case in chosen(("trimm-bf16-8",), False)] == ["trimm-bf16-8192"]
    assert chosen(("no such",), False) == ()
    assert all(case.quick for case in chosen((), True))
    assert len(chosen((), True)) < 25


# What a case takes at least on an H200: copying operands, then arithmetic or memory traffic, in microseconds.
LIMITS = {
    # 2 x 4096^3 at 795 TFLOP/s
    "gemm-bf16-nn-4096x4096x4096": (0, 172.9, 3 * 4096**2 * 2 / 4.3e6),
    # float16 parts: operands read, half of it written; then the parts read and the result written
    "gemm-tf32-tt-4096x4096x4096": (2 * 4096**2 * 6 / 4.3e6, 172.9, 4096**2 * 8 / 4.3e6),
    # two parts, three products
    "gemm-float32-nn-4096x4096x4096": (2 * 4096**2 * 8 / 4.3e6, 3 * 172.9, 4096**2 * 12 / 4.3e6),
    # triangles
    "trimm-tf32-4096": (4096 * 4097 * 6 / 4.3e6, 28.8, (4096 * 4097 * 2 + 4096**2 * 4) / 4.3e6),
    "trimm-bf16-4096": (0, 28.8, (4096 * 4097 * 2 + 4096**2 * 2) / 4.3e6),
    # the same in slices
    "kernelbench-06": (
        2 * 256 * 524288 * 8 / 4.3e6,
        3 * 2 * 256 * 256 * 524288 / 795e6,
        2 * 256 * 524288 * 4 / 4.3e6,
    ),
    # the data sheet's 1979 TFLOP/s
    "float8-nt-8192": (0, 2 * 8192**3 / 1979e6, 8192**2 * 4 / 4.3e6),
}


@pytest.mark.parametrize("name", LIMITS)
def test_limits_are_operations_and_bytes_over_what_the_gpu_does(name: str) -> None:
    limit = limit_of(BY_NAME[name].problem, H200)
    assert limit
    found = (limit.before_us, limit.arithmetic_us, limit.memory_us)
    assert found == pytest.approx(LIMITS[name], rel=2e-3, abs=1e-3)
    assert limit.us == limit.before_us + max(found[1:])


def test_operands_that_are_packed_k_major_are_copied_before() -> None:
    problem = Problem("gemm", 2048, 4096, 8192, layout="tn", dtype="float8_e4m3fn")
    limit = limit_of(problem, H200)
    assert limit and limit.before_us == pytest.approx(2 * (2048 + 4096) * 8192 / 4.3e6)
    problem = Problem("trimm", 4096, 4096, 4096, precision="tf32", triangle="lower")
    limit = limit_of(problem, H200)
    assert limit and limit.before_us == pytest.approx(2 * 4096 * 4097 * 4 / 4.3e6)


# Results


def test_speedup_is_over_the_fastest_of_those_the_case_is_against() -> None:
    case = outcome("trimm-tf32-2048", 10.0, {"eager": 40.0, "max-autotune": 30.0, "tutorial": 5.0})
    assert case.opponent and case.opponent.label == "max-autotune"
    assert case.speedup == 3.0
    assert case.tflops == pytest.approx(2048 * 2049 * 2050 / 3 / 10 / 1e6)


def test_a_row_counts_what_was_timed_and_names_what_missed() -> None:
    names = [case.name for case in CASES if case.row == "gemm-16"][:4]
    outcomes = [
        outcome(names[0], 10.0, {"eager": 20.0}),
        outcome(names[1], 10.0, {"eager": 5.0}),
        untimed(names[2]),
    ]
    (standing,) = scoreboard.standings(outcomes)
    assert (standing.row.name, standing.count, standing.worst) == ("gemm-16", 2, 0.5)
    assert standing.mean == pytest.approx(math.sqrt(2.0 * 0.5))
    assert standing.missed == ("mean", names[1])


def test_a_cases_own_target_goes_before_its_rows() -> None:
    (standing,) = scoreboard.standings([outcome("trimm-tf32-8192", 10.0, {"eager": 54.0})])
    assert standing.missed == ("trimm-tf32-8192",)
    (standing,) = scoreboard.standings([outcome("trimm-tf32-8192", 10.0, {"eager": 55.0})])
    assert standing.missed == ()


def test_markdown_has_a_line_for_each_row_and_each_case() -> None:
    outcomes = [outcome("float8-nt-8192", 2000.0, {"scaled-mm": 1900.0}), untimed(FP16)]
    text = scoreboard.as_markdown(MACHINE, "2026-11-21", outcomes)
    assert "NVIDIA H200, driver 570.1, CUDA 12.8, PyTorch 2.11, Triton 3.6, 2026-11-21" in text
    assert (
        "| gemm float8 e4m3 | torch._scaled_mm | 1 | 0.95 | 0.95 | each 1 | 1: float8-nt-8192 |"
        in text
    )
    assert (
        "| float8-nt-8192 | 2000.0 | 555.6 | 550 | 2.0e-07 | scaled-mm | 1900.0 | 3.0e-07 | 0.95 | 128 warps=8 |  |"
        in text
    )
    assert f"| {FP16} | – | 172.9 | – | – | – | – | – | – | – | codegen #0: crashes |" in text
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_reasons_do_not_break_the_table() -> None:
    bad = replace(untimed(FP16), skipped=(("codegen", "a | b\nmore"),))
    text = scoreboard.as_markdown(MACHINE, "2026-11-21", [bad])
    assert "codegen: a \\| b more |" in text


def test_json_is_read_back_as_it_was() -> None:
    outcomes = (
        outcome(
            FP16,
            10.0,
            {"eager": 20.0},
            rounds=15,
            kernel="ab",
            skipped=(("helion", "no"),),
            screened=(("128 warps=8", 10.5),),
        ),
        untimed("float8-nt-8192"),
    )
    text = json.dumps(scoreboard.as_json(MACHINE, "2026-11-21", outcomes))
    assert scoreboard.read_json(json.loads(text)) == (MACHINE, outcomes)


def test_what_was_kept_before_configs_times_were_is_read_back() -> None:
    data = scoreboard.as_json(MACHINE, "2026-11-21", [outcome(FP16, 10.0, {"eager": 20.0})])
    del data["cases"][0]["screened"]
    assert scoreboard.read_json(data)[1] == (outcome(FP16, 10.0, {"eager": 20.0}),)


def test_cases_that_have_changed_since_are_not_read_back() -> None:
    data = scoreboard.as_json(MACHINE, "2026-11-21", [untimed(FP16), untimed("float8-nt-8192")])
    data["cases"][0]["problem"]["shape"]["k"] = 17
    data["cases"].append({**data["cases"][1], "name": "gone"})
    _, outcomes = scoreboard.read_json(data)
    assert [each.case.name for each in outcomes] == ["float8-nt-8192"]


@pytest.mark.parametrize("data", [[], {}, {"machine": {}, "cases": []}, {"machine": 1}, None])
def test_what_is_no_benchmark_is_not_read(data: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        scoreboard.read_json(data)


# The picture


@pytest.fixture
def drawn() -> str:
    outcomes = [
        outcome(FP16, 200.0, {"eager": 210.0}),
        outcome("trimm-float32-4096", 200.0, {"eager": 2700.0}),
        untimed("small-128x128x128"),
    ]
    return picture.draw(MACHINE, "2026-11-21", outcomes)


def test_the_picture_needs_nothing_from_outside(drawn: str) -> None:
    tree = ElementTree.fromstring(drawn)
    assert tree.tag == "{http://www.w3.org/2000/svg}svg"
    without_namespace = drawn.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?:|url\(|@import|@font-face|href|<script|<image", without_namespace)
    fonts = set(re.findall(r"font(?:-family)?: ?([^;}]+)", drawn))
    assert fonts == {"11px system-ui, sans-serif"}


def test_the_picture_has_colours_for_a_dark_page(drawn: str) -> None:
    dark = drawn.split("@media (prefers-color-scheme: dark)")[1].split("</style>")[0]
    for kind in ("text", ".ground", ".faint", ".mark", ".line", ".ours", ".short"):
        assert kind in drawn.split("@media")[0]
        assert kind in dark


def test_the_picture_shows_every_case(drawn: str) -> None:
    tree = ElementTree.fromstring(drawn)
    texts = {element.text for element in tree.iter() if element.text}
    assert {FP16, "trimm-float32-4096", "small-128x128x128", "1.05", "13.50", "not timed"} <= texts
    wide = float(tree.attrib["viewBox"].split()[2])
    for bar in tree.iter("{http://www.w3.org/2000/svg}rect"):
        assert float(bar.get("x", 0)) + float(bar.attrib["width"]) <= wide
    missed = [bar for bar in tree.iter() if bar.get("class") == "short"]
    assert len(missed) == 1  # 13.5 of 14


def test_many_cases_that_differ_in_sizes_share_a_bar() -> None:
    names = [case.name for case in CASES if case.row == "gemm-16"]
    outcomes = [outcome(name, 100.0, {"eager": 100.0}) for name in names]
    outcomes[0] = outcome(names[0], 100.0, {"eager": 50.0})
    outcomes[1] = outcome(names[1], 100.0, {"eager": 200.0})
    outcomes[-1] = untimed(names[-1])
    tree = ElementTree.fromstring(picture.draw(MACHINE, "2026-11-21", outcomes))
    texts = [element.text for element in tree.iter() if element.tag.endswith("text")]
    assert [text for text in texts if text and text.startswith("gemm-")] == [
        f"gemm-{dtype}-{layout}"
        for dtype in ("bf16", "fp16")
        for layout in ("nn", "nt", "tn", "tt")
    ]
    assert "1.00 (0.50 to 2.00)" in texts
    missed = [bar for bar in tree.iter() if bar.get("class") == "short"]
    assert len(missed) == 1


def test_nothing_to_draw_is_drawn_too() -> None:
    ElementTree.fromstring(picture.draw(MACHINE, "2026-11-21", [untimed(FP16)]))
    ElementTree.fromstring(picture.draw(MACHINE, "2026-11-21", []))
