"""The measuring bench where there is no GPU: in the interpreter, and what it says where it cannot."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accept_cases import FOLDER, choices, read

from codegen.cases import plan_cases
from codegen.child import ChildFailed
from codegen.evidence import Case, Subject
from codegen.gpu import find_gpu
from codegen.here import name_here
from codegen.inputs import parse_inputs
from codegen.measure import Device
from codegen.outcome import BadInput
from codegen.reference import Reference
from codegen.subjects import _BASELINES, Subjects
from codegen.verify import Against

SCALE = (FOLDER / "good" / "streams_memory.py").read_text()
SMALL = Case(parse_inputs("float32[300]"), 0, "given")
RIGHT = Against(None, "3 * x")


@pytest.fixture(scope="module")
def bench() -> Iterator[Device]:
    with Device(interpreted=find_gpu("h200")) as device:
        yield device


def subject(folder: Path, code: str, label: str) -> Subject:
    path = folder / f"{label}.py"
    path.write_text(code)
    return Subject(label, path, tuple(choices(path)[:1]))


FORWARD = "        return scale(x)"
BROKEN = {
    "ends_the_process": ("import os; os._exit(3)", "ended the process with exit status 3"),
    "exits": ("raise SystemExit(4)", r"calls sys.exit\(4\)"),
    "raises": ("raise RuntimeError('no such thing')", "line 35: RuntimeError: no such thing"),
    "returns_nothing": ("return None", "returns no tensor but a NoneType"),
    "returns_another_shape": ("return scale(x)[1:]", r"returns shapes \[\[299\]\] where"),
    "launches_nothing": ("return 3 * x", "kernel was not launched"),
}


def test_what_breaks_costs_only_itself(tmp_path, bench):
    subjects = [
        subject(tmp_path, SCALE.replace(FORWARD, f"        {line}"), name)
        for name, (line, _) in BROKEN.items()
    ]
    subjects.append(subject(tmp_path, SCALE, "good"))
    told = []
    checkups = bench.check(subjects, [SMALL], RIGHT, "ieee", lambda *done: told.append(done))
    assert told == list(enumerate(checkups))
    for checkup, (_, fault) in zip(checkups, BROKEN.values(), strict=False):
        assert checkup.fault and re.search(fault, checkup.fault)
    assert (checkups[-1].label, checkups[-1].fault) == ("good", None)


def test_nothing_is_right_against_a_reference_whose_norm_float16_does_not_hold(tmp_path, bench):
    zeros = SCALE.replace(FORWARD, f"{FORWARD}.half() * 0")
    case = Case(parse_inputs("float32[300]"), 0, "given")
    halves = Against(None, "(9000 * x).half()")
    (checkup,) = bench.check([subject(tmp_path, zeros, "zeros")], [case], halves, "ieee")
    assert "wrong: relative error 1," in checkup.fault


def test_a_narrower_result_than_the_librarys_is_refused(tmp_path, bench):
    """Its numbers are right, and so they are in TF32, whose bound is wide."""
    code = SCALE.replace(FORWARD, f"{FORWARD}.half()")
    rounded = Against(None, "(3 * x).half().float()")
    (checkup,) = bench.check([subject(tmp_path, code, "half")], [SMALL], rounded, "ieee")
    assert checkup.fault.startswith("returns float16 where the library returns float32")
    same = Against(None, "(3 * x).half()")
    (checkup,) = bench.check([subject(tmp_path, code, "half")], [SMALL], same, "ieee")
    assert checkup.fault is None


@pytest.mark.parametrize(("after", "more"), [("graph", 5), ("events", 2)])
def test_times_of_two_methods_are_not_one_race(monkeypatch, after, more):
    """The first process dies after three rounds of five, timed with events; who is left goes on with `after`."""
    device, asked = Device(), []

    def ask(question, take):
        first = not asked
        asked.append(question["rounds"])
        method = "events" if first else after
        take({"method": method})
        for _ in range(3 if first else question["rounds"]):
            take({"row": {"one": 60.0, "two": 60.0}})
        if first:
            device._turn = "two"
            raise ChildFailed("hangs", died=True)
        return {"method": method, "failures": {}}

    monkeypatch.setattr(device, "_ask", ask)
    race = device.race([Subject("one"), Subject("two")], SMALL, 5, RIGHT, "ieee")
    assert (race.labels, race.method, len(race.rounds_us)) == (("one",), after, 5)
    assert sum(asked[1:]) == more


def test_a_wrapper_that_takes_no_ragged_sizes_is_not_wrong_there(tmp_path, bench):
    picky = SCALE.replace(FORWARD, f"        assert x.numel() % 256 == 0\n{FORWARD}")
    cases = plan_cases(parse_inputs("float32[2048]"), (256,))
    (checkup,) = bench.check([subject(tmp_path, picky, "picky")], cases, RIGHT, "ieee")
    assert checkup.fault is None
    assert [bool(finding.refused) for finding in checkup.findings] == [
        case.purpose != "given" for case in cases
    ]


def test_a_reference_that_fails_on_the_given_inputs_is_named(tmp_path, bench):
    with pytest.raises(BadInput, match=r"float64 3 \* y on float32\[300\], seed 0: NameError"):
        bench.check([subject(tmp_path, SCALE, "good")], [SMALL], Against(None, "3 * y"), "ieee")


def test_errors_stand_beside_the_librarys_and_the_bound(tmp_path, bench):
    (checkup,) = bench.check([subject(tmp_path, SCALE, "good")], [SMALL], RIGHT, "ieee")
    (finding,) = checkup.findings
    assert finding.library_error is not None
    assert 0 < finding.relative_error < 6e-8 < finding.bound < 1e-6
    assert finding.relative_error == pytest.approx(finding.library_error)


def test_values_that_must_not_be_promised_are_refused(bench):
    with pytest.raises(BadInput, match="precision 'fast' is not one of ieee, tf32"):
        bench.check([Subject("eager", baseline="eager")], [SMALL], RIGHT, "fast")
    with pytest.raises(BadInput, match="precision wide is for 16-bit operands, and there are none"):
        bench.check([Subject("eager", baseline="eager")], [SMALL], RIGHT, "wide")


def test_the_interpreter_does_not_race(tmp_path, bench):
    race = bench.race([subject(tmp_path, SCALE, "good")], SMALL, 3, RIGHT, "ieee")
    assert race.rounds_us == ()
    assert dict(race.failures) == {"good": "the interpreter says nothing of speed"}


class Dying:
    """A child that is gone once it has told of every round but `left`; its next answers."""

    def __init__(self, left: int) -> None:
        self.left, self.rounds = left, []

    def ask(self, question, *, seconds, on_progress):
        asked = question["rounds"]
        self.rounds.append(asked)
        labels = [subject["label"] for subject in question["subjects"]]
        first = len(self.rounds) == 1
        if first:
            on_progress({"method": "events", "failed": {}})
            on_progress({"failed": {"cheat": "its timed call is not right: an earlier result"}})
        for _ in range(asked - self.left if first else asked):
            on_progress({"turn": labels[-1], "step": "run"})
            on_progress({"row": dict.fromkeys(labels, 1.0)})
        if first:
            raise ChildFailed("was ended by SIGKILL", died=False)
        return {"method": "events", "failures": {}}


@pytest.mark.parametrize(
    ("left", "asked"),
    [(0, [5]), (2, [5, 2])],
    ids=["after the last round", "before it"],
)
def test_who_was_wrong_in_a_race_stays_so_when_the_child_dies(left, asked):
    device, child = Device(), Dying(left)
    device._child = child
    subjects = [Subject(label, Path(f"{label}.py")) for label in ("cheat", "honest", "last")]
    race = device.race(subjects, SMALL, 5, RIGHT, "ieee")
    assert child.rounds == asked  # nothing is asked for in vain
    assert (race.labels, len(race.rounds_us)) == (("honest",), 5)
    assert dict(race.failures) == {
        "cheat": "its timed call is not right: an earlier result",
        "last": "was ended by SIGKILL",
    }


def test_a_case_that_memory_was_too_short_for_was_not_looked_at(tmp_path, bench):
    """Unlike one whose inputs the reference, or the wrapper, does not take: that says nothing against it."""
    tiny = Case(parse_inputs("float32[17]"), 0, "small")
    short = Against(None, "3 * x if len(x) > 17 else torch.empty(1 << 50)")
    (checkup,) = bench.check([subject(tmp_path, SCALE, "good")], [SMALL, tiny], short, "ieee")
    assert re.match("could not be looked at: the reference: .*allocate memory", checkup.fault)
    greedy = SCALE.replace(FORWARD, f"{FORWARD} if len(x) > 17 else torch.empty(1 << 50)")
    (checkup,) = bench.check([subject(tmp_path, greedy, "greedy")], [SMALL, tiny], RIGHT, "ieee")
    assert re.search("allocate memory", checkup.fault)
    choosy = SCALE.replace(FORWARD, f"        assert len(x) > 17\n{FORWARD}")
    (checkup,) = bench.check([subject(tmp_path, choosy, "choosy")], [SMALL, tiny], RIGHT, "ieee")
    assert checkup.fault is None


def test_sizes_for_which_triton_does_not_compile_a_kernel_say_nothing_against_it(tmp_path, bench):
    """Unless they were given: `tl.arange` takes powers of two, such as the size of an attention's heads."""
    rows = SCALE.replace(", n, BLOCK", ", n: tl.constexpr, BLOCK").replace(
        "tl.arange(0, BLOCK)", "tl.arange(0, BLOCK)\n    i += 0 * tl.max(tl.arange(0, n), 0)"
    )
    cases = [replace(SMALL, inputs=parse_inputs(f"float32[{n}]"), purpose=p) for n, p in SIZES]
    for given in (cases, cases[:1]):
        (checkup,) = bench.check([subject(tmp_path, rows, "rows")], given, RIGHT, "ieee")
        assert checkup.fault is None
    assert (
        "power of 2"
        in bench.check(
            [subject(tmp_path, rows, "rows")], [replace(cases[1], purpose="given")], RIGHT, "ieee"
        )[0].fault
    )


SIZES = ((256, "given"), (300, "small"))


def test_a_compiled_baseline_is_compiled_whole_and_for_its_sizes(monkeypatch):
    shapes = []

    def compiler(graph, values):
        shapes.append([tuple(value.shape) for value in values])
        return graph.forward

    monkeypatch.setitem(_BASELINES, "compile", {"backend": compiler})
    for size in range(2, 14):  # more than PyTorch compiles one function for
        baseline = Subjects("cpu", print)._baseline(
            "compile", Reference(None, "torch.tril(A @ B)", ["A", "B"], {}, 0)
        )
        (result,) = baseline([torch.ones(size, size)] * 2)
        assert result.tolist() == [[size] * n + [0] * (size - n) for n in range(1, size + 1)]
    assert shapes == [[(size, size)] for size in range(2, 14)]


def test_kernels_of_a_problem_get_its_weights(tmp_path, bench):
    problem = tmp_path / "problem.py"
    problem.write_text(
        "import torch\nN = 300\n"
        "class Model(torch.nn.Module):\n"
        "    def __init__(self, n):\n"
        "        super().__init__()\n        self.w = torch.nn.Parameter(torch.randn(n))\n"
        "    def forward(self, x):\n        return 3 * x + self.w\n"
        "def get_inputs():\n    return [torch.rand(N)]\n"
        "def get_init_inputs():\n    return [N]\n"
    )
    layer = (
        "class ModelNew(nn.Module):\n    def __init__(self, n):\n        super().__init__()\n"
        "        self.w = nn.Parameter(torch.randn(n))\n\n"
    )
    code = SCALE.replace("class ModelNew(nn.Module):\n", layer).replace(
        FORWARD, f"{FORWARD} + self.w"
    )
    against = Against(problem)
    (checkup,) = bench.check([subject(tmp_path, code, "layer")], [SMALL], against, "ieee")
    assert checkup.fault is None


@pytest.mark.skipif(name_here() is not None, reason="there is a GPU")
def test_a_gpu_that_is_absent_is_said_to_be() -> None:
    with (
        Device() as device,
        pytest.raises(BadInput, match=r"the GPU can't be used: PyTorch .* sees no GPU 0"),
    ):
        device.machine()


def test_cases_hold_the_given_inputs_first_and_then_harder_ones() -> None:
    cases = plan_cases(parse_inputs("float32[8192,2048] float32[4096,8192] 8192 0.5"), (64, 128))
    assert [(case.purpose, case.seed) for case in cases] == [
        ("given", 0),
        ("given", 1),
        ("ragged", 0),
        ("aligned", 0),
        ("small", 0),
        ("special", 0),
        ("special", 0),
    ]
    a, b, k, half = cases[2].inputs
    assert a.shape[0] == b.shape[1] == k  # sizes that are equal stay equal
    assert len({*a.shape, *b.shape}) == 3 and all(size % 2 for size in (*a.shape, *b.shape))
    assert half == 0.5
    aligned = cases[3].inputs[0].shape
    assert all(size % 16 == 0 for size in aligned) and any(size % 128 for size in aligned)
    assert max(cases[4].inputs[0].shape) < 32
    assert [case.inputs for case in cases[5:]] == [cases[2].inputs, cases[3].inputs]
    assert read(FOLDER / "bad" / "wrong_for_nan.py").cases(given=False)[-1].purpose == "special"
