"""The fastest way to compute a float32 product that is as near as asked for."""

from __future__ import annotations

import math
from dataclasses import replace

from codegen.families import find_family
from codegen.gemm_configs import peak_tflops
from codegen.gemm_split import SPLIT
from codegen.gpu import GpuSpec, find_gpu
from codegen.outcome import BadInput
from codegen.precision import (
    MEASURED_ERROR,
    MEASURED_FLOPS,
    MEASURED_K,
    READ_SHARED_MEMORY,
    splitting_seconds,
)
from codegen.problem import ITEM_BYTES, PRECISIONS, Problem


def documented_error(precision: str, k: int) -> float:
    """Relative Frobenius error on normal inputs that is to be expected at most, of sums of k terms.

    As measured at K 8192, and from there on growing with the square root of K. Below it is not taken to be less:
    what rounding the operands costs does not depend on K.
    """
    return MEASURED_ERROR[precision] * max(1.0, math.sqrt(k / MEASURED_K))


def precision_within(problem: Problem, gpu: GpuSpec, max_error: float) -> str:
    """The precision that the model below calls fastest, of those whose documented error is at most `max_error`.

    Raises BadInput where the operands are no float32, the GPU can't compute the problem at all, or no precision
    is near enough.
    """
    if problem.dtype != "float32":
        raise BadInput(f"--max-error is for float32 operands, and these are {problem.dtype}")
    find_family(problem.family).form(problem, gpu)
    errors = {
        name: documented_error(name, problem.k)
        for name in PRECISIONS
        if _is_possible(name, problem, gpu)
    }
    near = [name for name in errors if errors[name] <= max_error]
    if not near:
        best = min(errors, key=errors.__getitem__)
        raise BadInput(
            f"--max-error {max_error:g}: no precision for the {gpu.name} is that near with K={problem.k}: "
            f"the nearest is {best}, with a documented error of {errors[best]:.1e}"
        )
    return min(near, key=lambda name: (seconds(problem, gpu, name), errors[name]))


def _is_possible(precision: str, problem: Problem, gpu: GpuSpec) -> bool:
    try:
        find_family(problem.family).form(replace(problem, precision=precision), gpu)
    except BadInput:
        return False
    return True


def seconds(problem: Problem, gpu: GpuSpec, precision: str) -> float:
    """Model time of a product: arithmetic or memory traffic, whichever is longer, after splitting the operands.

    It is for choosing among precisions, not for predicting times. Rates are peaks; on Hopper and its like, what
    was measured on an H200, in proportion to the peaks.
    """
    rate = peak_tflops(problem, gpu, precision) * 1e12
    if gpu.compute_capability[0] in READ_SHARED_MEMORY:
        rate *= MEASURED_FLOPS[precision] / (
            peak_tflops(problem, find_gpu("h200"), precision) * 1e12
        )
    bandwidth = (gpu.memory_bandwidth_gbs or math.inf) * 1e9
    parts = SPLIT.get(precision, 0)
    result = problem.batches * problem.m * problem.n * ITEM_BYTES[problem.out_dtype]
    operands = problem.bytes_moved() - result
    traffic = (operands * parts // 2 if parts else operands) + result  # a part has half the bytes
    before = splitting_seconds(problem, parts) if parts else 0.0
    return before + max(problem.flops() / rate, traffic / bandwidth)
