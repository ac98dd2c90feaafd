"""Runs rendered files of split operands in Triton's interpreter: questions in on standard input, answers out, as JSON.

A process of its own, since Triton reads TRITON_INTERPRET when it is imported. A question is {"problem", "gpu",
"special", "rendered_for": a problem of other sizes, or null}; an answer has an entry for the first and the last config
that were chosen.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ |= {"TRITON_INTERPRET": "1", "TORCHDYNAMO_DISABLE": "1"}
sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]

import torch  # noqa: E402
from gemm_operands import load, only  # noqa: E402
from torch.overrides import TorchFunctionMode  # noqa: E402

from codegen.gpu import find_gpu  # noqa: E402
from codegen.guard import Allocating  # noqa: E402
from codegen.pretend import PretendCuda, pretend_gpu  # noqa: E402
from codegen.problem import Problem  # noqa: E402
from codegen.render import choose, filled_in  # noqa: E402
from codegen.repair import repair_interpreter  # noqa: E402

FEW_PROGRAMS = 3  # so that each program of a persistent kernel takes several tiles
# Of a file that sums K in slices: so that there are some though K is short.
SHORT_SLICES = {"PROCESSORS": 6, "LEAST_STEPS": 1}
EXPONENTS = 60  # rows and columns are scaled by up to 2^60 and down to 2^-60
TINY = 1e-300  # where a whole row or column is zero
NAN, INFINITY = float("nan"), float("inf")


def main() -> None:
    repair_interpreter()
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), flush=True)


def answer(
    problem: dict[str, Any], gpu: str, special: bool, rendered_for: dict[str, Any] | None
) -> list[dict[str, Any]]:
    spec, target = Problem.from_json(problem), find_gpu(gpu)
    pretend_gpu(target)
    asked = Problem.from_json(rendered_for) if rendered_for else spec
    configs = choose(asked, target)
    (name,) = configs
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rendered.py")
        path.write_text(filled_in(asked, target, configs))
        module = load(path)
    for constant, value in SHORT_SLICES.items():
        if hasattr(module, constant):
            setattr(module, constant, value)
    kernel = getattr(module, name)
    a, b = factors(spec)
    if special:
        plant(spec, a, b)
    given = [stored(x, way) for x, way in zip((a, b), spec.layout, strict=True)]
    results = []
    for place in {0, len(kernel.configs) - 1}:
        kernel.configs[place].kwargs["PROGRAMS"] = FEW_PROGRAMS
        with only(kernel, place), PretendCuda("cpu"), Allocating("cpu"), Counting() as counted:
            out = module.ModelNew()(*given)
        workspace = counted.bytes - out.nbytes
        results.append(
            {"config": place, "workspace_bytes": workspace}
            | (lost(spec, a, b, out) if special else far(a, b, out))
        )
    return results


class Counting(TorchFunctionMode):
    """Counts the bytes of the tensors that are made."""

    bytes = 0

    def __torch_function__(
        self, function: Any, _types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        if function in (torch.empty, torch.zeros):
            self.bytes += made.nbytes
        return made


def factors(spec: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    """A [.., M, K] and B [.., K, N] with rows of A and columns of B of very different magnitude."""
    generator = torch.Generator().manual_seed(0)

    def normal(name: str, rows: int, columns: int) -> torch.Tensor:
        batch = spec.batch if name in spec.batched else ()
        x = torch.randn((*batch, rows, columns), generator=generator)
        half = {"lower": torch.tril, "upper": torch.triu}.get(spec.triangle or "")
        return half(x) if half else x

    def scales(x: torch.Tensor, dim: int) -> torch.Tensor:
        shape = [*x.shape]
        shape[dim] = 1
        return 2 ** ((2 * torch.rand(shape, generator=generator) - 1) * EXPONENTS)

    a, b = normal("a", spec.m, spec.k), normal("b", spec.k, spec.n)
    return a * scales(a, -1), b * scales(b, -2)


def stored(x: torch.Tensor, way: str) -> torch.Tensor:
    return x if way == "n" else x.mT.contiguous()


def far(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> dict[str, float]:
    """The largest error of a row, and PyTorch's in float32. Columns count alike, whatever their magnitude.

    Relative to the root of the sum of its terms' squares, which terms that cancel out do not make small: a row
    of a triangle may have two.
    """
    exact, typical = a.double() @ b.double(), (a.double().square() @ b.double().square()).sqrt()
    columns = typical.norm(dim=-2, keepdim=True).clamp_min(TINY)

    def of_rows(result: torch.Tensor) -> float:
        difference = ((result.double() - exact) / columns).norm(dim=-1)
        return float((difference / (typical / columns).norm(dim=-1).clamp_min(TINY)).max())

    return {"error": of_rows(out), "library_error": of_rows(a @ b)}


def plant(spec: Problem, a: torch.Tensor, b: torch.Tensor) -> None:
    """A NaN and both infinities, each in a row or column of its own, on the diagonals, which every triangle has.

    If there is none, others at the end of K.
    """
    for place, (x, value) in enumerate([(a, NAN), (a, INFINITY), (b, NAN), (b, -INFINITY)]):
        x[..., 7 * place + 3, 7 * place + 3] = value
    if spec.triangle is None:
        a[..., -1, -1], a[..., -2, -1], b[..., -1, -2] = INFINITY, NAN, NAN


def lost(spec: Problem, a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> dict[str, Any]:
    """How many elements are finite though a value that decides them is not, and the error of the others.

    A value decides an element if its factor is an element of the operand: beside a triangle none is.
    """

    def triangle(x: torch.Tensor) -> torch.Tensor:
        half = {"lower": torch.tril, "upper": torch.triu}.get(spec.triangle or "")
        return half(torch.ones_like(x)) if half else torch.ones_like(x)

    bad_a, bad_b = (~a.isfinite()).float(), (~b.isfinite()).float()
    decided = bad_a @ triangle(b) + triangle(a) @ bad_b > 0
    # The rest is what it would be without the rows and columns that hold such values.
    bad_rows, bad_columns = bad_a.any(-1, keepdim=True), bad_b.any(-2, keepdim=True)
    finite_a, finite_b = torch.where(bad_rows, 0.0, a), torch.where(bad_columns, 0.0, b)
    return {
        "decided": int(decided.sum()),
        "finite": int((decided & out.isfinite()).sum()),
        **far(finite_a, finite_b, torch.where(bad_rows | bad_columns, 0.0, out)),
    }


if __name__ == "__main__":
    main()
