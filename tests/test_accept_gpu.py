"""Planted kernels on the GPU of this machine: the bad ones refused, each for its own reason, and the good ones not.

Run by hand on a machine with one: `python -m pytest -n 0 -m gpu tests/test_accept_gpu.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
from accept_cases import FOLDER, ROOT, Planted, planted, read

from codegen.evidence import Subject
from codegen.fitting import forward_inputs
from codegen.gpu import find_gpu
from codegen.inputs import describe
from codegen.measure import Device
from codegen.outcome import PRUNED
from codegen.precision import promise_of
from codegen.problem import Problem
from codegen.render import choose, render

pytestmark = pytest.mark.gpu

BAD = [case for case in planted("bad") if not case.against and case.where != "race"]
CHEATS = [
    read(FOLDER / "bad" / f"{name}.py")
    for name in ("returns_a_kept_result", "on_a_stream_of_its_own", "idle_once_it_was_called_often")
]
RENDERED = Planted(
    ROOT / "generated" / "gemm_tt_float32_h200.py",
    "float32[8192,2048] float32[4096,8192]",
    "A.T @ B.T",
)
GOOD = [*planted("good"), RENDERED]
ALIGNED = planted("aligned")


@pytest.fixture(scope="module")
def bench() -> Iterator[Device]:
    with Device() as device:
        yield device


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.path.stem)
def test_a_bad_kernel_is_refused_for_its_own_reason(case: Planted, bench: Device) -> None:
    checkups = bench.check(
        case.subjects(), case.cases(given=True), case.against_reference, case.promise
    )
    faults = {index: checkup.fault for index, checkup in enumerate(checkups) if checkup.fault}
    print(*faults.values(), sep="\n")
    assert tuple(faults) == case.wrong
    for fault in faults.values():
        assert re.search(case.expect, fault)


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.path.stem)
def test_a_good_kernel_is_right_ten_times_out_of_ten(case: Planted, bench: Device) -> None:
    for seed in range(0, 20, 2):
        cases = case.cases(given=True, seed=seed)
        checkups = bench.check(case.subjects(), cases, case.against_reference, case.promise)
        assert [checkup.fault for checkup in checkups] == [None] * len(checkups)
        assert all(finding.refused is None for each in checkups for finding in each.findings)
        if "atomics" not in case.path.stem:
            assert all(checkup.repeatable for checkup in checkups)


@pytest.mark.parametrize("case", ALIGNED, ids=lambda case: case.path.stem)
def test_a_kernel_for_aligned_sizes_alone_is_right_on_those(case: Planted, bench: Device) -> None:
    checkups = bench.check(
        case.subjects(), case.cases(given=True), case.against_reference, case.promise
    )
    for checkup in checkups:
        assert checkup.fault is None
        refused = [finding.refused for finding in checkup.findings]
        assert refused[:2] == [None, None] and "takes no such inputs" in str(refused[2])


@pytest.mark.parametrize("case", planted("pruned"), ids=lambda case: case.path.stem)
def test_a_config_is_neither_judged_nor_timed_where_its_file_prunes_it(
    case: Planted, bench: Device
) -> None:
    cases, subjects = case.cases(given=True), case.subjects()
    checkups = bench.check(subjects, cases, case.against_reference, case.promise)
    assert [checkup.fault for checkup in checkups] == [None] * len(checkups)
    first = [checkup.findings[0].refused for checkup in checkups]
    assert first == [PRUNED, PRUNED, None, None]
    race = bench.race(subjects, cases[0], 5, case.against_reference, case.promise)
    assert race.labels == tuple(subject.label for subject in subjects[2:])
    assert all(PRUNED in why for _, why in race.failures)


@pytest.mark.parametrize("says", ["by its promise", "by a reference that casts up"])
@pytest.mark.parametrize(("m", "k"), [(2048, 8192), (2048, 65536), (16, 65536)])
def test_a_wide_result_is_right_in_long_sums(
    m: int, k: int, says: str, tmp_path: Path, bench: Device
) -> None:
    """Held to float32: what tensor cores lose in a sum must be within eight times what the library's lose there."""
    case = wide(tmp_path, m, 2048, k)
    if "reference" in says:
        cast_up = re.sub(r"\b[AB]\b", r"\g<0>.float()", case.reference)
        case = replace(case, reference=cast_up, promise="ieee")
    checkups = bench.check(
        case.subjects(), case.cases(given=True), case.against_reference, case.promise
    )
    for checkup in checkups:
        worst = max(checkup.findings, key=lambda finding: finding.relative_error / finding.bound)
        print(checkup.label, worst)
    assert [checkup.fault for checkup in checkups] == [None] * len(checkups)


def wide(folder: Path, m: int, n: int, k: int) -> Planted:
    """A rendered product of bfloat16 matrices that is float32."""
    problem = Problem("gemm", m, n, k, layout="nt", dtype="bfloat16", out_dtype="float32")
    gpu = find_gpu("h200")
    path = folder / "wide.py"
    path.write_text(render(problem, gpu, choose(problem, gpu)))
    inputs = " ".join(describe(forward_inputs(problem)))
    return Planted(path, inputs, problem.reference, promise_of(problem))


def test_three_percent_more_work_shows_and_the_same_work_does_not(bench: Device) -> None:
    slower = read(FOLDER / "bad" / "slower_by_3_percent.py")
    assert slower.against
    original = Subject("original", FOLDER / slower.against)
    subjects = [original, replace(original, label="again"), Subject("slower", slower.path)]
    race = bench.race(
        subjects, slower.cases(given=True)[0], 40, slower.against_reference, slower.promise
    )
    assert race.failures == ()

    def ratio(label: str) -> float:
        pairs = zip(race.samples_us(label), race.samples_us("original"), strict=True)
        return median(mine / theirs for mine, theirs in pairs)

    print(f"again {ratio('again'):.4f}, slower {ratio('slower'):.4f}, {race.method}")
    assert abs(ratio("again") - 1) < 0.005
    assert 1.015 < ratio("slower") < 1.045


@pytest.mark.parametrize("case", CHEATS, ids=lambda case: case.path.stem)
def test_what_cheats_gains_nothing_in_a_race(case: Planted, bench: Device) -> None:
    race = bench.race(
        [Subject("cheat", case.path), Subject("eager", baseline="eager")],
        case.cases(given=True)[0],
        150,
        case.against_reference,
        case.promise,
    )
    print(race.failures)
    assert race.labels == ("eager",)
    assert dict(race.failures)["cheat"].startswith("its timed call is not right")
