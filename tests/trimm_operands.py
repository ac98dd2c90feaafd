"""Triangular operands and references for rendered trimm files: for the tests in the interpreter and on a GPU."""

from __future__ import annotations

import torch

from codegen.problem import Problem
from codegen.trimm import View

NAN = float("nan")

# How an operand may lie in memory. All but the first leave descriptors no way to address it: rows that are
# not whole 16 bytes apart or do not start at one, elements of a row that are not side by side.
PLACES = ("contiguous", "in a larger matrix", "every other row and column", "column by column")


def operand(problem: Problem, name: str, n: int, place: str, device: str = "cpu") -> torch.Tensor:
    """A or B: standard normal in its triangle, NaN outside it and in the memory around it."""
    generator = torch.Generator(device).manual_seed(ord(name))
    shape = (*problem.batch, n, n)
    dtype = getattr(torch, problem.dtype)
    values = torch.randn(shape, device=device, generator=generator).to(dtype)
    lower = (problem.triangle == "lower") == (problem.layout["AB".index(name)] == "n")
    values = torch.where(triangle(n, lower, device), values, NAN)
    if place == "contiguous":
        return values
    if place == "column by column":
        return values.mT.contiguous().mT
    around = torch.full((*problem.batch, 2 * n + 5, 2 * n + 3), NAN, dtype=dtype, device=device)
    view = (
        around[..., 1 : n + 1, 3 : n + 3]
        if place == "in a larger matrix"
        else around[..., 1 : 2 * n + 1 : 2, 3 : 2 * n + 3 : 2]
    )
    return view.copy_(values)


def triangle(n: int, lower: bool, device: str = "cpu") -> torch.Tensor:
    """True on and below the diagonal, or on and above it."""
    ones = torch.ones(n, n, dtype=torch.bool, device=device)
    return ones.tril() if lower else ones.triu()


def product(
    view: View, A: torch.Tensor, B: torch.Tensor, dtype: torch.dtype, rounded: tuple[str, ...] = ()
) -> torch.Tensor:
    """What PyTorch makes of the triangles in `dtype`, the operands named in `rounded` rounded to TF32 first."""
    n = A.shape[-1]
    kept = triangle(n, view.lower, str(A.device))
    factors = []
    for name, x in (("A", A), ("B", B)):
        x = x.mT if name in view.transposed else x
        x = torch.where(kept, x.double(), 0.0)
        x = to_tf32(x) if name.lower() in rounded else x
        factors.append(x.to(dtype))
    return torch.where(kept, factors[0] @ factors[1], 0.0)


def to_tf32(x: torch.Tensor) -> torch.Tensor:
    """float64 to TF32's 11 significant bits, ties away from zero: by the exponent, not by the bit pattern."""
    mantissa, exponent = torch.frexp(x)
    magnitude = torch.ldexp(torch.floor(mantissa.abs() * 2**11 + 0.5) / 2**11, exponent)
    return magnitude.copysign(x)


def relative_error(out: torch.Tensor, exact: torch.Tensor) -> float:
    """||out - exact|| / ||exact||, Frobenius; NaN where an element of out is."""
    return float((out.double() - exact).norm() / exact.norm())
