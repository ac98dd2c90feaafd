"""Model times of every form of a gemm, to choose the form before anything is timed.

Each is the model time of its best tiles (rank.py), times what products of that form took on an H200 beside it, after
what it takes to begin: a launch, copies of operands. The figures are from 45 shapes in each of four types (PyTorch 2.11,
Triton 3.6; tests/gpu/choice_grid.py), and are the nearer, the nearer two forms are to each other. They are for choosing
among forms, not for predicting times.

Problems are flat here (`gemm_view.flat`), configs the best of their form.
"""

from __future__ import annotations

from codegen.config import Config
from codegen.gemm_configs import needs_registers, peak_tflops
from codegen.gemm_split import SPLIT
from codegen.gemm_view import ragged, row_lengths
from codegen.gpu import GpuSpec
from codegen.precision import COPY_BYTES_PER_S, splitting_seconds
from codegen.problem import ITEM_BYTES, Problem
from codegen.rank import seconds
from codegen.slices import Slices, one_by_one

# From the launch to the first product and from the last one to the end; of slices with the launch before it, which
# zeroes counters, and the way of sums through L2. Parts have three launches before theirs, of which
# `splitting_seconds` counts two.
_POINTERS_S, _SLICES_S, _DESCRIPTORS_S, _PARTS_S = 2.5e-6, 5.5e-6, 3.6e-6, 5e-6
# An operand's copy: its launch, and what it moves, elements side by side or, where rows do not begin at 16 bytes, one
# by one.
_COPY_S, _TURNED_BYTES_PER_S, _RAGGED_BYTES_PER_S = 2.3e-6, 4.3e12, 1.35e12
# How fast the result leaves.
_POINTERS_BYTES_PER_S, _DESCRIPTORS_BYTES_PER_S = 2.0e12, 5.0e12
# Descriptors feed tensor cores faster than rank.py thinks, parts too, unless each has a slice alone.
_DESCRIPTORS, _PARTS, _SLICED_PARTS = 0.62, 0.65, 1.0
# One launch more, of what adds up the sums of slices of parts.
_SUMMING_S = 5e-6

# How many times as long slices take where elements are loaded one by one.
_RAGGED_SLICES = 1.6


def pointer_seconds(
    problem: Problem, gpu: GpuSpec, precision: str | None, config: Config, *, sliced: bool = False
) -> float:
    """Of a product that reads operands through pointers, each tile's sum by one program or, sliced, by several."""
    tflops = peak_tflops(problem, gpu, precision)
    begin = _SLICES_S if sliced else _POINTERS_S
    reading = _reading(problem, gpu, precision)
    if ragged(problem):
        reading *= _ragged(precision) * (_RAGGED_SLICES if sliced else 1.0)
    product = reading * seconds(problem, gpu, config, tflops)
    return begin + product + _storing(problem, _POINTERS_BYTES_PER_S)


def _reading(problem: Problem, gpu: GpuSpec, precision: str | None) -> float:
    """How many times its model time a product through pointers takes.

    It depends on how operands reach the tensor cores: from shared memory as they lie, or through registers, turned
    or split there.
    """
    b_turned = problem.layout[1] == "n"  # elements of a sum do not lie side by side
    if precision in ("tf32x3", "bf16x3"):
        return 2.2 if b_turned else 1.4
    if precision == "tf32":
        return 1.5 if needs_registers(problem, gpu) else 1.7 if b_turned else 1.0
    return 1.0 if precision == "ieee" else 0.85


def _ragged(precision: str | None) -> float:
    """How many times as long it takes where elements are loaded one by one: the more, the less it had to do besides."""
    return {None: 4.0, "tf32": 2.2}.get(precision, 1.6)


def descriptor_seconds(
    problem: Problem, gpu: GpuSpec, precision: str | None, config: Config, turned: str
) -> float:
    """Of a product through descriptors, after copies of operands: those `turned`, and of rows of no whole 16 bytes."""
    item = ITEM_BYTES[problem.dtype]
    copies = 0.0
    for name, rows, columns in zip("ab", (problem.m, problem.n), row_lengths(problem), strict=True):
        whole = columns * item % 16 == 0
        if name in turned or not whole:
            rate = _TURNED_BYTES_PER_S if whole else _RAGGED_BYTES_PER_S
            copies += _COPY_S + 2 * item * rows * problem.k * problem.batches / rate
    product = seconds(problem, gpu, config, peak_tflops(problem, gpu, precision))
    storing = _storing(problem, _DESCRIPTORS_BYTES_PER_S)
    return _DESCRIPTORS_S + copies + _DESCRIPTORS * product + storing


def _storing(problem: Problem, bytes_per_s: float) -> float:
    return problem.batches * problem.m * problem.n * ITEM_BYTES[problem.out_dtype] / bytes_per_s


def parts_seconds(
    problem: Problem, gpu: GpuSpec, precision: str, config: Config, slices: Slices | None = None
) -> float:
    """Of splitting both operands and multiplying their parts, with K whole or in slices."""
    tflops = peak_tflops(problem, gpu, precision)
    begin = splitting_seconds(problem, SPLIT[precision]) + _PARTS_S
    begin += _storing(problem, _DESCRIPTORS_BYTES_PER_S)
    if slices is None:
        return begin + _PARTS * seconds(problem, gpu, config, tflops)
    product = seconds(one_by_one(problem, slices), gpu, config, tflops)
    sums = 8 * slices.count * problem.batches * problem.m * problem.n  # bytes, written and read
    return begin + _SLICED_PARTS * product + _SUMMING_S + sums / COPY_BYTES_PER_S
