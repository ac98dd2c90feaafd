"""`retune --measure` on planted answers: what is checked and timed, what is chosen, what is written."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from fake_compiler import FakeCompiler, distinct
from planted_bench import PlantedBench

from codegen import measured
from codegen.gpu import find_gpu
from codegen.inputs import parse_inputs
from codegen.journal import Journal
from codegen.journaled import Journaled
from codegen.keep import dossier_of
from codegen.measured import retune_measured
from codegen.outcome import PRUNED, BadInput
from codegen.question import Question
from codegen.sites import find_sites
from codegen.toolchain import UserFile

SCALE = Path(__file__).parent / "cases" / "files" / "scale.py"
CODE = SCALE.read_bytes()
ORIGINALS = {(128, 4), (256, 4), (512, 8)}  # (BLOCK, num_warps)


@pytest.fixture(autouse=True)
def compiler(monkeypatch):
    class Compiler(FakeCompiler):
        pass

    monkeypatch.setattr(measured, "Compiler", Compiler)
    return Compiler


def question(*more: str, **fields) -> Question:
    return Question(
        file=UserFile("scale.py", SCALE),
        code=CODE,
        gpu=find_gpu("h200"),
        inputs=parse_inputs("float32[1000000]"),
        more_inputs=tuple(map(parse_inputs, more)),
        reference="x * 3",
        **fields,
    )


def quiet(step: str, done: int, total: int) -> None:
    pass


def retune(bench, *more: str, **fields):
    return retune_measured(question(*more, **fields), bench, quiet)


@cache
def configs(code: bytes):
    return find_sites(code)[0].configs


def knobs(subject) -> tuple[int, int, int]:
    """(BLOCK, num_warps, num_stages) of what a subject runs, whichever file it is in."""
    (choice,) = subject.choices
    block = configs(subject.path.read_bytes())[choice.config].meta[0][1]
    return block, choice.num_warps, choice.num_stages


def planted(times, otherwise=100.0):
    """Microseconds by (BLOCK, num_warps, num_stages); or by those and the elements of the first input."""

    def speed(subject, case):
        if subject.baseline:
            return 90.0
        key = knobs(subject)
        return times.get((*key, case.inputs[0].shape[0]), times.get(key, otherwise))

    return speed


def wrong(*which, purpose=None, promise=None):
    """A fault for subjects with these (BLOCK, num_warps, num_stages), or that begin so."""

    def fault(subject, case, promised):
        hit = any(knobs(subject)[: len(key)] == key for key in which)
        there = purpose in (None, case.purpose) and promise in (None, promised)
        return "relative error 0.5" if hit and there else None

    return fault


def added(done) -> list[tuple[int, int, int]]:
    rows = [row for site in done.report.sites for row in site.rows if row.status == "added"]
    return [(dict(row.config.meta)["BLOCK"], row.config.warps, row.config.stages) for row in rows]


def passed_over(done, key):
    (site,) = done.report.sites
    for row in site.passed_over:
        if (dict(row.config.meta)["BLOCK"], row.config.warps, row.config.stages) == key:
            return row
    raise AssertionError(f"{key} was not tried")


def test_what_the_file_prunes_is_neither_timed_nor_added_and_originals_stay():
    def stands(subject, case):
        return not subject.path or (knobs(subject)[0] != 512 and knobs(subject)[1] != 2)

    times = {(512, 8, 3): 1.0, (256, 2, 3): 2.0, (256, 8, 3): 50.0}

    def speed(subject, case):
        assert stands(subject, case), "what is pruned is not timed"
        return planted(times)(subject, case)

    done = retune(PlantedBench(speed, launched=stands, refused=PRUNED))
    (site,) = done.report.sites
    assert [row.status for row in site.rows[:3]] == ["kept"] * 3
    assert site.rows[2].reason == f"original; {PRUNED}" and site.rows[2].times_us == (None,)
    assert added(done)[0] == (256, 8, 3)
    assert passed_over(done, (256, 2, 3)).reason == PRUNED


def test_what_the_file_prunes_stays_when_fewer_are_asked_for():
    def stands(subject, case):
        return not subject.path or knobs(subject)[0] != 512

    bench = PlantedBench(planted({(256, 4, 3): 50.0}), launched=stands, refused=PRUNED)
    done = retune(bench, max_configs=2)
    (site,) = done.report.sites
    assert [row.status for row in site.rows] == ["dropped", "kept", "kept"]


def test_the_fastest_is_added_and_the_originals_stay():
    done = retune(PlantedBench(planted({(256, 2, 3): 50.0, (512, 4, 4): 60.0, (128, 4, 3): 80.0})))
    (site,) = done.report.sites
    assert [row.status for row in site.rows[:3]] == ["kept"] * 3
    assert added(done)[:2] == [(256, 2, 3), (512, 4, 4)]
    assert len(site.rows) == 6
    assert site.rows[3].reason == "#1 with warps 4 → 2; 50 µs"
    assert done.acceptance.verdict.faster
    assert done.report.verdict.startswith("right and faster: 1.6")
    assert configs(done.code)[:3] == configs(CODE)
    assert b"# small" in done.code
    assert "36 of 36 configs timed on the NVIDIA H200" in done.report.verdict


def test_every_neighbour_the_rules_allow_is_timed():
    bench = PlantedBench(planted({}))
    retune(bench)
    tried = {
        (choice.config, choice.num_warps, choice.num_stages) for _, (choice,), _ in bench.checked
    }
    assert tried == {(i, w, s) for i in range(3) for w in (2, 4, 8, 16) for s in (2, 3, 4)}


@pytest.mark.parametrize(
    "times",
    [{}, {(256, 2, 3): 99.9}, {(128, 4, 3): 50.0}],
    ids=[
        "all as fast",
        "a neighbour faster by less than can be resolved",
        "an original is fastest",
    ],
)
def test_what_gains_nothing_leaves_the_file_as_it_was(times):
    done = retune(PlantedBench(planted(times)))
    assert done.code == CODE
    assert added(done) == []
    assert done.report.verdict.startswith("gains nothing: ")


def test_where_an_original_is_fastest_no_other_list_is_tried():
    done = retune(PlantedBench(planted({(128, 4, 3): 50.0})))
    assert done.acceptance is None


def test_a_wrong_original_goes_though_it_is_the_fastest():
    bench = PlantedBench(planted({(256, 4, 3): 10.0}), wrong((256,)))
    done = retune(bench)
    (site,) = done.report.sites
    assert [row.status for row in site.rows[:3]] == ["kept", "dropped", "kept"]
    assert site.rows[1].reason.startswith("relative error 0.5")
    assert (256, 4) not in {(dict(c.meta)["BLOCK"], c.warps) for c in configs(done.code)}
    assert all("#1" not in name for names, _ in bench.raced for name in names if "original" in name)
    assert done.acceptance.verdict.accepted


def test_a_neighbour_wrong_only_on_a_closer_look_is_replaced_by_the_next():
    bench = PlantedBench(
        planted({(256, 2, 3): 50.0, (512, 4, 4): 60.0}), wrong((256, 2, 3), purpose="ragged")
    )
    done = retune(bench)
    assert added(done)[0] == (512, 4, 4)
    assert passed_over(done, (256, 2, 3)).reason.startswith("relative error 0.5")


def test_equal_machine_code_is_timed_once(compiler):
    compiler.binary = staticmethod(lambda config, warps, stages: f"{config.meta} {warps}")
    bench = PlantedBench(planted({(256, 2, 2): 50.0, (256, 2, 3): 50.0, (256, 2, 4): 50.0}))
    done = retune(bench)
    assert len({label for label, _, _ in bench.checked if "candidate" not in label}) == 12
    assert added(done)[0] == (256, 2, 2)
    assert passed_over(done, (256, 2, 3)).reason.startswith("the same machine code as neighbour #")


@pytest.mark.parametrize(
    ("code", "why"), [("too much", "cannot launch"), (None, "does not compile")]
)
def test_what_cannot_run_is_neither_checked_nor_timed(compiler, code, why):
    real = compiler.binary
    compiler.binary = staticmethod(
        lambda config, warps, stages: code if warps == 2 else real(config, warps, stages)
    )
    bench = PlantedBench(planted({(256, 2, 3): 50.0, (256, 8, 3): 60.0}))
    done = retune(bench)
    assert all(choice.num_warps != 2 for _, (choice,), _ in bench.checked)
    assert added(done)[0] == (256, 8, 3)
    assert passed_over(done, (256, 2, 3)).reason.startswith(why)


def test_the_fastest_for_each_set_of_inputs_is_added():
    times = {(256, 2, 3, 1000000): 50.0, (512, 16, 4, 64): 50.0}
    done = retune(PlantedBench(planted(times)), "float32[64]")
    assert {(256, 2, 3), (512, 16, 4)} <= set(added(done))
    (site,) = done.report.sites
    assert all(len(row.times_us) == 2 for row in site.rows)
    assert [timed.case.inputs[0].shape for timed in done.acceptance.races] == [(1000000,), (64,)]


def test_a_list_that_is_faster_on_one_set_and_no_slower_on_the_other_is_written():
    done = retune(PlantedBench(planted({(256, 2, 3, 64): 50.0})), "float32[64]")
    assert done.acceptance.verdict.faster
    assert added(done)[0] == (256, 2, 3)


def test_what_computes_in_tf32_is_held_to_tf32():
    done = retune(PlantedBench(planted({(256, 2, 3): 50.0}), wrong((), promise="ieee")))
    assert done.acceptance.terms.promise == "tf32"
    assert added(done)[0] == (256, 2, 3)
    assert any("TF32" in note for note in done.report.notes)


def test_what_keeps_float32_gets_no_neighbour_that_does_not():
    bench = PlantedBench(planted({(256, 2, 3): 50.0}), wrong((256, 2, 3), promise="ieee"))
    done = retune(bench)
    assert (256, 2, 3) not in added(done)
    assert {promise for _, _, promise in bench.checked} == {"ieee"}


def test_a_kernel_for_whole_tiles_is_accepted_on_whole_tiles():
    bench = PlantedBench(planted({(256, 2, 3): 50.0}), wrong((), purpose="ragged"))
    done = retune_whole(bench)
    assert added(done)[0] == (256, 2, 3)
    assert "ragged" not in {case.purpose for case in done.acceptance.cases}


def retune_whole(bench):
    asked = replace(question(), inputs=parse_inputs("float32[1048576]"))
    return retune_measured(asked, bench, quiet)


def test_ragged_sizes_count_where_the_given_ones_are_ragged():
    bench = PlantedBench(planted({(256, 2, 3): 50.0}), wrong((), purpose="ragged"))
    with pytest.raises(BadInput, match="no config of scale_kernel is right"):
        retune(bench)


def test_a_file_with_no_right_config_is_refused():
    with pytest.raises(BadInput, match="no config of scale_kernel is right"):
        retune(PlantedBench(planted({}), wrong(())))


def test_max_configs_drops_the_slowest():
    done = retune(PlantedBench(planted({(256, 2, 3): 50.0, (512, 8, 3): 70.0})), max_configs=2)
    (site,) = done.report.sites
    assert [row.status for row in site.rows] == ["dropped", "dropped", "kept", "added"]
    assert site.rows[0].reason.startswith("beyond 2 configs: slower than those kept")


def test_a_second_run_measures_nothing_and_writes_the_same(tmp_path):
    times = {(256, 2, 3): 50.0, (512, 4, 4): 60.0}
    found = []
    for _ in range(2):
        bench = PlantedBench(planted(times))
        with Journal(tmp_path / "journal.sqlite") as journal:
            found.append((retune(Journaled(bench, journal)), bench))
    (first, asked), (second, idle) = found
    assert asked.checked and asked.raced
    assert not idle.checked and not idle.raced
    assert second.code == first.code
    assert second.report == first.report


def test_a_run_that_is_stopped_anywhere_goes_on_where_it_was(tmp_path):
    """Stopped after 1, 2, 3, ... more answers, as by Ctrl-C, until it comes to its end."""
    times = {(256, 2, 3): 50.0, (512, 4, 4): 60.0}
    undisturbed = retune(PlantedBench(planted(times)))
    total, runs, done = 0, 0, None
    while done is None:
        runs += 1
        bench = Stopping(planted(times), left=runs)
        with Journal(tmp_path / "journal.sqlite") as journal:
            try:
                done = retune(Journaled(bench, journal))
            except KeyboardInterrupt:
                assert len(bench.checked) + len(bench.raced) == runs + 1
        total += len(bench.checked) + len(bench.raced)
    whole = PlantedBench(planted(times))
    retune(whole)
    assert runs > 5
    # A stop loses the one answer that was under way, and no other is asked for twice.
    assert total - (runs - 1) <= len(whole.checked) + len(whole.raced)
    assert done.code == undisturbed.code


def test_an_original_that_does_not_compile_is_in_the_evidence_with_its_reason(compiler):
    def binary(config, warps, stages):
        return None if warps == 8 else distinct(config, warps, stages)

    compiler.binary = staticmethod(binary)
    done = retune(PlantedBench(planted({(256, 2, 3): 50.0})))
    assert done.code != CODE
    dossier = dossier_of(done.acceptance)
    assert len(dossier.original.entries) == 3
    assert dossier.original.entries[2].checkup.fault == "does not compile: no such instruction"


class Stopping(PlantedBench):
    """Stops the program in the middle of its answer number `left`."""

    def __init__(self, speed, left):
        super().__init__(speed)
        self._left = left

    def _answer(self):
        if not self._left:
            raise KeyboardInterrupt
        self._left -= 1

    def check(self, *args, **kwargs):
        found = super().check(*args, **kwargs)
        self._answer()
        return found

    def race(self, *args, **kwargs):
        found = super().race(*args, **kwargs)
        self._answer()
        return found
