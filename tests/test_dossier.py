"""The record of a verdict, the page made from it, and the figures drawn on the page."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
import sample_dossier
from hypothesis import given
from hypothesis import strategies as st

from codegen.dossier import Dossier, beside
from codegen.evidence import Case, Verdict
from codegen.fitting import forward_inputs
from codegen.inputs import parse_inputs
from codegen.outcome import BadInput
from codegen.page import page
from codegen.problem import Problem
from codegen.record import Record
from codegen.roofline import HEIGHT, WIDTH, Dot, roofline, spread
from codegen.verify import Against
from codegen.work import work_of
from codegen.workload import forward_names, works_of

GENERATED = Path(__file__).parents[1] / "generated"
SAMPLES = {
    "faster": sample_dossier.sample,
    "refused": sample_dossier.refused,
    "unmeasured": sample_dossier.unmeasured,
}


@pytest.mark.parametrize("made", SAMPLES.values(), ids=list(SAMPLES))
def test_a_record_is_read_back_as_it_was(made: Callable[[], Dossier], tmp_path: Path) -> None:
    dossier = made()
    path = beside(tmp_path / "kernel.py")
    path.write_text(dossier.text(), "utf-8")
    again = Dossier.read(path)
    assert path.name == "kernel.evidence.json"
    assert repr(again) == repr(dossier)  # NaN equals itself there
    assert again.text() == dossier.text()


def test_a_record_is_plain_json_with_every_sample_and_a_round_is_one_line() -> None:
    dossier = sample_dossier.sample()
    text = dossier.text()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    data = json.loads(text, parse_constant=refuse)
    race = dossier.contests[0].race
    assert race is not None
    assert data["contests"][0]["race"]["rounds_us"] == [list(row) for row in race.rounds_us]
    assert f"[{', '.join(map(repr, race.rounds_us[0]))}]" in text
    assert data["machine"]["uuid"] == "GPU-0badcafe"


def test_a_record_says_where_when_and_how() -> None:
    provenance = sample_dossier.sample().provenance()
    assert provenance["machine"]["triton"] == "3.6.0"
    assert provenance["date"] == "2026-11-21T15:04:05+00:00"
    assert "random order" in provenance["method"]
    assert "800 rounds" in provenance["statistics"]


UNREADABLE = {
    "no file": (None, "can't be read"),
    "not JSON": ("{", "not JSON"),
    "another JSON file": ("[1]", "not the evidence"),
    "a record of generated/": ('{"problem": {}, "gpu": "h200"}', "not the evidence"),
    "a later format": ('{"format": 99}', "of another format than 1"),
    "half of it": ('{"format": 1, "date": "today"}', "missing"),
}


@pytest.mark.parametrize(("text", "why"), UNREADABLE.values(), ids=list(UNREADABLE))
def test_what_is_no_record_gets_one_line(text: str | None, why: str, tmp_path: Path) -> None:
    path = tmp_path / "kernel.evidence.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadInput) as refused:
        Dossier.read(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


class Elements(HTMLParser):
    """The words of a page, and its elements, which must close in order."""

    EMPTY = ("meta", "br", "line", "rect", "circle", "polyline")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.mark.parametrize("made", SAMPLES.values(), ids=list(SAMPLES))
def test_the_page_needs_nothing_else(made: Callable[[], Dossier]) -> None:
    text = page(made())
    elements = Elements(text)
    assert {tag for tag, _ in elements.seen}.isdisjoint(
        {"script", "link", "img", "iframe", "object", "image", "use"}
    )
    assert not [
        name for _, found in elements.seen for name in found if name in ("src", "href", "srcset")
    ]
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.S)
    assert "url(" not in style
    assert "@import" not in style
    assert {"(prefers-color-scheme: dark)", "print"} <= set(
        re.findall(r"@media ([^{]+?) \{", style)
    )
    assert page(made()) == text


def test_the_page_shows_every_config_baseline_and_figure() -> None:
    dossier = sample_dossier.sample()
    text = Elements(page(dossier)).text
    assert dossier.original is not None
    for entry in (*dossier.candidate.entries, *dossier.original.entries):
        assert f"{entry.label} right" in text
        assert entry.config in text
        assert entry.resources is not None
        assert f"{entry.resources.shared_bytes:,}" in text
    for label in ("eager", "compile", "max-autotune", "original again"):
        assert label in text
    assert dossier.verdict.reason in text
    assert "out of memory: tried to allocate 12.00 GiB" in text
    assert "throttled: sw_power_cap (2 of 5 readings)" in text
    assert "tf32 494.7" in text
    assert "NVIDIA H200 Tensor Core GPU datasheet" in text
    assert "137.4 GFLOP (multiplications and additions of A.T @ B.T)" in text


def test_a_bar_is_as_long_as_its_time() -> None:
    dossier = sample_dossier.sample()
    text = page(dossier)
    first = text.partition("</section>")[0]
    times = [
        float(number) * (1000 if unit == "ms" else 1)
        for number, unit in re.findall(r'<span class="mono">([\d.]+) (ms|µs)</span>', first)
    ]
    bars = [float(width) for width in re.findall(r'<b style="width: ([\d.]+)%">', first)]
    assert len(times) == len(bars) == 11
    assert times == sorted(times)
    assert [bar / bars[0] for bar in bars] == pytest.approx([t / times[0] for t in times], rel=2e-3)


def test_the_page_of_a_refusal_says_why_and_leaves_out_what_is_not_known() -> None:
    text = Elements(page(sample_dossier.refused())).text
    assert "Refused candidate #1: elements never written, or memory read that nobody wrote" in text
    assert "cannot launch: shared memory 262,144 > 232,448" in text
    assert "No roofline: operations not known" in text
    assert "TFLOP/s" not in text.partition("Where and how")[0]


def test_the_page_without_a_gpu_shows_no_time() -> None:
    text = Elements(page(sample_dossier.unmeasured())).text
    assert "Accepted, not measured right in the interpreter, fits the GPU, not measured" in text
    assert "Not timed." in text
    assert " ms" not in text
    assert "none: compiled for h200" in text


def test_a_gpu_that_is_not_known_has_no_ceilings() -> None:
    dossier = replace(sample_dossier.sample(), gpu="NVIDIA Zeus")
    elements = Elements(page(dossier))
    assert not [found for tag, found in elements.seen if found.get("class") == "roof"]
    assert "tf32 494.7" not in elements.text
    assert "165" in elements.text  # the dots are there


def test_whatever_a_file_says_is_only_text() -> None:
    evil = "</p><script>alert(1)</script>"
    dossier = replace(
        sample_dossier.sample(), verdict=Verdict(False, False, evil), diff=f"+{evil}", notes=(evil,)
    )
    elements = Elements(page(dossier))
    assert "script" not in {tag for tag, _ in elements.seen}
    assert elements.text.count(evil) == 3


@given(
    st.lists(st.floats(-50, 500), min_size=1, max_size=40).map(sorted),
    st.floats(5, 30),
)
def test_labels_never_cover_each_other(wanted: list[float], gap: float) -> None:
    places = spread(wanted, 10.0, 360.0, gap)
    apart = min(gap, 350 / (len(wanted) - 1)) if len(wanted) > 1 else gap
    assert all(b - a >= apart - 1e-6 for a, b in pairwise(places))
    assert places[0] >= 10 - 1e-6
    assert places[-1] <= 360 + 1e-6


def test_labels_with_room_stay_where_their_dots_are() -> None:
    assert spread([50.0, 100.0, 200.0], 0, 300, 15) == [50.0, 100.0, 200.0]


INTENSITIES = {"far on the slope": 0.25, "at the bend": 13.9, "under the ceiling": 585.0}


@pytest.mark.parametrize("intensity", INTENSITIES.values(), ids=list(INTENSITIES))
def test_a_kernel_at_the_roof_is_drawn_on_it(intensity: float) -> None:
    ceiling, bandwidth = 66.9, 4800.0
    best = min(ceiling, intensity * bandwidth / 1000)
    drawn = roofline(
        intensity,
        [Dot("best", "candidate", best), Dot("half", "baseline", best / 2)],
        [("fp32", ceiling)],
        bandwidth,
    )
    at_roof, half = drawn.dots
    (line,) = [line for line in drawn.lines if line.x1 - 1e-6 <= at_roof.x <= line.x2 + 1e-6][:1]
    share = (at_roof.x - line.x1) / (line.x2 - line.x1)
    assert at_roof.y == pytest.approx(line.y1 + share * (line.y2 - line.y1))
    assert half.y > at_roof.y  # downwards
    for placed in drawn.dots:
        assert drawn.left < placed.x < placed.label_x < drawn.right
        assert drawn.top < placed.y < drawn.bottom
    for line in drawn.lines:
        assert min(line.x1, line.x2, line.y1, line.y2) >= 0
        assert max(line.x1, line.x2) <= WIDTH
        assert max(line.y1, line.y2) <= HEIGHT


def test_the_work_of_a_product_is_the_problems_own() -> None:
    problem = Problem("gemm", 2048, 4096, 8192, layout="tt")
    work = work_of(problem, parse_inputs("float32[8192,2048] float32[4096,8192]"))
    assert (work.flops, work.bytes_moved) == (2 * 2048 * 4096 * 8192, 4 * 58720256)
    assert work.units == ("fp32", "tf32")
    assert work.tflops(1000.0) == pytest.approx(137.44, rel=1e-4)
    assert work.gbs(1000.0) == pytest.approx(234.88, rel=1e-4)
    assert work.intensity == pytest.approx(585.1, rel=1e-3)


WORK = {
    "inputs of other dtypes": ("bfloat16[10,20] int64[5]", 440, ("bf16",)),
    "scalars are no traffic": ("float16[8] 3 True None", 16, ("fp16",)),
    "no tensor": ("3", None, ()),
}


@pytest.mark.parametrize(("inputs", "size", "units"), WORK.values(), ids=list(WORK))
def test_of_what_is_not_recognised_only_the_inputs_are_known(
    inputs: str, size: int | None, units: tuple[str, ...]
) -> None:
    work = work_of(None, parse_inputs(inputs))
    assert (work.flops, work.bytes_moved, work.units) == (None, size, units)
    assert (work.intensity, work.tflops(1.0)) == (None, None)
    assert work.flops_from.startswith("not known")


FILE = b"""
class Model:
    def forward(self, X): ...

class ModelNew:
    def __init__(self, scale): ...
    def forward(self, left, right, scale=1.0): ...
"""


def test_the_work_of_a_reference_expression_is_that_of_the_product_it_is() -> None:
    cases = [
        Case(parse_inputs(f"tril float32[{n},{n}] tril float32[{n},{n}] 1.0"), 0, "given")
        for n in (4096, 1024)
    ]
    works = works_of(cases, Against(reference="torch.tril(right @ left)"), FILE)
    assert [work.flops for work in works] == [
        Problem("trimm", n, n, n, triangle="lower").flops() for n in (4096, 1024)
    ]
    assert "torch.tril(A @ B)" in works[0].flops_from


@pytest.mark.parametrize(
    "name", ["gemm_tn_float8_e4m3fn_h200", "gemm_nn_bfloat16_batched_scale_residual_h200"]
)
def test_the_work_of_a_rendered_file_is_that_of_its_record(name: str) -> None:
    path = GENERATED / f"{name}.py"
    problem = Record.read(path.with_suffix(".json")).spec.problem
    case = Case(forward_inputs(problem), 0, "given")
    (work,) = works_of([case], Against(reference=problem.reference), path.read_bytes())
    assert (work.flops, work.bytes_moved) == (problem.flops(), problem.bytes_moved())


def test_the_work_of_what_is_no_product_stays_unknown() -> None:
    case = Case(parse_inputs("float32[64,64] float32[64,64] 1.0"), 0, "given")
    for reference in ("torch.softmax(left, -1)", "left @ nowhere", "left @"):
        (work,) = works_of([case], Against(reference=reference), FILE)
        assert (work.flops, work.bytes_moved) == (None, 2 * 64 * 64 * 4)


NAMES = {
    "the arguments of ModelNew.forward": (FILE, ("left", "right", "scale")),
    "no ModelNew": (b"class Model:\n    def forward(self, X): ...\n", ()),
    "no forward of its own": (b"class ModelNew(Base): ...\n", ()),
    "no Python": (b"class (", ()),
}


@pytest.mark.parametrize(("source", "names"), NAMES.values(), ids=list(NAMES))
def test_names_are_those_of_forward(source: bytes, names: tuple[str, ...]) -> None:
    assert forward_names(source) == names


def test_what_is_pure_starts_without_the_toolchain_and_statistics() -> None:
    program = (
        "import sys, codegen.judge, codegen.journal, codegen.dossier, codegen.page, codegen.cli;"
        "print([m for m in ('scipy', 'numpy', 'torch', 'triton', 'jinja2', 'platformdirs') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
