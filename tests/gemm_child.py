"""Runs rendered gemm files in Triton's interpreter: questions in on standard input, answers out, as JSON.

A process of its own, since Triton reads TRITON_INTERPRET when it is imported. A question is
{"path", "problem", "gpu", "way", "backwards": whether the last programs of a grid run first, "copying": whether
operands are copied for descriptors however small they are}; an answer lists,
for each config that ran, the kernel, the config, the error against float64 and the library's, the result's bits.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ |= {"TRITON_INTERPRET": "1", "TORCHDYNAMO_DISABLE": "1"}
sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]

import gemm_operands as gemm  # noqa: E402
import torch  # noqa: E402
from gemm_children import KERNELS  # noqa: E402
from triton.runtime.interpreter import InterpreterBuilder  # noqa: E402

from codegen.gpu import find_gpu  # noqa: E402
from codegen.guard import Allocating  # noqa: E402
from codegen.pretend import PretendCuda, pretend_gpu  # noqa: E402
from codegen.problem import Problem  # noqa: E402
from codegen.repair import repair_interpreter  # noqa: E402

FEW_SMS = 3  # so that a persistent program walks over several tiles


def main() -> None:
    repair_interpreter()
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


def answer(question: dict[str, Any]) -> list[dict[str, Any]]:
    """Runs every config of every kernel that the operands lead to."""
    problem = Problem.from_json(question["problem"])
    pretend_gpu(find_gpu(question["gpu"]))
    module = gemm.load(Path(question["path"]))
    if hasattr(module, "NUM_SMS"):
        module.NUM_SMS = FEW_SMS
    if hasattr(module, "LEAST_STEPS"):
        module.LEAST_STEPS = 1  # so that a short K has slices
        module.SUM_ROWS = 64  # fewer programs take less time here
    if question["copying"]:
        module.copying_pays = lambda *_sizes: True
    given = gemm.operands(problem, "cpu", way=question["way"])
    kept = [x.clone() for x in given]
    expected = gemm.reference(problem, given, torch.float64)
    theirs = gemm.relative_error(gemm.library(problem, given), expected)
    results = []
    for name in KERNELS:
        kernel = getattr(module, name, None)
        for index in range(len(kernel.configs) if kernel else 0):
            launches: list[str] = []
            if "PROGRAMS" in kernel.configs[index].kwargs:
                kernel.configs[index].kwargs["PROGRAMS"] = FEW_SMS
            order = backwards if question["backwards"] else contextlib.nullcontext
            with gemm.only(kernel, index) as config, counting(module, launches), order():
                out = call(module, given)
            if name not in launches and launches:
                break  # these operands lead to the other kernel
            results.append(
                {
                    "kernel": name,
                    "config": str(config),
                    "shape": list(out.shape),
                    "dtype": str(out.dtype),
                    "error": gemm.relative_error(out, expected),
                    "library_error": theirs,
                    "bound": gemm.bound(problem, theirs),
                    "changed": not gemm.same(given, kept),
                    "bits": hashlib.sha256(out.contiguous().view(torch.uint8).numpy()).hexdigest(),
                }
            )
            if not launches:
                break  # nothing to compute
    return results


def call(module: Any, given: list[Any]) -> torch.Tensor:
    with PretendCuda("cpu"), Allocating("cpu"), torch.no_grad():
        out: torch.Tensor = module.ModelNew()(*given)
    return out


@contextlib.contextmanager
def backwards() -> Iterator[None]:
    """Runs the programs of a grid from the last to the first."""
    forwards = InterpreterBuilder.set_grid_idx

    def reversed_index(self: Any, *place: int) -> None:
        forwards(self, *(size - 1 - i for size, i in zip(self.grid_dim, place, strict=True)))

    InterpreterBuilder.set_grid_idx = reversed_index
    try:
        yield
    finally:
        InterpreterBuilder.set_grid_idx = forwards


class counting:
    """Notes which autotuned kernels of a module are launched; the others run with their first config."""

    def __init__(self, module: Any, launches: list[str]) -> None:
        self._kernels = {n: getattr(module, n) for n in KERNELS if hasattr(module, n)}
        self._launches = launches

    def __enter__(self) -> None:
        self._configs = {n: kernel.configs for n, kernel in self._kernels.items()}
        for name, kernel in self._kernels.items():
            kernel.configs = kernel.configs[:1]
            kernel.run = self._noting(name, type(kernel).run.__get__(kernel))

    def _noting(self, name: str, run: Any) -> Any:
        def noted(*args: Any, **kwargs: Any) -> Any:
            self._launches.append(name)
            return run(*args, **kwargs)

        return noted

    def __exit__(self, *_error: object) -> None:
        for name, kernel in self._kernels.items():
            kernel.configs = self._configs[name]
            del kernel.run


if __name__ == "__main__":
    main()
