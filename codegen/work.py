"""How much work one call is: its floating-point operations and the bytes it must move, each with where it is from.

Both are what the problem needs, not what a kernel does: rates made from them compare kernels that do more or less.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from dataclasses import dataclass

from codegen.inputs import InputSpec, TensorSpec
from codegen.problem import Problem

_DTYPE_BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4}
_DTYPE_BYTES |= {"int16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1, "int8": 1, "uint8": 1, "bool": 1}

# The rates a dtype's products may run at (units of `GpuSpec.tflops`): float32 may be split for tensor cores.
_UNITS = {
    "float32": ("fp32", "tf32"),
    "float16": ("fp16",),
    "bfloat16": ("bf16",),
    "float8_e4m3fn": ("fp8",),
    "float8_e5m2": ("fp8",),
}


@dataclass(frozen=True)
class Work:
    """One call's work. None: not known."""

    flops: int | None
    flops_from: str  # a clause for a reader
    bytes_moved: int | None
    bytes_from: str
    units: tuple[str, ...] = ()  # whose peak rates are its ceilings

    def tflops(self, time_us: float) -> float | None:
        """TFLOP/s of a call that takes that long."""
        return self.flops / time_us / 1e6 if self.flops else None

    def gbs(self, time_us: float) -> float | None:
        """GB/s of a call that takes that long."""
        return self.bytes_moved / time_us / 1e3 if self.bytes_moved else None

    @property
    def intensity(self) -> float | None:
        """FLOP a byte."""
        return self.flops / self.bytes_moved if self.flops and self.bytes_moved else None


def work_of(problem: Problem | None, inputs: Sequence[InputSpec]) -> Work:
    """The work of a recognised product, or what can be said of inputs alone.

    A triangle's zeros count neither as arithmetic nor, in an operand, as bytes.
    """
    units = _units(inputs)
    if problem is not None:
        return Work(
            problem.flops(),
            f"multiplications and additions of {problem.formula}",
            problem.bytes_moved(),
            f"operands of {problem.formula} read once, its result written once",
            units,
        )
    tensors = [spec for spec in inputs if isinstance(spec, TensorSpec)]
    known = [
        math.prod(spec.shape) * _DTYPE_BYTES[spec.dtype]
        for spec in tensors
        if spec.dtype in _DTYPE_BYTES
    ]
    whole = bool(known) and len(known) == len(tensors)
    return Work(
        None,
        "not known: what is computed is not a product that is recognised",
        sum(known) if whole else None,
        "inputs read once; what the outputs take is not known" if whole else "not known",
        units,
    )


def _units(inputs: Sequence[InputSpec]) -> tuple[str, ...]:
    """Of the widest floating-point dtype among the inputs."""
    dtypes = [spec.dtype for spec in inputs if isinstance(spec, TensorSpec)]
    return next((units for dtype, units in _UNITS.items() if dtype in dtypes), ())


def as_problem(expression: str, names: Sequence[str], inputs: Sequence[InputSpec]) -> str:
    """A problem file whose Model computes a reference expression, so that it can be traced and recognised.

    `names` are forward's, in the order of `inputs`. The Model takes those that the expression uses, in the
    order of their use, which is how a family takes its operands.
    """
    given = dict(zip(names, inputs, strict=False))
    arguments = [(name, given[name]) for name in _used(expression) if name in given]
    return "\n".join(
        [
            "import torch",
            "import torch.nn.functional as F",
            "",
            "class Model(torch.nn.Module):",
            f"    def forward(self, {', '.join(name for name, _ in arguments)}):",
            f"        return {expression}",
            "",
            "def get_inputs():",
            f"    return [{', '.join(_made(spec) for _, spec in arguments)}]",
            "",
            "def get_init_inputs():",
            "    return []",
            "",
        ]
    )


def _used(expression: str) -> list[str]:
    """The names in an expression, by their first use; none where it can't be read."""
    try:
        tree = ast.parse(expression, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    found.sort(key=lambda node: (node.lineno, node.col_offset))
    return list(dict.fromkeys(node.id for node in found))


def _made(spec: InputSpec) -> str:
    if not isinstance(spec, TensorSpec):
        return repr(spec)
    text = f"torch.empty({spec.shape!r}, dtype=torch.{spec.dtype})"
    return f"torch.{spec.structure}({text})" if spec.structure in ("tril", "triu") else text
