"""`codegen bench` end to end on planted answers: what fails, what is cut off, what goes on, what is said in one line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from planted_bench import MACHINE, PlantedBench

from codegen import ahead, here, measure, side_by_side
from codegen.benchmark import cases
from codegen.cli import main
from codegen.evidence import Case, Subject
from codegen.gpu import find_gpu
from codegen.measure import Device
from codegen.outcome import BadInput, Refused
from codegen.render import choose

SMALL = ["small-128x128x128", "small-256x256x256", "small-512x512x512"]
CONFIGS = 6  # of each kernel here


class Planted(PlantedBench):
    """Files take 100 µs, baselines 150; `on_case` may raise when a case is checked."""

    def __init__(self, on_case: Callable[[str], None] = lambda shape: None, **fields: object):
        super().__init__(lambda subject, case: 100.0 if subject.path else 150.0, **fields)  # type: ignore[arg-type]
        self._on_case = on_case

    def check(self, subjects, cases, *rest):  # type: ignore[no-untyped-def]
        self._on_case(str(subjects[0].path))
        return super().check(subjects, cases, *rest)

    def __enter__(self) -> Planted:
        return self

    def __exit__(self, *error: object) -> None:
        pass


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Planted], Planted]:
    """No GPU and no compiler: configs as they are chosen before it is asked."""

    def plant(bench: Planted) -> Planted:
        monkeypatch.setattr(here, "name_here", lambda: "NVIDIA H200")
        monkeypatch.setattr(measure, "Device", lambda: bench)
        return bench

    monkeypatch.setattr(ahead, "stand_back", lambda: None)
    monkeypatch.setattr(side_by_side, "settled", lambda problem, gpu, turn_to: choose(problem, gpu))
    monkeypatch.setattr(side_by_side, "compile_file", lambda path, problem, turn_to: None)
    return plant


def run(*arguments: object) -> int:
    return main(["bench", *map(str, arguments)])


def known(path: Path) -> dict[str, dict]:
    return {case["name"]: case for case in json.loads(path.read_text())["cases"]}


def test_results_go_to_the_files_and_the_table_to_standard_output(tmp_path, planted, capsys):
    planted(Planted())
    figures, drawing = tmp_path / "b.json", tmp_path / "b.svg"
    assert run("small-128", "--json", figures, "--svg", drawing, "--keep", tmp_path / "kept") == 0
    out, err = capsys.readouterr()
    assert "| small and vector-like gemm | torch.matmul | 1 | 1.50 |" in out
    assert "small-128x128x128: 100." in err
    number = r"\d+\.\d s"
    steps = rf"compiling {number}, checking {number}, screening {number}, timing {number}"
    assert re.search(rf"\({steps}\)", err)
    case = known(figures)["small-128x128x128"]
    assert case["ours"]["label"] == "codegen"
    assert case["speedup"] == pytest.approx(1.5, rel=0.01)
    assert [side["label"] for side in case["others"]] == ["eager"]
    assert drawing.read_text().startswith("<svg")
    kept = tmp_path / "kept" / "small_128x128x128.py"
    assert "class ModelNew" in kept.read_text()


def test_a_target_that_is_missed_is_status_1(tmp_path, planted):
    planted(Planted())
    assert run("trimm-bf16-4096", "--markdown", tmp_path / "b.md") == 1
    assert "1: trimm-bf16-4096" in (tmp_path / "b.md").read_text()


def test_configs_are_those_of_the_file(tmp_path, planted):
    bench = planted(Planted())
    run("gemm-bf16-nn-4096", "--markdown", tmp_path / "b.md", "--keep", tmp_path)
    case = next(case for case in cases() if case.name == "gemm-bf16-nn-4096x4096x4096")
    configs = choose(case.problem, find_gpu("h200"))["gemm_tma_kernel"]
    ours = [choices[0] for label, choices, _ in bench.checked if label.startswith("codegen")]
    assert [(c.kernel, c.config, c.num_warps, c.num_stages) for c in ours] == [
        ("gemm_tma_kernel", place, config.warps, config.stages)
        for place, config in enumerate(configs)
    ]
    lines = (tmp_path / "gemm_bf16_nn_4096x4096x4096.py").read_text().splitlines()
    assert {lines[choice.line - 1] for choice in ours} == {"@triton.autotune("}
    tutorial = [choices[0] for label, choices, _ in bench.checked if label.startswith("tutorial")]
    assert [choice.config for choice in tutorial] == list(range(8))
    assert (tutorial[0].num_warps, tutorial[0].num_stages) == (8, 3)
    assert ("helion", ()) in [(label, choices) for label, choices, _ in bench.checked]
    text = (tmp_path / "b.md").read_text()
    assert any(str(config) in text for config in configs)


def test_the_fastest_right_config_is_timed_with_the_others(tmp_path, planted):
    def speed(subject: Subject, case: Case) -> float:
        return 100.0 - 10 * subject.choices[0].config if subject.choices else 150.0

    def fault(subject: Subject, case: Case, promise: str) -> str | None:
        return "wrong" if subject.label == "codegen #5" else None

    bench = planted(Planted(fault=fault))
    bench.speed = speed
    assert run("small-128", "--json", tmp_path / "b.json") == 0
    assert bench.raced[-1] == (("codegen #4", "eager"), side_by_side.ROUNDS)
    case = known(tmp_path / "b.json")["small-128x128x128"]
    assert case["skipped"] == {"codegen #5": "wrong"}
    assert case["ours"]["median_us"] == pytest.approx(60, rel=0.01)


FAILURES = {
    "the reference fails": (BadInput("the reference: NameError"), "the reference: NameError"),
    "the bench breaks": (ValueError("no such thing"), "ValueError: no such thing"),
}


@pytest.mark.parametrize(("error", "said"), FAILURES.values(), ids=list(FAILURES))
def test_a_case_that_fails_costs_only_itself(error, said, tmp_path, planted):
    def on_case(path: str) -> None:
        if "256" in path:
            raise error

    planted(Planted(on_case))
    assert run("small-128", "small-256", "small-512", "--json", tmp_path / "b.json") == 1
    found = known(tmp_path / "b.json")
    assert list(found) == SMALL
    assert [case["speedup"] is None for case in found.values()] == [False, True, False]
    assert found[SMALL[1]]["skipped"] == {"codegen": said}


def test_a_case_that_cannot_be_rendered_costs_only_itself(tmp_path, planted, monkeypatch):
    def chosen(problem, gpu, turn_to):
        if problem.m == 256:
            raise Refused("2 of 8 configs fit")
        return choose(problem, gpu)

    planted(Planted())
    monkeypatch.setattr(side_by_side, "settled", chosen)
    assert run("small-128", "small-256", "small-512", "--json", tmp_path / "b.json") == 1
    found = known(tmp_path / "b.json")
    assert [case["speedup"] is None for case in found.values()] == [False, True, False]
    assert found[SMALL[1]]["skipped"] == {"codegen": "Refused: 2 of 8 configs fit"}


def test_a_peer_that_fails_costs_only_the_peer(tmp_path, planted, monkeypatch):
    def on_case(path: str) -> None:
        if "tutorial" in path:
            raise BadInput("the reference: out of memory")

    def fault(subject: Subject, case: Case, promise: str) -> str | None:
        return "No module named 'helion'" if subject.label == "helion" else None

    def not_compiled(path: Path, problem: object, turn_to: object) -> None:
        raise BadInput(f"{path.name}: importing it failed")

    planted(Planted(on_case, fault=fault))
    monkeypatch.setattr(side_by_side, "compile_file", not_compiled)
    run("gemm-bf16-nn-4096", "--json", tmp_path / "b.json")
    (case,) = known(tmp_path / "b.json").values()
    assert case["speedup"] == pytest.approx(1.5, rel=0.01)
    assert case["skipped"] == {
        "tutorial": "the reference: out of memory",
        "helion": "No module named 'helion'",
    }


def test_a_run_that_is_cut_off_keeps_what_it_measured_and_goes_on_there(tmp_path, planted):
    def cut_off(path: str) -> None:
        if "512" in path:
            raise KeyboardInterrupt

    files = ("--json", tmp_path / "b.json", "--markdown", tmp_path / "b.md")
    planted(Planted(cut_off))
    assert run("small-128", "small-256", "small-512", *files) != 0
    assert list(known(tmp_path / "b.json")) == SMALL[:2]
    assert SMALL[1] in (tmp_path / "b.md").read_text()
    again = planted(Planted())
    assert run("small-128", "small-256", "small-512", *files) == 0
    assert len(again.checked) == CONFIGS  # of the third
    assert list(known(tmp_path / "b.json")) == SMALL
    assert all(name in (tmp_path / "b.md").read_text() for name in SMALL)
    once_more = planted(Planted())
    assert run("small-128", *files) == 0
    assert once_more.checked == []
    assert list(known(tmp_path / "b.json")) == SMALL  # what is there stays


def change_nothing(case: dict) -> None:
    pass


def change_the_kernel(case: dict) -> None:
    case["kernel"] = "another"


def leave_it_untimed(case: dict) -> None:
    case["ours"] = None


AGAIN = {
    "nothing has changed": (change_nothing, (), 0),
    "fewer rounds would do": (change_nothing, ("--quick",), 0),
    "the kernel is rendered in another way": (change_the_kernel, (), CONFIGS),
    "it could not be timed": (leave_it_untimed, (), CONFIGS),
}


@pytest.mark.parametrize(("change", "options", "checks"), AGAIN.values(), ids=list(AGAIN))
def test_what_is_measured_again(change, options, checks, tmp_path, planted):
    path = tmp_path / "b.json"
    planted(Planted())
    run("small-512", "--json", path)
    data = json.loads(path.read_text())
    change(data["cases"][0])
    path.write_text(json.dumps(data))
    bench = planted(Planted())
    run("small-512", "--json", path, *options)
    assert len(bench.checked) == checks


def test_a_quick_runs_figures_do_not_stand_for_a_whole_runs(tmp_path, planted):
    for options, checks in ((("--quick",), CONFIGS), ((), CONFIGS), (("--quick",), 0)):
        bench = planted(Planted())
        run("small-512", "--json", tmp_path / "b.json", *options)
        assert len(bench.checked) == checks


def told(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("codegen: ")
    assert err.count("\n") == 1
    return err


def test_figures_of_another_machine_are_not_added_to(tmp_path, planted, capsys):
    path = tmp_path / "b.json"
    planted(Planted())
    run("small-128", "--json", path)
    data = json.loads(path.read_text())
    data["machine"]["uuid"] = "another GPU of the same kind"
    path.write_text(json.dumps(data))
    assert run("small-128", "--json", path) == 0
    data["machine"]["triton"] = "3.9"
    path.write_text(json.dumps(data))
    capsys.readouterr()
    assert run("small-128", "--json", path) == 2
    assert "Triton 3.9, which is not what is here: name another file" in told(capsys)
    assert json.loads(path.read_text()) == data


@pytest.mark.parametrize("option", ["--json", "--markdown", "--svg"])
def test_a_place_that_cannot_be_written_to_is_found_out_first(option, tmp_path, planted, capsys):
    bench = planted(Planted())
    assert run("small-128", option, tmp_path / "nowhere" / "b") == 2
    assert "can't write there" in told(capsys)
    assert bench.checked == []


@pytest.mark.parametrize("text", ["{", "[]", '{"cases": 3}'])
def test_a_file_that_is_no_benchmark_is_left_alone(text, tmp_path, planted, capsys):
    path = tmp_path / "b.json"
    path.write_text(text)
    planted(Planted())
    assert run("small-128", "--json", path) == 2
    assert "can't be added to" in told(capsys)
    assert path.read_text() == text


def test_without_a_gpu_it_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(here, "name_here", lambda: None)
    assert run("--quick") == 2
    assert "bench needs a GPU" in told(capsys)


def test_a_name_that_no_case_has_is_one_line(capsys):
    assert run("tensor", "cores") == 2
    assert "no case is named tensor or cores" in told(capsys)


def test_a_gpu_that_is_not_known_is_one_line(planted, capsys):
    bench = planted(Planted())
    bench.machine = lambda: replace(MACHINE, gpu="NVIDIA H300")  # type: ignore[method-assign]
    assert run("small-128") == 2
    assert "NVIDIA H300 is not among the GPUs that codegen knows" in told(capsys)


def test_cases_are_listed_without_a_gpu(capsys):
    assert run("--list", "trimm-tf32") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"trimm-tf32-{n:<29} torch.tril(A @ B)" for n in (2048, 4096, 8192)
    ]


def test_rows_run_with_the_real_check_in_the_interpreter(tmp_path):
    """A case of each form, shrunk: only the clock is missing."""
    wanted = [
        "gemm-fp16-nt-2048x4096x8192",
        "gemm-float32-tn-2048x2048x2048",
        "trimm-bf16-4096",
        "kernelbench-10",
        "epilogue-nt-4096",
        "float8-nt-8192",
    ]
    small = []
    for case in cases():
        if case.name in wanted:
            p = case.problem
            sides = {"m": 144, "n": 144 if p.triangle else 80, "k": 144 if p.triangle else 96}
            small.append(replace(case, problem=replace(p, **sides, batch=p.batch and (2,))))
    assert len(small) == len(wanted)
    with Device(interpreted=find_gpu("h200")) as device:
        outcomes = list(side_by_side.measure(small, device, tmp_path, rounds=1, ahead=False))
    for outcome in outcomes:
        reasons = {label: why for label, why in outcome.skipped if label.startswith("codegen")}
        configs, *_ = choose(outcome.case.problem, find_gpu("h200")).values()
        assert len(reasons) == len(configs), outcome.case.name
        assert set(reasons.values()) == {"the interpreter says nothing of speed"}
