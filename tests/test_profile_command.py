"""`codegen profile` end to end: with fakes of Nsight Compute and of the GPU's own child."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import triton
from conftest import PROMPT
from fake_ncu import GRAM, FakeNcu, fake_ncu

from codegen import local_gpu
from codegen.cli import main
from codegen.config import Config
from codegen.counters import prompt_form
from codegen.evidence import Machine
from codegen.gpu import find_gpu
from codegen.inputs import TensorSpec
from codegen.job import Options, open_job
from codegen.local_gpu import Timed
from codegen.ncu import read_metrics
from codegen.outcome import BadInput
from codegen.profiling import Choice, Wanted, choose, pick
from codegen.prompt import read_prompt
from codegen.question import Question
from codegen.report import Row
from codegen.sites import find_sites
from codegen.steps import Launched
from codegen.toolchain import LiveSite, UserFile

SCALE = Path(__file__).parent / "cases" / "files" / "scale.py"
H200 = Machine(
    "NVIDIA H200", "GPU-0a2eb5f2", (9, 0), 132, 60 << 20, "580.159.04", "13.0", "2.11.0", "3.6.0"
)
GRAM_OF = ("--inputs", "float32[8192,4096]")


class FakeGpu:
    """Stands for `local_gpu.LocalGpu`: a machine and times of one's choosing."""

    def __init__(self, machine: Machine | str = H200, timed: tuple[Timed, ...] = ()) -> None:
        self._machine, self._timed = machine, timed
        self.asked: list[Any] = []

    def __call__(self) -> FakeGpu:
        return self

    def __enter__(self) -> FakeGpu:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def machine(self) -> Machine:
        if isinstance(self._machine, str):
            raise BadInput(self._machine)
        return self._machine

    def timings(self, file: object, problem: object, inputs: object) -> tuple[Timed, ...]:
        self.asked.append(inputs)
        return self._timed


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeNcu]:
    """A function that puts a GPU and an ncu into this machine."""

    def install(gpu: FakeGpu, **of_ncu: Any) -> FakeNcu:
        monkeypatch.setattr(local_gpu, "LocalGpu", gpu)
        monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
        return fake_ncu(tmp_path / "bin", **of_ncu)

    return install


def chosen(call: dict[str, Any]) -> list[Any]:
    (question,) = (q for q in call["questions"] if q["op"] == "profile")
    return question["chosen"]


def test_the_fastest_right_config_is_profiled_and_retune_reads_what_is_saved(
    tmp_path: Path, here, capfd
) -> None:
    # #2 computes half the tiles: the fastest, and wrong. #3 does not fit.
    gpu = FakeGpu(timed=(Timed("gram_kernel", 39, (1389.4, 1390.0, 670.0, None), 2),))
    ncu = here(gpu)
    saved = tmp_path / "profile.json"
    options = (*GRAM_OF, "--reference", "X @ X.T")
    assert main(["profile", str(PROMPT), *options, "--json", str(saved)]) == 0

    (call,) = ncu.calls()
    assert chosen(call) == [["gram_kernel", 39, 0]]
    assert [question["op"] for question in call["questions"]] == ["load", "profile"]
    assert gpu.asked == [(TensorSpec("float32", (8192, 4096)),)]

    out, err = capfd.readouterr()
    (recorded,) = read_metrics(GRAM.read_text()).values()
    printed = json.loads(out)
    assert printed == {"gram_kernel": prompt_form(recorded)}
    assert (
        "#0 64,64,32 warps=4 stages=3: 1,389 µs, the fastest right one of 3 by Triton's autotuner, which would "
        "choose a wrong one: #2 (670 µs)\n"
    ) in err
    # What a real profile says of this config is what is predicted for it here and now, without the GPU.
    assert "predicted without the GPU: registers, shared memory, occupancy, blocks\n" in err
    assert "diagnosis   memory: compute at 30.8 %, memory at 81.9 % of peak" in err

    whole = json.loads(saved.read_text())
    how = whole["gram_kernel"].pop("profiled")
    assert whole == printed
    assert how["config"]["index"] == 0 and how["unlike_predicted"] == []
    assert (how["gpu"], how["uuid"], how["driver"]) == (H200.gpu, H200.uuid, H200.driver)
    assert how["nsight_compute"] == "2025.3.1.0"

    report = tmp_path / "report.json"
    again = ["inspect", str(PROMPT), *GRAM_OF, "--ncu", str(saved), "--json", str(report)]
    assert main(again) == 0
    (site,) = json.loads(report.read_text())["reports"][0]["sites"]
    assert site["profile"]["attributed_to"] == [0]
    assert site["profile"]["bound"] == how["diagnosis"]["bound"] == "memory"


def test_what_is_saved_is_read_back_as_it_was_printed() -> None:
    (metrics,) = read_metrics(GRAM.read_text()).values()
    form = prompt_form(metrics)
    (again,) = read_metrics(json.dumps({"gram_kernel": {**form, "profiled": {"a": 1}}})).values()
    assert again.values == form
    for fact in ("shared_bytes", "tensor_pipe_pct", "memory_throughput_pct", "waves", "l2_hit_pct"):
        assert getattr(again, fact) == getattr(metrics, fact) is not None
    waits = [cycles for cycles in metrics.stalls.values() if cycles]
    assert list(again.stalls.values()) == waits and len(waits) > 5
    prompt = read_prompt(PROMPT.read_text())
    assert list(form)[:5] == list(json.loads(prompt.metrics or "")["gram_kernel"])


def test_a_config_that_is_asked_for_is_profiled_untimed(here, capfd) -> None:
    gpu = FakeGpu()
    ncu = here(gpu)
    assert main(["profile", str(PROMPT), *GRAM_OF, "--config", "1"]) == 0
    assert (chosen(ncu.calls()[0]), gpu.asked) == ([["gram_kernel", 39, 1]], [])
    err = capfd.readouterr().err
    assert "#1 128,128,32 warps=8 stages=3: as asked\n" in err
    # The profile is of another config, and it shows.
    assert "80 registers, not" in err and "49,152 bytes of shared memory, not 98,304" in err


REFUSALS: dict[str, tuple[FakeGpu, list[str], int, str]] = {
    "no GPU": (FakeGpu("no GPU here"), [], 2, "codegen: no GPU here\n"),
    "a GPU nobody knows": (
        FakeGpu(Machine("NVIDIA H200Z", "", (9, 0), 1, 1, "", "", "", "")),
        [],
        2,
        "codegen: the GPU in this machine: unknown GPU 'NVIDIA H200Z'",
    ),
    "another GPU than is here": (
        FakeGpu(),
        ["--gpu", "rtx-4090"],
        2,
        "codegen: --gpu: the GPU in this machine is the NVIDIA H200 (9.0), not a NVIDIA GeForce RTX 4090",
    ),
    "a folder that is missing": (FakeGpu(), ["--json", "/nowhere/p.json"], 2, "no such folder\n"),
    "inputs that do not fit": (
        FakeGpu(),
        ["--inputs", "float32[8] float32[8]", "--config", "0"],
        2,
        "calling ModelNew failed",
    ),
}


@pytest.mark.parametrize(
    ("gpu", "options", "status", "said"), REFUSALS.values(), ids=list(REFUSALS)
)
def test_what_cannot_be_profiled_is_refused(
    gpu: FakeGpu, options: list[str], status: int, said: str, here, capfd
) -> None:
    ncu = here(gpu)
    inputs = [] if "--inputs" in options else ["--inputs", "float32[1000000]"]
    assert main(["profile", str(SCALE), *inputs, *options]) == status
    out, err = capfd.readouterr()
    assert out == "" and said in err and err.count("\n") == 1
    assert ncu.calls() == []


def test_a_config_that_cannot_launch_is_refused(here, capfd) -> None:
    ncu = here(FakeGpu())
    assert main(["profile", str(PROMPT), *GRAM_OF, "--config", "3"]) == 1
    assert (
        "prompt.md:39: config 3 of gram_kernel (128,128,64 warps=8 stages=4) cannot launch: shared memory "
        "262,144 > 232,448 bytes a block: nothing to profile\n"
    ) in capfd.readouterr().err
    assert ncu.calls() == []


def test_a_profile_of_another_kernel_is_no_profile_of_this_one(here, tmp_path: Path, capfd) -> None:
    two = tmp_path / "two.csv"
    rows = GRAM.read_text().splitlines()
    two.write_text("\n".join([*rows, rows[-1].replace("gram_kernel", "pack_kernel")]))
    here(FakeGpu(), csv=two)
    options = ["--inputs", "float32[1000000]", "--config", "0"]
    assert main(["profile", str(SCALE), *options]) == 2
    assert "Nsight Compute shows gram_kernel, pack_kernel, and not scale_kernel\n" in (
        capfd.readouterr().err
    )


def row(fault: str | None = None) -> Row:
    config = Config((("BLOCK", 64),))
    return Row(config, "original", "kept", fault or "original", "verify" if fault else None)


RIGHT, WRONG = row(), row("wrong: relative error 0.7")
CHOICES = {
    "the fastest": (
        [RIGHT, RIGHT, RIGHT],
        Timed("k", 1, (30.0, 20.0, 40.0), 1),
        Choice(1, "20 µs, the fastest of 3 by Triton's autotuner"),
    ),
    "the fastest of those that launched": (
        [RIGHT, RIGHT],
        Timed("k", 1, (30.0, None), 0),
        Choice(0, "30 µs, the fastest of 1 by Triton's autotuner"),
    ),
    "the fastest right one": (
        [RIGHT, WRONG, WRONG],
        Timed("k", 1, (30.0, 20.0, 10.0), 2),
        Choice(
            0,
            "30 µs, the fastest right one of 3 by Triton's autotuner, which would choose a wrong one: "
            "#2 (10 µs), #1 (20 µs)",
        ),
    ),
    "a wrong one where no right one was timed": (
        [RIGHT, WRONG],
        Timed("k", 1, (None, 20.0), 1),
        Choice(
            1, "20 µs, the fastest of 1 by Triton's autotuner, though wrong: relative error 0.7"
        ),
    ),
    "the only one": ([RIGHT], Timed("k", 1, (None,), 0), Choice(0, "its only config")),
    "the one that pruning left": (
        [RIGHT, RIGHT],
        Timed("k", 1, (None, None), 1),
        Choice(1, "the autotuner's choice, untimed: its pruning left no other"),
    ),
    "the first where the choice is none of the list": (
        [RIGHT, RIGHT],
        Timed("k", 1, (None, None), None),
        Choice(0, "its first config: the autotuner chose none of the list"),
    ),
    "the first of a kernel that only other GPUs launch": (
        [RIGHT, RIGHT],
        None,
        Choice(0, "its first config: the autotuner chose none of the list"),
    ),
}


@pytest.mark.parametrize(("rows", "timed", "choice"), CHOICES.values(), ids=list(CHOICES))
def test_the_config_chosen_is(rows: list[Row], timed: Timed | None, choice: Choice) -> None:
    assert choose(rows, timed) == choice


def launched(name: str, configs: int) -> Launched:
    (site,) = find_sites(SCALE.read_bytes())
    live = LiveSite(0, name, "scale.py", 7, (Config((("BLOCK", 64),)),) * configs)
    return Launched(0, replace(site, kernel=name), live)


ONE, TWO = [launched("k", 3)], [launched("k", 3), launched("pack", 1)]
PICKS = {
    "every kernel": (TWO, Wanted(), ["k", "pack"]),
    "the kernel named": (TWO, Wanted("pack"), ["pack"]),
    "the only kernel's config": (ONE, Wanted(None, 2), ["k"]),
    "the named kernel's config": (TWO, Wanted("k", 2), ["k"]),
    "an unknown kernel's": (
        TWO,
        Wanted("other"),
        "scale.py: launches no autotuned kernel other, only k, pack",
    ),
    "a config of which kernel": (
        TWO,
        Wanted(None, 0),
        "scale.py: launches k, pack: say with --kernel whose config 0 is",
    ),
    "a config beyond the list": (
        ONE,
        Wanted(None, 3),
        "scale.py:7: k has no config 3: they are 0 to 2, as `codegen inspect` numbers them",
    ),
}


@pytest.mark.parametrize(("there", "wanted", "picked"), PICKS.values(), ids=list(PICKS))
def test_what_is_asked_for_is(there, wanted: Wanted, picked: list[str] | str) -> None:
    question = Question(UserFile("scale.py", SCALE), SCALE.read_bytes(), find_gpu("h200"))
    if isinstance(picked, str):
        with pytest.raises(BadInput, match=f"^{re.escape(picked)}$"):
            pick(question, there, wanted)
    else:
        assert [each.site.kernel for each in pick(question, there, wanted)] == picked


def test_a_prompt_s_own_metrics_may_be_anything(tmp_path: Path) -> None:
    prompt = tmp_path / "p.md"
    sections = (
        "# Target GPU\nGPU Name: H200",
        f"# Current Code\n```python\n{SCALE.read_text()}```",
        "# NCU Profiling Metrics\n```json\n{}\n```",
    )
    prompt.write_text("\n".join(sections))
    with open_job(Options(str(prompt), "h200", read_profile=False)) as job:
        assert job.question.metrics is None
    with pytest.raises(BadInput, match="its metrics"), open_job(Options(str(prompt), "h200")):
        pass


@pytest.mark.gpu
@pytest.mark.parametrize("config", [0, 1])
def test_a_real_profile_is_as_predicted(config: int, tmp_path: Path, capfd) -> None:
    saved = tmp_path / "profile.json"
    options = ["--config", str(config), "--json", str(saved)]
    assert main(["profile", str(PROMPT), *GRAM_OF, *options]) == 0, capfd.readouterr().err
    how = json.loads(saved.read_text())["gram_kernel"]["profiled"]
    assert (how["unlike_predicted"], how["launches"]) == ([], 1)
    assert how["triton"] == triton.__version__
