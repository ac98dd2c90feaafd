"""Runs rendered trimm files in Triton's interpreter: questions in on standard input, answers out, as JSON.

A process of its own, since Triton reads TRITON_INTERPRET when it is imported. A question names one of the
functions below (`ask`) and its arguments.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

os.environ["TRITON_INTERPRET"] = "1"
sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]

import torch  # noqa: E402
import triton  # noqa: E402
import triton.language as tl  # noqa: E402
from trimm_operands import operand, product, relative_error, triangle  # noqa: E402
from triton.runtime.autotuner import Autotuner  # noqa: E402
from triton.runtime.interpreter import GridExecutor  # noqa: E402

from codegen import trimm  # noqa: E402
from codegen.gpu import find_gpu  # noqa: E402
from codegen.guard import Allocating  # noqa: E402
from codegen.load import import_file  # noqa: E402
from codegen.pretend import PretendCuda, pretend_gpu  # noqa: E402
from codegen.problem import Problem  # noqa: E402
from codegen.render import render  # noqa: E402
from codegen.repair import repair_interpreter  # noqa: E402
from codegen.spec import Configs  # noqa: E402

FEW_PROGRAMS = 3  # so that each program of a persistent kernel takes several tiles


def main() -> None:
    repair_interpreter()
    execute = GridExecutor.__call__

    def on_cpu(self: GridExecutor, *args: Any, **kwargs: Any) -> None:
        with torch._C.DisableTorchFunction():  # the interpreter must see where tensors really are
            execute(self, *args, **kwargs)

    GridExecutor.__call__ = on_cpu
    answer = {
        "errors": errors,
        "queue": queue,
        "dealt": dealt,
        "refusals": refusals,
        "empty": empty,
    }
    for line in sys.stdin:
        question = json.loads(line)
        print(json.dumps(answer[question.pop("ask")](**question)), flush=True)


def errors(
    problem: dict[str, Any], gpu: str, kernel: str, place: str, rest: int, n: int | None
) -> list[dict[str, Any]]:
    """For each candidate of a kernel: its error against float64, and PyTorch's on the same operands.

    N is two of the larger side of the config's tile and a rest, or more where squares on the diagonal are copied,
    unless it is given.
    """
    spec = Problem.from_json(problem)
    module, configs, view = load(spec, gpu)
    results = []
    for config in configs[kernel]:
        meta = {name: int(str(value)) for name, value in config.meta}
        side = max(value for name, value in meta.items() if name in ("BLOCK_M", "BLOCK_N", "BLOCK"))
        # Into a second square of what is copied, in the kernel that reads it.
        band = getattr(module, "BAND", 0) if kernel == view.descriptor_kernel else 0
        size = max(2 * side, band + side if band else 0) + rest if n is None else n
        if "PROGRAMS" in meta:
            meta["PROGRAMS"] = FEW_PROGRAMS
        A, B = (operand(spec, name, size, place) for name in "AB")
        hook = getattr(module, kernel).configs[0].pre_hook
        launched, C = run(module, {kernel: triton.Config(meta, pre_hook=hook)}, A, B)
        packed = view.packed and kernel == view.descriptor_kernel
        rounded = ("a", "b") if packed else view.rounded
        exact = product(view, A, B, torch.float64, rounded)
        theirs = product(view, A, B, torch.float32, rounded).to(C.dtype)
        results.append(
            {
                "config": f"{config}, N={size}",
                "launched": launched,
                "shape": list(C.shape) == list(A.shape),
                "dtype": str(C.dtype).removeprefix("torch."),
                "error": relative_error(C, exact),
                "library_error": relative_error(theirs, exact),
                "zeros": bool((C[..., ~triangle(size, view.lower)] == 0).all()),
            }
        )
    return results


def queue(triangle: str, n: int, block_m: int, block_n: int) -> list[tuple[int, int]]:
    """The tiles in the order of the rendered file's queue."""
    module, _, _ = load(Problem("trimm", n, n, n, triangle=triangle), "rtx-4090")
    plain = types.SimpleNamespace(cdiv=lambda a, b: -(-a // b))
    tile_at = types.FunctionType(module.tile_at.fn.__code__, {"tl": plain})
    places = plain.cdiv(n, block_m) * plain.cdiv(n, block_n)
    return [tile_at(place, n, block_m, block_n) for place in range(places)]


def dealt(triangle: str, n: int, meta: dict[str, int]) -> list[list[list[int]]]:
    """For each program of the rendered file's persistent kernel, its tiles in turn: first row and column, steps.

    Tiles beside the triangle are left out.
    """
    module, _, _ = load(
        Problem("trimm", 4096, 4096, 4096, triangle=triangle, dtype="float16"), "h200"
    )
    side = -(-n // meta["SPAN"])
    rounds = side * (side + 1) // 2 * meta["SPAN"] ** 2 // meta["BLOCK_M"] // meta["BLOCK_N"]
    tiles = torch.zeros(meta["PROGRAMS"], rounds, 4, dtype=torch.int32)
    globals()["dealt_tile"] = module.dealt_tile
    with torch._C.DisableTorchFunction():
        note_dealt[(meta["PROGRAMS"],)](tiles, n, rounds, **meta)
    return [[tile[:3] for tile in share if tile[2] and not tile[3]] for share in tiles.tolist()]


@triton.jit
def note_dealt(
    tiles_ptr,
    N,
    rounds,
    PROGRAMS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SPAN: tl.constexpr,
):
    for round in range(rounds):
        row, col, steps, idle = dealt_tile(  # noqa: F821 - the file's own, put here by `dealt`
            round, N, PROGRAMS, BLOCK_M, BLOCK_N, BLOCK_K, SPAN
        )
        tile_ptr = tiles_ptr + (tl.program_id(0) * rounds + round) * 4
        tl.store(tile_ptr, row)
        tl.store(tile_ptr + 1, col)
        tl.store(tile_ptr + 2, steps)
        tl.store(tile_ptr + 3, idle.to(tl.int32))


def refusals(problem: dict[str, Any], gpu: str) -> dict[str, str]:
    """What the wrapper says to operands that do not fit: case -> message."""
    module, _, _ = load(Problem.from_json(problem), gpu)
    square, wide = torch.zeros(8, 8), torch.zeros(8, 9)
    cases = {
        "not square": (wide, wide),
        "sizes differ": (square, torch.zeros(9, 9)),
        "a vector": (torch.zeros(8), torch.zeros(8)),
        "a batch": (torch.zeros(2, 8, 8), torch.zeros(2, 8, 8)),
        "another type": (square.double(), square.double()),
        "types differ": (square, square.half()),
    }
    said = {}
    for case, operands in cases.items():
        with PretendCuda("cpu"), Allocating("cpu"):
            said[case] = refusal(module, *operands)
    said["on the CPU"] = refusal(module, square, square)
    return said


def refusal(module: types.ModuleType, *operands: torch.Tensor) -> str:
    try:
        module.ModelNew()(*operands)
    except ValueError as error:
        return str(error)
    return "accepted"


def empty(problem: dict[str, Any], gpu: str) -> dict[str, Any]:
    """What comes of matrices without elements."""
    module, _, _ = load(Problem.from_json(problem), gpu)
    launched, C = run(module, {}, torch.zeros(0, 0), torch.zeros(0, 0))
    return {"launched": launched, "shape": list(C.shape)}


def load(spec: Problem, gpu: str) -> tuple[types.ModuleType, Configs, trimm.View]:
    """The rendered file with all candidates of each kernel, not only the best six."""
    target = find_gpu(gpu)
    pretend_gpu(target)
    form = trimm.form(spec, target)
    configs = {name: tuple(c.config for c in found) for name, found in form.kernels.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rendered.py")
        path.write_text(render(spec, target, configs))
        with PretendCuda("cpu"), Allocating("cpu"):
            module = import_file(str(path))
    if hasattr(module, "PROGRAMS"):
        module.PROGRAMS = FEW_PROGRAMS
    assert isinstance(form.view, trimm.View)
    return module, configs, form.view


def run(
    module: types.ModuleType, only: dict[str, triton.Config], *operands: torch.Tensor
) -> tuple[list[str], torch.Tensor]:
    """The kernels that the model launched, and its result, with one config of each kernel named."""
    launched: list[str] = []
    tuned = Autotuner.run

    def noted(self: Autotuner, *args: Any, **kwargs: Any) -> None:
        launched.append(self.base_fn.__name__)
        self.configs = [only[launched[-1]]] if launched[-1] in only else self.configs[:1]
        tuned(self, *args, **kwargs)

    Autotuner.run = noted
    try:
        with PretendCuda("cpu"), Allocating("cpu"), torch.no_grad():
            return launched, module.ModelNew()(*operands)
    finally:
        Autotuner.run = tuned


if __name__ == "__main__":
    main()
