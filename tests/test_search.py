"""`render --measure` on planted answers: what is tried, what is chosen, what is written."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from functools import cache

import pytest
from fake_compiler import FakeCompiler
from planted_bench import MACHINE, PlantedBench

from codegen import benches, search
from codegen.cli import main
from codegen.families import find_family
from codegen.final import CONTROL
from codegen.gpu import find_gpu
from codegen.outcome import Refused
from codegen.problem import Problem
from codegen.record import Record
from codegen.sites import find_sites
from codegen.spec import Wanted
from codegen.toolchain import Launches

H200 = find_gpu("h200")
DENSE = Problem("gemm", 2048, 4096, 8192, dtype="bfloat16")
TMA, POINTER = "gemm_tma_kernel", "gemm_kernel"
CANDIDATES = {
    kernel: [one.config for one in candidates]
    for kernel, candidates in find_family("gemm").form(DENSE, H200).kernels.items()
}


class TwoKernels(FakeCompiler):
    """Sizes of whole 16 bytes launch the kernel on descriptors, others the one on pointers."""

    def launches(self, problem, inputs):
        known = getattr(self, "_known", ())
        aligned = all(size % 8 == 0 for spec in inputs for size in spec.shape)
        self._known = tuple(dict.fromkeys((*known, self._sites[0 if aligned else 1])))
        # As the compiling child numbers them: in the order in which they were first launched.
        sites = tuple(replace(site, index=place) for place, site in enumerate(self._known))
        return Launches(sites, tuple(inputs))

    def turn_to(self, source):
        super().turn_to(source)
        self._known = ()

    def stream(self, jobs, on_done=None):
        self._all, self._sites = self._sites, self._known
        try:
            yield from super().stream(jobs, on_done)
        finally:
            self._sites = self._all


@pytest.fixture(autouse=True)
def compiler(monkeypatch):
    class Compiler(TwoKernels):
        pass

    monkeypatch.setattr(search, "Compiler", Compiler)
    return Compiler


def quiet(step: str, done: int, total: int) -> None:
    pass


def knobs(config) -> tuple:
    return (config.meta, config.warps, config.stages)


def on_trial(subject):
    """The kernel and the config that a subject is there for."""
    choice = subject.choices[0]
    return choice.kernel, configs(subject.path.read_bytes())[choice.kernel][choice.config]


@cache
def configs(code: bytes):
    return {site.kernel: site.configs for site in find_sites(code)}


def is_launched(subject, case) -> bool:
    if subject.baseline:
        return True
    aligned = all(size % 8 == 0 for spec in case.inputs for size in spec.shape)
    return on_trial(subject)[0] == (TMA if aligned else POINTER)


def bench_of(times, otherwise=500.0, fault=None):
    """Microseconds by kernel and place among the candidates; or by those and M."""

    def speed(subject, case):
        if subject.baseline:
            return 300.0
        kernel, config = on_trial(subject)
        place = [knobs(one) for one in CANDIDATES[kernel]].index(knobs(config))
        m = case.inputs[0].shape[0]
        return times.get((kernel, place, m), times.get((kernel, place), otherwise + place))

    def wrong(subject, case, promise):
        if fault is None or subject.baseline:
            return None
        kernel, config = on_trial(subject)
        place = [knobs(one) for one in CANDIDATES[kernel]].index(knobs(config))
        return "relative error 0.5" if fault(kernel, place, case) else None

    return PlantedBench(speed, wrong, is_launched)


def found(bench, *more: Problem):
    return search.search(Wanted(DENSE, H200, more_shapes=more), bench, quiet)


def test_every_candidate_of_every_kernel_is_timed_and_the_fastest_six_are_written_fastest_first():
    bench = bench_of({(TMA, 9): 90.0, (TMA, 4): 95.0, (POINTER, 11): 80.0})
    done = found(bench)
    assert list(done.spec.configs) == [TMA, POINTER]
    for kernel, first in ((TMA, [9, 4, 0, 1, 2, 3]), (POINTER, [11, 0, 1, 2, 3, 4])):
        assert done.spec.configs[kernel] == tuple(CANDIDATES[kernel][place] for place in first)
    every = sum(map(len, CANDIDATES.values()))
    assert f"{every} of {every} candidates timed on the NVIDIA H200" in done.report.verdict


def test_the_kernel_for_other_sizes_is_timed_on_sizes_that_launch_it():
    bench = bench_of({})
    found(bench)
    timed = {s.choices[0].kernel: case for s, case in bench.timed if not s.baseline}
    assert timed[TMA].inputs[0].shape == (2048, 8192)
    assert timed[POINTER].inputs[0].shape == (2049, 8193)


def test_it_is_measured_against_the_library_which_binds_nobody():
    bench = bench_of({(TMA, 9): 400.0})
    done = found(bench)
    labels, _ = bench.raced[-1]
    assert set(labels) == {f"candidate {TMA} #0", "eager"} and CONTROL not in labels
    assert done.acceptance.verdict.accepted and done.acceptance.verdict.slower
    assert done.report.verdict.startswith("right, 0.75")
    assert "times eager's speed" in done.report.verdict


def test_a_wrong_candidate_is_not_written_though_it_is_the_fastest():
    bench = bench_of(
        {(TMA, 9): 90.0}, fault=lambda kernel, place, case: (kernel, place) == (TMA, 9)
    )
    done = found(bench)
    assert CANDIDATES[TMA][9] not in done.spec.configs[TMA]
    (row,) = [
        row
        for row in done.report.sites[0].passed_over
        if knobs(row.config) == knobs(CANDIDATES[TMA][9])
    ]
    assert (row.status, row.reason) == ("dropped", "relative error 0.5")


def test_one_that_is_wrong_only_on_a_closer_look_makes_room_for_the_next():
    def fault(kernel, place, case):
        return (kernel, place) == (TMA, 9) and case.purpose == "special"

    done = found(bench_of({(TMA, 9): 90.0, (TMA, 4): 95.0}, fault=fault))
    assert done.spec.configs[TMA][0] == CANDIDATES[TMA][4]
    assert CANDIDATES[TMA][9] not in done.spec.configs[TMA]


def test_equal_machine_code_takes_one_place_in_the_list(compiler):
    compiler.binary = staticmethod(lambda config, warps, stages: f"{config.meta} {warps}")
    done = found(bench_of({}))
    listed = [(config.meta, config.warps) for config in done.spec.configs[TMA]]
    assert len(set(listed)) == len(listed)


def test_the_fastest_for_each_shape_is_written():
    small = replace(DENSE, m=256)
    done = found(bench_of({(TMA, 9): 90.0, (TMA, 10, 256): 20.0}), small)
    assert done.spec.configs[TMA][:2] == (CANDIDATES[TMA][9], CANDIDATES[TMA][10])
    assert [timed.case.inputs[0].shape for timed in done.acceptance.races] == [
        (2048, 8192),
        (256, 8192),
    ]


def test_under_three_right_candidates_are_refused():
    with pytest.raises(Refused, match=r"gemm_kernel: 2 of \d+ configs are right and run .* 0.5"):
        found(bench_of({}, fault=lambda kernel, place, case: kernel == POINTER and place > 1))


def test_what_is_wrong_only_in_the_last_race_is_not_written():
    class Cheated(PlantedBench):
        def race(self, subjects, *terms):
            race = super().race(subjects, *terms)
            if not any(subject.baseline for subject in subjects):
                return race
            ours = subjects[0].label
            return replace(race, failures=((ours, "its timed call is not right: kept"),))

    planted = bench_of({})
    with pytest.raises(Refused, match="its timed call is not right: kept: nothing is written"):
        found(Cheated(planted.speed, planted.fault, planted.launched))


@pytest.fixture
def gpu_here(monkeypatch):
    """An H200 in this machine, as far as the command sees."""

    @contextlib.contextmanager
    def planted():
        yield bench_of({(TMA, 9): 90.0})

    monkeypatch.setattr(benches, "gpu_here", lambda: H200)
    monkeypatch.setattr(benches, "on_this_gpu", planted)


ASKED = ["--gpu", "h200", "--dtype", "bfloat16", "--shape", "m=2048,n=4096,k=8192"]


def test_what_is_written_has_a_verdict_and_says_where_it_is_from(tmp_path, capsys, gpu_here):
    assert main(["render", "gemm", *ASKED, "-o", str(tmp_path)]) == 0
    path = tmp_path / "gemm_nn_bfloat16_h200.json"
    record = json.loads(path.read_text())
    assert record["verdict"]["accepted"] and record["verdict"]["faster"]
    provenance = record["provenance"]
    assert provenance["machine"]["gpu"] == MACHINE.gpu
    assert provenance["races"][0]["times_us"]["eager"] == pytest.approx(300, rel=0.01)
    assert provenance["configs"][0]["error"] <= provenance["configs"][0]["bound"]
    assert path.with_suffix(".evidence.html").is_file()
    assert main(["render", "--check", str(tmp_path)]) == 0
    assert "1 rendered, 0 different" in capsys.readouterr().err


def test_findings_stay_with_the_source_they_are_about(tmp_path, gpu_here):
    assert main(["render", "gemm", *ASKED, "-o", str(tmp_path)]) == 0
    path = tmp_path / "gemm_nn_bfloat16_h200.json"
    before = path.read_text()
    assert main(["render", str(path), "-o", str(tmp_path)]) == 0
    assert path.read_text() == before
    known = Record.read(path)
    fewer = {kernel: configs[:3] for kernel, configs in known.spec.configs.items()}
    path.write_text(replace(known, spec=replace(known.spec, configs=fewer)).text())
    assert main(["render", str(path), "-o", str(tmp_path)]) == 0
    assert json.loads(path.read_text())["verdict"] is None


def test_a_records_configs_are_found_anew_when_that_is_asked_for(tmp_path, gpu_here):
    assert main(["render", "gemm", *ASKED, "--no-verify", "-o", str(tmp_path)]) == 0
    path = tmp_path / "gemm_nn_bfloat16_h200.json"
    assert json.loads(path.read_text())["verdict"] is None
    assert main(["render", str(path), "--measure", "-o", str(tmp_path)]) == 0
    assert Record.read(path).spec.configs[TMA][0] == CANDIDATES[TMA][9]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--measure"], "--measure: there is no GPU here"),
        (["--shape", "m=1,n=1,k=1"], "several --shape can only be weighed by timing: there is no"),
        (["--measure", "--no-verify"], "--no-verify and --measure exclude each other"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(capsys, monkeypatch, options, why):
    monkeypatch.setattr(benches, "gpu_here", lambda: None)
    assert main(["render", "gemm", *ASKED, *options]) == 2
    out, err = capsys.readouterr()
    assert out == "" and why in err and err.count("\n") == 1
