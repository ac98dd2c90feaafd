"""tests/gpu/choice_grid.py where there is no GPU: the grid, what is compiled for it, and what is made of its times."""

from __future__ import annotations

import json
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from codegen.ahead import Ahead
from codegen.families import find_family
from codegen.gpu import find_gpu
from codegen.problem import LAYOUTS
from codegen.render import choose

sys.path.append(str(Path(__file__).parent / "gpu"))

import choice_grid
import choice_timing
from choice_points import Point, held_out, points, ways
from choice_timing import Entrant

H200 = find_gpu("h200")
DATA = Path(__file__).parent / "data" / "choice_h200.json"
MEASURED = json.loads(DATA.read_text("utf-8"))
POINTS = {point.name: point for point in points()}


def test_the_grid_is_large_and_no_point_is_there_twice():
    assert len(POINTS) == len(points()) >= 200
    assert len({str(point.problem) for point in points()}) == len(points())
    assert points() == points()


def test_the_grid_covers_families_types_layouts_and_shapes():
    problems = [point.problem for point in points()]
    for family, kinds in (
        ("gemm", 3 * len(LAYOUTS) + 2),
        ("trimm", 4 * 2),
    ):  # float16 in two layouts
        some = [p for p in problems if p.family == family]
        seen = Counter((p.dtype, p.precision, p.triangle or p.layout) for p in some)
        assert len(seen) == kinds
        assert min(seen.values()) >= 5
    assert max(max(p.m, p.n, p.k) for p in problems) == 8192
    assert any(p.batch for p in problems)
    assert any(p.m % 2 and p.n % 2 and p.k % 2 and p.m > 1000 for p in problems)
    assert any(p.m == 1 for p in problems)


@pytest.mark.parametrize("part", ["1/1", "1/2", "2/2", "1/3", "2/3", "3/3"])
def test_parts_make_up_the_grid(part):
    _, parts = map(int, part.split("/"))
    every = [
        point.name
        for number in range(1, parts + 1)
        for point in choice_grid.in_part(points(), f"{number}/{parts}", "")
    ]
    assert every == list(POINTS)
    assert {p.name for p in choice_grid.in_part(points(), "1/1", "trimm-")} == {
        name for name in POINTS if name.startswith("trimm-")
    }


def test_what_is_rendered_is_among_what_could_be():
    for point in points():
        first, *others = ways(point.problem, H200)
        form = find_family(point.problem.family).form(point.problem, H200)
        assert first.chosen and not any(way.chosen for way in others)
        assert all(way.candidates for way in others)  # or nothing of it would be compiled
        assert first.form.template == form.template
        labels = [f"{way.name} {c.config}" for way in (first, *others) for c in way.candidates]
        assert len(labels) == len(set(labels))
        listed = choose(point.problem, H200)[first.kernel]
        assert set(listed) <= {each.config for each in first.candidates}


@pytest.mark.parametrize(
    ("of", "places", "share"),
    [("points", points(), choice_grid.WANTED), ("held_out", held_out(), 0.80)],
    ids=["the grid", "points held out"],
)
def test_what_is_rendered_is_near_the_best_that_was_measured(of, places, share):
    """On an H200; what is not in the data took more than a quarter longer than the best."""
    measured = MEASURED[of]
    assert list(measured) == [point.name for point in places]
    near = [
        choice_grid.verdict_today(point, times, H200).near
        for point in places
        if (times := measured[point.name])
    ]
    assert len(near) >= len(places) - 2  # two could not be timed
    assert sum(near) >= share * len(near)


def test_a_float32_product_can_be_computed_in_three_ways_and_more():
    names = {way.name for way in ways(_like("gemm-float32-any-512x512x512").problem, H200)}
    assert names == {
        "fp16x3 split",
        "tf32x3 pointer",
        "tf32x3 sliced",
        "ieee pointer",
        "ieee sliced",
    }
    trimm = {way.name for way in ways(_like("trimm-bf16-any-4096").problem, H200)}
    assert trimm == {"descriptor", "pointer"}


@pytest.fixture(scope="module")
def some(tmp_path_factory):
    """A point of each type and family, two for one file among them."""
    names = [
        "gemm-bf16-nn-128x128x128",
        "gemm-tf32-tn-512x512x512",
        "trimm-float32-upper-1024",
        "gemm-bf16-nn-768x768x768",
    ]
    chosen = [POINTS[name] if name in POINTS else _like(name) for name in names]
    return chosen, choice_grid.Plan(chosen, H200, tmp_path_factory.mktemp("grid"))


def _like(name: str) -> Point:
    """The point of that family, type and size, whatever its layout or triangle is."""
    family, short, _, size = name.split("-")
    return next(
        point
        for key, point in POINTS.items()
        if key.startswith(f"{family}-{short}-") and key.endswith(f"-{size}")
    )


def test_what_is_compiled_ahead_is_what_is_launched(some, monkeypatch):
    """Of every file one config, for an H200; the files of a plan serve all of its points."""
    _, plan = some
    assert len(plan.files) < len(plan.batches) + 1
    for file in plan.files.values():
        compile(file.read_text(), str(file), "exec")
    batches = list(plan.batches)[::5]
    monkeypatch.setattr(
        plan, "batches", {batch: dict.fromkeys(list(plan.batches[batch])[:1]) for batch in batches}
    )
    with Ahead(H200) as ahead:
        compiled = [ahead.submit(partial(plan.compiled, batch)) for batch in batches]
        assert [each.result() for each in compiled] == [{}] * len(batches)


def test_entrants_are_places_in_their_files_lists(some):
    chosen, plan = some
    for point in chosen:
        unfit = {batch: {} for batch in plan.batches}
        entrants = plan.entrants(point, unfit)
        assert len({each.label for each in entrants}) == len(entrants)
        listed = [each for each in entrants if each.listed]
        first = ways(point.problem, H200)[0]
        assert [each.label for each in listed] == [
            f"{first.name} {each.config}"
            for each in first.candidates
            if each.config in choose(point.problem, H200)[first.kernel]
        ]
    place = choice_grid.batch_of(first, H200)
    gone = first.candidates[0].config
    left = plan.entrants(point, {**unfit, place: {gone: "does not fit"}})
    assert f"{first.name} {gone}" not in {each.label for each in left}
    assert sum(each.listed for each in left) == min(6, len(first.candidates) - 1)


def planted(times):
    """A clock that answers with these µs by the end of a label; others take a thousand."""

    def measured(entrants, **question):
        assert question["reference"]
        us = {
            each.label: next((t for end, t in times.items() if each.label.endswith(end)), 1000.0)
            for each in entrants
        }
        listed = {each.label for each in entrants if each.listed}
        return {
            "method": "graph",
            "us": us,
            "last": choice_timing.finalists(us, listed),
            "failures": {},
        }

    return measured


def test_a_grid_goes_on_from_what_is_done_and_is_summed_up(some):
    chosen, plan = some
    done = {chosen[0].name: {"left": "alone"}}
    entrants = plan.entrants(chosen[1], {batch: {} for batch in plan.batches})
    ours = next(each.label for each in entrants if each.listed)
    theirs = next(each.label for each in entrants if not each.listed)
    clock = planted({ours: 104.0, theirs: 100.0})
    found = dict(choice_grid.grid(chosen, plan, lambda batch: {}, clock, done))
    assert list(found) == [point.name for point in chosen[1:]]
    assert json.loads(json.dumps(found)) == found
    missed = choice_grid.verdict(chosen[1].name, found[chosen[1].name])
    assert (missed.best, missed.listed, missed.ratio) == (theirs, ours, 1.04)
    text = choice_grid.summary(found)
    assert f"| {chosen[1].name} | {ours} | 104 | {theirs} | 100 | 1.040 |" in text
    assert "| all | 3 | 2 | 66.7% |" in text


MISSES = {
    "within three per cent": (103.0, "pointer 64,64,64 warps=4 stages=3", True, "config"),
    "another config of the form": (103.1, "pointer 64,64,64 warps=4 stages=3", False, "config"),
    "another form": (150.0, "tf32x3 sliced 64,64,64,4 warps=4 stages=3", False, "form"),
}


@pytest.mark.parametrize(("us", "best", "near", "missed"), MISSES.values(), ids=list(MISSES))
def test_a_verdict_says_what_should_have_been_chosen_otherwise(us, best, near, missed):
    ours = "pointer 128,64,64 warps=8 stages=3"
    slower = "pointer 1,1,1 warps=1 stages=1"
    found = {
        "us": {ours: us, best: 100.0, slower: 99.0},
        "last": [ours, best],  # a time of an earlier heat does not count
        "listed": [ours],
        "failures": {},
    }
    verdict = choice_grid.verdict("x", found)
    assert (verdict.near, verdict.missed, verdict.best) == (near, missed, best)


def test_a_point_that_nobody_could_compute_is_named():
    found = {"gemm-bf16-x": {"us": {}, "last": [], "listed": ["a"], "failures": {"a": "wrong"}}}
    text = choice_grid.summary(found)
    assert "Not timed: gemm-bf16-x." in text
    assert "- gemm-bf16-x: a: wrong" in text


def test_what_is_far_behind_is_left_out_unless_it_is_what_is_listed():
    times = {"a": 100.0, "b": 149.0, "c": 151.0, "d": 900.0, "e": 950.0}
    assert choice_timing.near(times, {"d", "e"}) == ["a", "b", "d", "e"]
    assert choice_timing.near(times, {"b", "c"}) == ["a", "b", "c"]
    many = {str(n): float(n) for n in range(20)}
    listed = {"3", "11", "12", "13"}
    assert choice_timing.finalists(many, listed) == ["0", "1", "2", "3", "4", "5", "11"]


class Child:
    """A child by its pipe: one entrant ends it, and another keeps it silent."""

    def __init__(self):
        self.asked = []
        self._said = []

    def send(self, question):
        labels = [entrant.label for entrant in question["entrants"]]
        self.asked.append(labels)
        self._said = [("turn", label) for label in labels]
        self._said.append(("answer", {"last": labels, "failures": {"other": "wrong"}}))
        for label in ("ends", "hangs"):
            if label in labels:
                self._said[labels.index(label) + 1 :] = [label]

    def poll(self, seconds):
        return self._said[0] != "hangs"

    def recv(self):
        if self._said[0] == "ends":
            raise EOFError
        return self._said.pop(0)


def test_who_ends_the_child_or_hangs_is_out_and_the_others_are_timed(monkeypatch):
    clock, child = choice_grid.Clock(), Child()
    monkeypatch.setattr(clock, "_start", lambda: setattr(clock, "_pipe", child))
    entrants = [Entrant(label, "", "", 0, 4, 3, True) for label in ("good", "hangs", "ends")]
    found = clock.measured(entrants, inputs=())
    assert found["last"] == ["good"]
    assert found["failures"] == {
        "other": "wrong",
        "hangs": "ran longer than 120 s",
        "ends": "ended the process, or broke the GPU's context",
    }
    assert child.asked == [["good", "hangs", "ends"], ["good", "ends"], ["good"]]
