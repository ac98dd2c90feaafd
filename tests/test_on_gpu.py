"""The child that runs a file on the GPU, with the CPU and Triton's interpreter in the GPU's place."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from codegen.warm import program

# What the child does to a file is written down by the file itself: which config its kernels ran with, and
# (PyTorch's own functions replaced before it starts) whether the profiler was on.
FILE = """
import torch
import torch.nn as nn
import triton
import triton.language as tl


def bench(call, quantiles):
    call()
    return planted.pop(0)


planted = [[3.0, 3.0, 3.0], [float("inf")] * 3, [0.5, 0.4, 0.6]]


@triton.autotune(
    configs=[
        triton.Config({"BLOCK": 16}, pre_hook=lambda args: log("hook")),
        triton.Config({"BLOCK": 32}, pre_hook=lambda args: log("hook")),
        triton.Config({"BLOCK": 64}, pre_hook=lambda args: log("hook")),
    ],
    key=["n"],
    do_bench=bench,
)
@triton.jit
def double_kernel(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + i, 2 * tl.load(x_ptr + i, mask=i < n), mask=i < n)


@triton.autotune(configs=[triton.Config({"BLOCK": 128})], key=["n"])
@triton.jit
def fill_kernel(y_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + i, 0.0, mask=i < n)


def log(word):
    with open(LOG, "a") as file:
        file.write(f"{word}\\n")


def launch(kernel, n):
    def grid(meta):
        log(f"{kernel} {meta['BLOCK']}")
        return (triton.cdiv(n, meta["BLOCK"]),)

    return grid


class ModelNew(nn.Module):
    def forward(self, x, times):
        y = torch.empty_like(x)
        fill_kernel[launch("fill", x.numel())](y, x.numel())
        for _ in range(times):
            double_kernel[launch("double", x.numel())](x, y, x.numel())
        return y
"""

CPU = """
import contextlib, torch, codegen.on_gpu as on_gpu
on_gpu._DEVICE = "cpu"
def log(word):
    with open({log!r}, "a") as file:
        file.write(word + "\\n")
torch.cuda.synchronize = lambda: None
torch.cuda.profiler.start = lambda: log("start")
torch.cuda.profiler.stop = lambda: log("stop")
"""


@pytest.fixture
def answers(tmp_path: Path) -> Any:
    """A function of questions -> (the child's answer, what happened in it)."""
    path, log = tmp_path / "kernels.py", tmp_path / "log"

    def ask(*questions: dict[str, Any], source: str = FILE) -> tuple[Any, list[str]]:
        path.write_text(f"LOG = {str(log)!r}\n{source}")
        asked, answered = tmp_path / "ask.json", tmp_path / "answer.json"
        asked.write_text(json.dumps([{**question, "path": str(path)} for question in questions]))
        arguments = ["-P", "-c", CPU.format(log=str(log)) + program("main_of_files"), "gpu"]
        subprocess.run(
            [sys.executable, *arguments, str(asked), str(answered)],
            env={"TRITON_INTERPRET": "1", "PATH": ""},
            check=True,
            capture_output=True,
        )
        return json.loads(answered.read_text()), log.read_text().split("\n")[:-1]

    return ask


def load(times: int = 1) -> dict[str, Any]:
    tensor = {"dtype": "float32", "shape": [100], "structure": None}
    return {"op": "load", "problem": None, "inputs": [tensor, times]}


def line_of(kernel: str) -> int:
    lines = ["", *FILE.splitlines()]  # the log's path comes first
    below = next(number for number, text in enumerate(lines, 1) if f"def {kernel}" in text)
    return max(n for n, text in enumerate(lines, 1) if "@triton.autotune" in text and n < below)


def profile(config: int, *shown: str) -> dict[str, Any]:
    return {
        "op": "profile",
        "chosen": [["double_kernel", line_of("double_kernel"), config]],
        "shown": [[kernel, line_of(kernel)] for kernel in shown],
    }


def test_the_profiler_sees_one_launch_of_the_chosen_config_and_nothing_else(answers) -> None:
    answer, log = answers(load(), profile(2, "double_kernel"))
    assert answer == {"result": None}
    call = ["fill 128", "hook", "double 64"]
    assert log == [*call, *call, "fill 128", "hook", "start", "double 64", "stop"]


def test_each_kernel_that_is_asked_for_is_seen(answers) -> None:
    _, log = answers(load(), profile(0, "double_kernel", "fill_kernel"))
    seen = ["start", "fill 128", "stop", "hook", "start", "double 16", "stop"]
    assert log[-len(seen) :] == seen


def test_of_many_launches_in_a_call_the_first_four_are_seen(answers) -> None:
    _, log = answers(load(times=6), profile(1, "double_kernel"))
    assert (log.count("start"), log.count("stop")) == (4, 4)
    assert log[-4:] == ["hook", "double 32", "hook", "double 32"]


def test_a_launch_that_fails_is_the_answer_and_no_later_question_is_tried(answers) -> None:
    broken = FILE.replace("return (triton.cdiv", "raise ValueError('no grid')\n        return (")
    answer, log = answers(
        load(), profile(1, "double_kernel"), profile(1, "fill_kernel"), source=broken
    )
    assert "ValueError: no grid" in answer["error"]
    assert log == ["fill 128"]


def test_the_autotuner_s_own_times_are_answered_in_microseconds(answers) -> None:
    answer, _ = answers(load(), {"op": "timings"})
    assert answer == {
        "result": [
            {
                "kernel": "fill_kernel",
                "line": line_of("fill_kernel"),
                "times_us": [None],
                "best": 0,
            },
            {
                "kernel": "double_kernel",
                "line": line_of("double_kernel"),
                "times_us": [3000.0, None, 500.0],
                "best": 2,
            },
        ]
    }
