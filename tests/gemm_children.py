"""Children that interpret and compile rendered gemm files, asked by the tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from codegen.fitting import forward_inputs
from codegen.gpu import find_gpu
from codegen.problem import Problem
from codegen.render import choose, render

HERE = Path(__file__).resolve().parent
KERNELS = ("gemm_kernel", "gemm_tma_kernel", "gemm_parts_kernel", "gemm_sliced_kernel")  # autotuned
PERSISTENT = ("gemm_tma_kernel", "gemm_parts_kernel")  # whose products run one into the next


class Child:
    """One of the scripts beside this file, answering a line of JSON with a line of JSON."""

    def __init__(self, script: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **question: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the child ended with status {self._process.wait()}"
        return json.loads(answer)

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def rendered(problem: Problem, gpu: str, folder: Path) -> Path:
    path = folder / "rendered.py"
    path.write_text(render(problem, find_gpu(gpu), choose(problem, find_gpu(gpu))), "utf-8")
    return path


def interpret(
    child: Child, path: Path, gpu: str, problem: Problem, way: str = "contiguous"
) -> set[str]:
    """Asserts that every config which operands of the problem lead to is right; the kernels that ran."""
    return {result["kernel"] for result in checked(child, path, gpu, problem, way)}


def checked(
    child: Child,
    path: Path,
    gpu: str,
    problem: Problem,
    way: str = "contiguous",
    *,
    backwards: bool = False,
    copying: bool = False,
) -> list[dict[str, Any]]:
    """The child's answer, asserted to be right.

    `backwards` runs the last programs first; with `copying` operands that descriptors cannot address are copied
    for them, small as they are.
    """
    question = {"problem": problem.to_json(), "way": way, "backwards": backwards}
    question["copying"] = copying
    answer: list[dict[str, Any]] = child.ask(path=str(path), gpu=gpu, **question)
    assert answer
    for result in answer:
        told = f"{result['kernel']} {result['config']}"
        assert result["error"] <= result["bound"], f"{told}: error {result['error']:.2g}"
        assert result["shape"] == [*problem.batch, problem.m, problem.n], told
        assert result["dtype"] == f"torch.{problem.out_dtype}", told
        assert not result["changed"], f"{told} wrote into its operands"
    return answer


def compile_for(child: Child, path: Path, gpu: str, calls: list[Problem]) -> set[str]:
    """Asserts that every config of the kernels which the calls launch fits the GPU; these kernels."""
    spec = find_gpu(gpu)
    inputs = [" ".join(map(str, forward_inputs(call))) for call in calls]
    answer = child.ask(path=str(path), gpu=gpu, inputs=inputs)
    assert answer
    for result in answer:
        told = f"{result['kernel']} {result['meta']}"
        assert "rejected" not in result, f"{told}: {result.get('rejected')}"
        assert result["shared_bytes"] <= spec.shared_per_block, told
        assert result["registers"] <= spec.max_registers_per_thread, told
        if result["kernel"] in PERSISTENT:
            assert not result["serialised"], f"{told}: products wait for one another"
        assert result["registers"] * result["warps"] * spec.warp_size <= spec.registers_per_sm, told
    return {result["kernel"] for result in answer}
