"""`retune --measure` on planted answers: what is timed, what is chosen, what is written."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from planted_bench import PlantedBench

from codegen.gpu import find_gpu
from codegen.inputs import parse_inputs
from codegen.measured import retune_measured
from codegen.question import Question
from codegen.sites import find_sites
from codegen.stage import DEFAULT_STAGE
from codegen.toolchain import UserFile

SCALE = Path(__file__).parent / "cases" / "files" / "scale.py"


def question(*more: str, **fields) -> Question:
    return Question(
        file=UserFile("scale.py", SCALE),
        code=SCALE.read_bytes(),
        gpu=find_gpu("h200"),
        inputs=parse_inputs("float32[1000000]"),
        more_inputs=tuple(map(parse_inputs, more)),
        reference="x * 3",
        stage=replace(DEFAULT_STAGE, num_warps=(2, 4), num_stages=(3,)),  # few: each is compiled
        **fields,
    )


def quiet(step: str, done: int, total: int) -> None:
    pass


@cache
def configs(code: bytes):
    return find_sites(code)[0].configs


def knobs(subject) -> tuple[int, int]:
    """(BLOCK, num_warps) of what a subject runs, whichever file it is in."""
    (choice,) = subject.choices
    return configs(subject.path.read_bytes())[choice.config].meta[0][1], choice.num_warps


def planted(times=None, otherwise=100.0):
    """Microseconds by (BLOCK, num_warps), or by (BLOCK, num_warps, elements)."""

    def speed(subject, case):
        if subject.baseline:
            return 90.0
        key = knobs(subject)
        (size,) = case.inputs[0].shape
        return (times or {}).get((*key, size), (times or {}).get(key, otherwise))

    return speed


def test_the_fastest_neighbour_is_added_and_the_originals_stay():
    bench = PlantedBench(planted({(256, 2): 50.0, (128, 4): 80.0}))
    done = retune_measured(question(), bench, quiet)
    (site,) = done.report.sites
    assert [row.status for row in site.rows[:3]] == ["kept"] * 3
    assert site.rows[3].config.warps == 2 and dict(site.rows[3].config.meta) == {"BLOCK": 256}
    assert site.rows[3].reason.startswith("#1 with warps 4 → 2; 50 µs")
    assert done.acceptance.verdict.faster
    assert done.report.verdict.startswith("right and faster: 1.6")
    assert configs(done.code)[:3] == configs(SCALE.read_bytes())
    assert b"# small" in done.code
