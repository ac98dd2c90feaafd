"""`accept` on planted answers: what is refused and why, what is accepted, what is kept."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from accept_cases import FOLDER, read
from fake_compiler import FakeCompiler
from planted_bench import PlantedBench

from codegen import accept as accept_module
from codegen import accept_command, benches, present
from codegen.accept import accept, accept_unmeasured, compiled
from codegen.cli import main
from codegen.config import Config
from codegen.contest import Terms, entries_of
from codegen.dossier import Dossier
from codegen.final import CONTROL, LIBRARY
from codegen.fitting import model_inputs
from codegen.gpu import find_gpu
from codegen.inputs import parse_inputs
from codegen.interface import Interface
from codegen.keep import dossier_of
from codegen.outcome import BadInput
from codegen.problem import Problem, Step
from codegen.question import Question
from codegen.record import Record
from codegen.spec import Spec
from codegen.toolchain import Launches, LiveSite, UserFile
from codegen.verify import Against

SCALE = Path(__file__).parent / "cases" / "files" / "scale.py"
TERMS = Terms(Against(None, "x * 3"), "ieee")


@pytest.fixture(autouse=True)
def compiler(monkeypatch):
    class Compiler(FakeCompiler):
        pass

    monkeypatch.setattr(accept_module, "Compiler", Compiler)
    return Compiler


def quiet(step: str, done: int, total: int) -> None:
    pass


def contender(folder: Path, name: str, *more: str, **changes: str):
    """scale.py under a name, with pieces of its text replaced."""
    code = SCALE.read_text()
    for old, new in changes.items():
        code = code.replace(old, new)
    path = folder / f"{name}.py"
    path.write_text(code)
    question = Question(
        file=UserFile(name, path),
        code=code.encode(),
        gpu=find_gpu("h200"),
        inputs=parse_inputs("float32[1000000]"),
        more_inputs=tuple(map(parse_inputs, more)),
        reference="x * 3",
    )
    return compiled(question, quiet)


def by_file(**times: float):
    """Microseconds by the name of the file, the same for all its configs; by baseline."""

    def speed(subject, case):
        return times.get(subject.baseline or subject.path.stem, 100.0)

    return speed


def verdict(tmp_path, bench, *more: str, margin: float = 0.01, baselines=()):
    new = contender(tmp_path, "new", *more)
    old = contender(tmp_path, "old", *more)
    return accept(new, old, TERMS, bench, quiet, margin, baselines)


@pytest.mark.parametrize(
    ("us", "accepted", "faster"),
    [(100.0, True, False), (95.0, True, True), (103.0, False, False), (100.4, True, False)],
    ids=["as fast", "faster by 5 %", "slower by 3 %", "slower within the margin"],
)
def test_speed_decides(tmp_path, us, accepted, faster):
    done = verdict(tmp_path, PlantedBench(by_file(new=us)))
    assert (done.verdict.accepted, done.verdict.faster) == (accepted, faster)


def test_the_margin_is_the_users(tmp_path):
    assert verdict(tmp_path, PlantedBench(by_file(new=103.0)), margin=0.05).verdict.accepted


def test_one_wrong_config_refuses_the_file_and_is_named(tmp_path):
    def fault(subject, case, promise):
        wrong = subject.label == "candidate #1" and case.purpose == "ragged"
        return "writes beyond its output" if wrong else None

    bench = PlantedBench(by_file(new=50.0), fault)
    done = verdict(tmp_path, bench)
    assert not done.verdict.accepted
    assert done.verdict.reason.startswith("candidate #1: writes beyond its output")
    assert bench.raced == []  # how fast a wrong file is does not matter


def test_a_config_that_cannot_launch_refuses_the_file(tmp_path, compiler):
    compiler.binary = staticmethod(lambda config, warps, stages: "too much" if warps == 8 else "x")
    bench = PlantedBench(by_file())
    done = accept(contender(tmp_path, "new"), None, TERMS, bench, quiet)
    assert done.verdict.reason.startswith("candidate #2: cannot launch: shared memory 300,000")
    assert "candidate #2" not in {label for label, _, _ in bench.checked}


def test_every_config_is_checked_on_every_kind_of_input(tmp_path):
    seen = set()

    def fault(subject, case, promise):
        seen.add((subject.label, case.purpose, case.seed))

    accept(contender(tmp_path, "new"), None, TERMS, PlantedBench(by_file(), fault), quiet)
    for number in range(3):
        kinds = [
            (purpose, seed) for label, purpose, seed in seen if label == f"candidate #{number}"
        ]
        assert {purpose for purpose, _ in kinds} == {
            "given",
            "ragged",
            "aligned",
            "small",
            "special",
        }
        assert len({seed for purpose, seed in kinds if purpose == "given"}) > 1


def test_a_file_is_as_fast_as_its_fastest_right_config(tmp_path):
    """The original's fastest is wrong: its time counts for nothing."""

    def speed(subject, case):
        if subject.path.stem == "new":
            return 80.0
        return 10.0 if subject.choices[0].config == 1 else 90.0

    def fault(subject, case, promise):
        return "relative error 0.7" if subject.label == "original #1" else None

    done = verdict(tmp_path, PlantedBench(speed, fault))
    assert done.verdict.faster
    assert "original #1 does not count: relative error 0.7" in done.notes


def test_an_original_with_no_right_config_is_nothing_to_compare_with(tmp_path):
    def fault(subject, case, promise):
        return "relative error 0.7" if subject.path and subject.path.stem == "old" else None

    done = verdict(tmp_path, PlantedBench(by_file(), fault))
    assert done.verdict.accepted and done.verdict.speedup is None
    assert any("the original has no right config" in note for note in done.notes)


def test_the_last_race_has_both_files_a_control_and_the_baselines(tmp_path):
    bench = PlantedBench(by_file(eager=90.0))
    verdict(tmp_path, bench, baselines=accept_module.BASELINES)
    labels, _ = bench.raced[-1]
    assert labels[1].startswith("original #") and labels[0].startswith("candidate #")
    assert set(labels[2:]) == {CONTROL, "eager", "compile", "max-autotune"}


def test_slower_on_one_of_two_sets_of_inputs_is_refused(tmp_path):
    def speed(subject, case):
        small = case.inputs[0].shape[0] == 64
        return 110.0 if subject.path.stem == "new" and small else 100.0

    done = verdict(tmp_path, PlantedBench(speed), "float32[64]")
    assert not done.verdict.accepted
    assert len(done.races) == 2


def test_what_launches_no_tuned_kernel_on_a_set_of_inputs_is_not_shown_to_be_as_fast(tmp_path):
    def launched(subject, case):
        return subject.path.stem == "old" or case.inputs[0].shape[0] != 64

    bench = PlantedBench(by_file(new=50.0), launched=launched)
    done = verdict(tmp_path, bench, "float32[64]")
    assert not done.verdict.accepted
    assert done.verdict.reason == "no tuned kernel is launched on float32[64], seed 0: not timed"
    alone = accept(contender(tmp_path, "new", "float32[64]"), None, TERMS, bench, quiet)
    assert alone.verdict.accepted


def test_a_race_that_is_timed_in_another_way_from_a_look_on_begins_anew(tmp_path):
    """Who is left when the fastest cannot be captured takes long enough for events."""

    class Changing(PlantedBench):
        def race(self, subjects, case, rounds, *terms):
            race = super().race(subjects, case, rounds, *terms)
            if not any(subject.label == CONTROL for subject in subjects):
                return race
            if any(subject.baseline for subject in subjects):
                rows = tuple(row[:-1] for row in race.rounds_us)
                failed = (("eager", "can't be captured in a CUDA graph"),)
                return replace(
                    race, labels=race.labels[:-1], rounds_us=rows, method="graph", failures=failed
                )
            return race

    bench = Changing(by_file(new=99.5), noise=0.01)
    done = verdict(tmp_path, bench, baselines=(LIBRARY,))
    (timed,) = done.races
    assert timed.race.method == "events"
    assert dict(timed.race.failures) == {"eager": "can't be captured in a CUDA graph"}


def test_a_kernel_that_is_made_twice_with_different_configs_cannot_be_used(tmp_path, compiler):
    def launches(self, problem, inputs):
        (site,) = self._sites
        longer = replace(site, index=1, configs=(*site.configs, site.configs[0]))
        return Launches((site, longer), tuple(inputs or ()))

    compiler.launches = launches
    with pytest.raises(
        BadInput, match=r"new:\d+: scale_kernel is made several times, with different"
    ):
        contender(tmp_path, "new")


def test_kernels_of_one_name_have_labels_of_their_own():
    sites = [LiveSite(0, "k", "f.py", 3, (Config(()),)), LiveSite(1, "k", "f.py", 9, (Config(()),))]
    assert [each.label for each in entries_of("candidate", sites)] == [
        "candidate k:3 #0",
        "candidate k:9 #0",
    ]


def test_with_no_gpu_it_says_what_it_could_establish(tmp_path):
    bench = PlantedBench(by_file())
    done = accept_unmeasured(contender(tmp_path, "new"), TERMS, bench, quiet)
    assert done.verdict.accepted
    assert done.verdict.reason == "right in the interpreter, fits the GPU, not measured"
    assert bench.raced == [] and done.machine is None
    assert "given" not in {case.purpose for case in done.cases}


def test_the_dossier_reads_back_as_it_was(tmp_path):
    dossier = dossier_of(verdict(tmp_path, PlantedBench(by_file(new=50.0))))
    path = tmp_path / "new.evidence.json"
    path.write_text(dossier.text())
    assert Dossier.read(path) == dossier
    assert [entry.label for entry in dossier.candidate.entries] == [
        f"candidate #{number}" for number in range(3)
    ]
    assert dossier.contests[0].race is not None


RENDERED = Path(__file__).parents[1] / "generated" / "gemm_tt_float32_h200.py"


@pytest.mark.parametrize("right", [True, False], ids=["accepted", "refused"])
def test_a_rendered_files_record_says_what_was_found(tmp_path, monkeypatch, capsys, right):
    """`codegen accept FILE` and no more: what is right, the sizes and the GPU are in the record beside it."""

    @contextlib.contextmanager
    def planted():
        yield PlantedBench(
            by_file(**{"eager": 200.0}), lambda subject, case, promise: None if right else "wrong"
        )

    monkeypatch.setattr(accept_command, "on_this_gpu", planted)
    monkeypatch.setattr(benches, "gpu_here", lambda: find_gpu("h200"))
    for source in (RENDERED, RENDERED.with_suffix(".json")):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    path = tmp_path / RENDERED.name
    assert main(["accept", str(path)]) == (0 if right else 1)
    record = Record.read(path.with_suffix(".json"))
    assert record.spec == Record.read(RENDERED.with_suffix(".json")).spec
    assert record.findings["verdict"]["accepted"] is right
    provenance = record.findings["provenance"]
    assert provenance["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert provenance["reference"] == "float64 A.T @ B.T"
    if right:
        assert "times eager's speed" in capsys.readouterr().err
        assert set(provenance["races"][0]["times_us"]) >= {"eager", "compile", "max-autotune"}
    assert main(["render", "--check", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("added", "terms"),
    [
        pytest.param(b"# mine\n", [], id="an edited file"),
        pytest.param(b"", ["--precision", "tf32"], id="other terms than the record's"),
    ],
)
def test_a_record_stays_as_it_was_beside(tmp_path, monkeypatch, added, terms):
    @contextlib.contextmanager
    def planted():
        yield PlantedBench(by_file(eager=200.0))

    monkeypatch.setattr(accept_command, "on_this_gpu", planted)
    monkeypatch.setattr(benches, "gpu_here", lambda: find_gpu("h200"))
    path, record = tmp_path / RENDERED.name, RENDERED.with_suffix(".json").read_bytes()
    path.write_bytes(RENDERED.read_bytes() + added)
    path.with_suffix(".json").write_bytes(record)
    assert main(["accept", str(path), *terms]) == 0
    assert path.with_suffix(".json").read_bytes() == record


@pytest.mark.parametrize(
    ("eager", "faster", "said"),
    [
        (50.0, False, r"right, 0\.[45]\d+ times eager's speed"),
        (200.0, True, r"right, [12]\.\d+ times eager's speed"),
        (math.nan, False, "right, and compared with nothing: eager has samples that are no times"),
    ],
    ids=["slower than the library", "faster", "the library could not be timed"],
)
def test_without_an_original_the_library_is_compared_with_and_binds_nobody(
    tmp_path, eager, faster, said
):
    bench = PlantedBench(by_file(eager=eager))
    done = accept(contender(tmp_path, "new"), None, TERMS, bench, quiet)
    assert (done.verdict.accepted, done.verdict.faster) == (True, faster)
    assert re.match(said, done.verdict.reason)


def test_wrong_results_while_it_is_timed_refuse_it_though_there_is_no_original(tmp_path):
    class Cheated(PlantedBench):
        def race(self, subjects, *terms):
            race = super().race(subjects, *terms)
            if not any(subject.baseline for subject in subjects):
                return race  # not in the heats yet
            (ours,) = [s.label for s in subjects if s.path]
            rows = tuple(row[1:] for row in race.rounds_us)
            fault = "its timed call is not right: an earlier result"
            return replace(race, labels=race.labels[1:], rounds_us=rows, failures=((ours, fault),))

    done = accept(contender(tmp_path, "new"), None, TERMS, Cheated(by_file()), quiet)
    assert not done.verdict.accepted
    assert "its timed call is not right" in done.verdict.reason


@pytest.mark.parametrize(
    ("text", "share"), [("1%", 0.01), ("0.5 %", 0.005), ("0.02", 0.02), ("0", 0.0)]
)
def test_margins_are_shares(text, share):
    assert accept_command._Share().convert(text, None, None) == pytest.approx(share)


def test_the_rest_is_json_on_standard_output(tmp_path, capfd, monkeypatch):
    """End to end, with the interpreter for a GPU."""
    monkeypatch.setattr(present, "LINE_SECONDS", 0.05)
    path = tmp_path / "scale.py"
    path.write_bytes(SCALE.read_bytes())
    options = ["--gpu", "h200", "--inputs", "float32[5000]", "--reference", "x * 3", "--no-measure"]
    assert main(["accept", str(path), *options, "--json", "-"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["verdict"]["accepted"]
    assert "accepted: right in the interpreter, fits the GPU, not measured" in err
    assert re.search(r"^codegen: checking candidate: [12] of 3$", err, re.MULTILINE)
    assert main(["accept", str(path), *options[:4], "--reference", "x * 4", "--no-measure"]) == 1
    assert "refused: candidate #0: " in capfd.readouterr().err
    assert main(["accept", str(path), *options[:4], "--reference", "z * 3", "--no-measure"]) == 2
    assert "the reference takes no such inputs: NameError: name 'z'" in capfd.readouterr().err
    assert (tmp_path / "scale.evidence.json").exists()
    assert (tmp_path / "scale.evidence.html").exists()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ([], "what is right is not said: give --reference or --problem"),
        (["--reference", "x * 3", "--measure"], "--measure: there is no GPU here"),
        (["--reference", "x * 3", "--against", "nothing.py"], "nothing.py: can't be read"),
        (["--reference", "x * 3", "--margin", "200%"], "'200%' is no share: write 1% or 0.01"),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_line(monkeypatch, capsys, options, why):
    monkeypatch.setattr(benches, "gpu_here", lambda: None)
    assert main(["accept", str(SCALE), "--gpu", "h200", "--inputs", "float32[5000]", *options]) == 2
    out, err = capsys.readouterr()
    assert out == "" and why in err and err.count("\n") == 1


A, B = "float32[8,16]", "float32[16,4]"


@pytest.mark.parametrize(
    ("interface", "inputs", "reference"),
    [
        (None, f"{A}, {B}, float32[4]", "F.relu(A @ B + bias)"),
        (Interface(("x", "w", "b"), ("x", "w", "b")), f"{A}, {B}, float32[4]", "F.relu(x @ w + b)"),
        (
            Interface(("b", "w", "x"), ("x.permute(1, 0)", "w", "b")),
            f"float32[4], {B}, float32[16,8]",
            "F.relu(x.permute(1, 0) @ w + b)",
        ),
        (
            Interface(("x", "w", "b"), ("x", "w", "b"), returned=(1, 0)),
            f"{A}, {B}, float32[4]",
            "(F.relu(x @ w + b)).permute(1, 0)",
        ),
    ],
    ids=["the operands", "other names", "turned, and in another order", "a result that is turned"],
)
def test_a_record_says_what_its_modelnew_takes_and_gives(interface, inputs, reference):
    problem = Problem("gemm", 8, 4, 16, epilogue=(Step("bias"), Step("relu")))
    spec = Spec(problem, find_gpu("h200"), {}, interface)
    assert ", ".join(map(str, model_inputs(spec))) == inputs
    assert spec.reference == reference


def test_a_turned_triangle_is_the_other_one():
    interface = Interface(("x", "y"), ("x", "y.permute(1, 0)"))
    spec = Spec(Problem("trimm", 8, 8, 8, triangle="lower"), find_gpu("h200"), {}, interface)
    assert list(map(str, model_inputs(spec))) == ["tril float32[8,8]", "triu float32[8,8]"]


def test_a_model_with_parameters_needs_its_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    interface = Interface(("x",), ("x", "self.weight"), init=HOLDS)
    spec = Spec(Problem("gemm", 8, 4, 16), find_gpu("h200"), {}, interface)
    Path("k.py").write_text("")
    Path("k.json").write_text(Record(spec).text())
    assert main(["accept", "k.py"]) == 2
    assert capsys.readouterr().err == (
        "codegen: k.py: ModelNew holds parameters: "
        "give the file of the Model that it was rendered from, with --problem\n"
    )


HOLDS = "def __init__(self) -> None:\n    super().__init__()\n    self.weight = nn.Parameter(torch.ones(16, 4))\n"


def test_a_file_that_takes_aligned_sizes_alone_is_checked_on_those(tmp_path, capfd):
    case = read(FOLDER / "aligned" / "through_host_descriptors.py")
    path = tmp_path / "kernel.py"
    path.write_bytes(case.path.read_bytes())
    options = ["--gpu", "h200", "--inputs", case.inputs, "--no-measure"]
    assert main(["accept", str(path), *options, "--reference", "A @ B"]) == 0
    assert "accepted: right in the interpreter" in capfd.readouterr().err
    assert main(["accept", str(path), *options, "--reference", "A @ B * 2"]) == 1
    assert "refused: candidate #0: " in capfd.readouterr().err
    kept = json.loads((tmp_path / "kernel.evidence.json").read_text())
    refusals = re.findall(r"takes no such inputs: [^\"]*", json.dumps(kept))
    assert refusals and "was not launched" not in json.dumps(kept)
