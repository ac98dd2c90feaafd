"""How fast a product could be at best: its operations and bytes, over what a GPU's units do at best."""

from __future__ import annotations

from dataclasses import dataclass

from codegen.families import find_family
from codegen.float32_grade import resolved_precision
from codegen.gemm_split import SPLIT
from codegen.gemm_view import View
from codegen.gpu import GpuSpec
from codegen.problem import ITEM_BYTES, Problem

# What long runs reach, in TFLOP/s and GB/s, where it was measured: power holds large products below the data
# sheet's figure. (H200, PyTorch 2.11: cuBLAS's best products; a copy, bytes read and written together.)
_MEASURED = {"h200": {"fp16": 795.0, "bf16": 795.0, "tf32": 416.0, "memory": 4300.0}}
_UNITS = {"float16": "fp16", "bfloat16": "bf16"}  # of other types than float32: fp8


@dataclass(frozen=True)
class Limit:
    """Microseconds that a product takes at least, computed the way it is rendered."""

    before_us: float  # copying operands: into parts, or K-major
    arithmetic_us: float
    memory_us: float  # each operand, as the product reads it, and the result once

    @property
    def us(self) -> float:
        """Copying comes first; arithmetic and traffic run side by side."""
        return self.before_us + max(self.arithmetic_us, self.memory_us)


def limit_of(problem: Problem, gpu: GpuSpec) -> Limit | None:
    """None where the GPU's rate or bandwidth is not known. Raises BadInput where it can't be rendered."""
    precision = resolved_precision(problem, gpu)
    rate, bandwidth = ceiling(gpu, _unit(problem, precision)), ceiling(gpu, "memory")
    if not rate or not bandwidth:
        return None
    products = 3 if precision and precision.endswith("x3") else 1
    result = problem.batches * problem.m * problem.n * ITEM_BYTES[problem.out_dtype]
    operands = problem.bytes_moved() - result
    parts = SPLIT.get(precision or "", 0)
    read = operands * parts // 2 if parts else operands  # a part has half of float32's bytes
    copied = operands + read if parts else 2 * _packed_bytes(problem, gpu)
    return Limit(
        copied / bandwidth / 1e3,
        products * problem.flops() / rate / 1e6,
        (read + result) / bandwidth / 1e3,
    )


def ceiling(gpu: GpuSpec, what: str) -> float | None:
    """TFLOP/s of a unit, or GB/s of `memory`: as measured, else as the data sheet has it."""
    measured = _MEASURED.get(gpu.key, {}).get(what)
    return measured or (gpu.memory_bandwidth_gbs if what == "memory" else gpu.peak_tflops(what))


def _unit(problem: Problem, precision: str | None) -> str:
    if precision is None:
        return _UNITS.get(problem.dtype, "fp8")
    return "fp32" if precision == "ieee" else precision.removesuffix("x3")


def _packed_bytes(problem: Problem, gpu: GpuSpec) -> int:
    """Of the operands that are copied K-major before they are multiplied."""
    view = find_family(problem.family).form(problem, gpu).view
    item, n = ITEM_BYTES[problem.dtype], problem.n
    if not isinstance(view, View):  # of triangles, both or none
        return n * (n + 1) * item * problem.batches if getattr(view, "packed", False) else 0
    sizes = {"a": problem.m * problem.k, "b": problem.k * n}
    return sum(
        sizes[name] * (problem.batches if name in problem.batched else 1) * item
        for name in view.packed
    )
