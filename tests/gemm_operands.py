"""Operands and references for rendered gemm files: shared by the tests in the interpreter and on a GPU."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F

from codegen.precision import MEASURED_ERROR
from codegen.problem import FLOAT8, Problem

# How an operand may lie in memory without being another operand: all of it is what torch.matmul takes.
WAYS = (
    "contiguous",
    "every second element",
    "one element in",
    "transposed in memory",
    "expanded",
    "rows 2^30 elements apart",
    "batches of one",
    "not all finite",
)

_FAR = (1 << 30) + 8


def operands(problem: Problem, device: str, seed: int = 0, way: str = "contiguous") -> list[Any]:
    """Standard normal tensors for `forward`, in its order, of the problem's own sizes."""
    generator = torch.Generator(device).manual_seed(seed)
    shapes = {"A": _stored("mk", problem, 0), "B": _stored("kn", problem, 1)}
    if way == "batches of one" and problem.batch:
        shapes["A"] = (1, *shapes["A"][1:])
        shapes["B"] = (*shapes["B"][:-3], 1, *shapes["B"][-2:])
    for step in problem.epilogue:
        if step.op == "bias":
            shapes["bias"] = (problem.n,)
        elif step.op == "residual":
            shapes["residual"] = (*problem.batch, problem.m, problem.n)
    made = []
    for name, shape in shapes.items():
        dtype = getattr(torch, problem.dtype if name in "AB" else problem.out_dtype)
        made.append(_laid_out(shape, dtype, way, device, generator))
    if way == "not all finite":
        for corner, value in zip([(0, 0), (0, -1), (-1, 0)], ["nan", "inf", "-inf"], strict=True):
            made[0][(..., *corner)] = float(value)
    return made


def _stored(sides: str, problem: Problem, index: int) -> tuple[int, ...]:
    rows, columns = (getattr(problem, side) for side in sides)
    matrix = (rows, columns) if problem.layout[index] == "n" else (columns, rows)
    return (*(problem.batch if "ab"[index] in problem.batched else ()), *matrix)


def _laid_out(
    shape: tuple[int, ...], dtype: torch.dtype, way: str, device: str, generator: torch.Generator
) -> torch.Tensor:
    if way == "every second element":
        wide = (*shape[:-1], 2 * shape[-1])
        return _normal(wide, dtype, device, generator)[..., ::2]
    if way == "one element in":
        flat = _normal((1 + torch.Size(shape).numel(),), dtype, device, generator)
        return flat[1:].view(shape)
    if way == "transposed in memory" and len(shape) > 1:
        return _normal((*shape[:-2], shape[-1], shape[-2]), dtype, device, generator).mT
    if way == "expanded":
        return _normal((*shape[:-1], 1), dtype, device, generator).expand(shape)
    if way == "rows 2^30 elements apart" and len(shape) == 2:
        # Three rows end past 2^31 elements; the memory between them is never touched.
        storage = torch.empty((shape[0] - 1) * _FAR + shape[1], dtype=dtype, device=device)
        far = storage.as_strided(shape, (_FAR, 1))
        far.copy_(_normal(shape, dtype, device, generator))
        return far
    return _normal(shape, dtype, device, generator)


def _normal(
    shape: tuple[int, ...], dtype: torch.dtype, device: str, generator: torch.Generator
) -> torch.Tensor:
    return torch.randn(shape, device=device, generator=generator).to(dtype)


def reference(problem: Problem, given: list[Any], compute: torch.dtype) -> torch.Tensor:
    """The problem in plain PyTorch, computed in `compute` and not rounded to the result's type."""
    values = [x.to(compute) for x in given]
    a, b, extras = values[0], values[1], iter(values[2:])
    c = (a if problem.layout[0] == "n" else a.mT) @ (b if problem.layout[1] == "n" else b.mT)
    for step in problem.epilogue:
        if step.op in ("bias", "residual"):
            c = c + next(extras)
        elif step.op == "scale":
            c = c * step.value
        elif step.op == "gelu_tanh":
            c = F.gelu(c, approximate="tanh")
        else:
            c = getattr(F, step.op)(c)
    return c


def library(problem: Problem, given: list[Any]) -> torch.Tensor:
    """What PyTorch gives at the problem's own types: float32 sums, the result rounded to its type."""
    compute = torch.float32 if problem.dtype in FLOAT8 else getattr(torch, problem.dtype)
    return reference(problem, given, compute).to(getattr(torch, problem.out_dtype))


def relative_error(out: torch.Tensor, ref: torch.Tensor) -> float:
    """||out - ref|| / ||ref||, Frobenius, over what is finite in ref; NaN where the rest differs."""
    out, finite = out.double(), ref.isfinite()
    if not torch.allclose(out[~finite], ref[~finite], equal_nan=True):
        return float("nan")
    difference = (out - ref)[finite].norm().item()
    norm = ref[finite].norm().item()
    return difference / norm if norm else difference


def same(some: list[Any], others: list[Any]) -> bool:
    """Whether tensors are equal, NaN to NaN."""
    pairs = zip(some, others, strict=True)
    return all(
        torch.equal(x.float().nan_to_num(1e30), y.float().nan_to_num(1e30)) for x, y in pairs
    )


def bound(problem: Problem, library_error: float) -> float:
    """How far a right result may be from float64.

    Twice the library's error, for another order of summation, and one unit of the result's last place, for
    Triton's interpreter, which drops bits where the hardware rounds. What float32 products at less than
    float32 grade may add is documented with the precisions: three times it covers small sums.
    """
    precision = problem.precision or "ieee"
    documented = 3 * MEASURED_ERROR[precision] if problem.dtype == "float32" else 0.0
    return 2 * library_error + torch.finfo(getattr(torch, problem.out_dtype)).eps + documented


def load(path: Path) -> ModuleType:
    """Imports a rendered file under a name of its own."""
    spec = importlib.util.spec_from_file_location(f"rendered_{path.stem.replace('-', '_')}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def only(kernel: Any, index: int) -> Iterator[Any]:
    """An autotuned kernel with one of its configs alone: it runs that, and times nothing."""
    configs, kernel.configs = kernel.configs, [kernel.configs[index]]
    try:
        yield kernel.configs[0]
    finally:
        kernel.configs = configs
