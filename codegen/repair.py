"""Makes Triton's interpreter compute what the hardware does. Child processes only.

What it gets wrong (seen in Triton 3.6 to 3.9):

- NumPy has no bfloat16, so it keeps such values as their 16 bits, and adds, multiplies and compares those
  bits as whole numbers: every bfloat16 kernel would look wrong. Here each such operation is done in float32
  and its result rounded back to nearest even, as is a float32 that is cast to bfloat16 (the interpreter cuts
  it off). Triton 3.6 has no bfloat16 constants at all.
- It refuses `input_precision="bf16x3"` and `"bf16x6"`, which the compiler takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle, interpreter_builder

_OPERATIONS = ("unary_op", "binary_op", "ternary_op", "create_fma", "create_dot")
_SPLIT_PRECISIONS = ("bf16x3", "bf16x6")


def repair_interpreter() -> None:
    """Mends the interpreter for the rest of this process."""
    options = interpreter_builder.options
    precisions = (*options.allowed_dot_input_precisions, *_SPLIT_PRECISIONS)
    object.__setattr__(options, "allowed_dot_input_precisions", tuple(dict.fromkeys(precisions)))
    if not hasattr(InterpreterBuilder, "get_bf16"):
        InterpreterBuilder.get_bf16 = _bfloat16_constant
    InterpreterBuilder.cast_impl = _rounding(InterpreterBuilder.cast_impl)
    for name in _OPERATIONS:
        setattr(InterpreterBuilder, name, _in_float32(getattr(InterpreterBuilder, name)))


def _bfloat16_constant(_builder: InterpreterBuilder, value: float) -> TensorHandle:
    return TensorHandle(narrow(np.array([value], dtype=np.float32)), tl.bfloat16)


def _rounding(cast: Callable[..., TensorHandle]) -> Callable[..., TensorHandle]:
    def run(self: InterpreterBuilder, source: TensorHandle, to: Any) -> TensorHandle:
        if source.dtype == tl.float32 and to.scalar == tl.bfloat16:
            return TensorHandle(narrow(source.data), tl.bfloat16)
        return cast(self, source, to)

    return run


def _in_float32(operation: Callable[..., TensorHandle]) -> Callable[..., TensorHandle]:
    def run(self: InterpreterBuilder, *operands: Any) -> TensorHandle:
        handles = [operand for operand in operands if isinstance(operand, TensorHandle)]
        if not any(handle.dtype == tl.bfloat16 for handle in handles):
            return operation(self, *operands)
        result = operation(self, *map(_widened, operands))
        # Comparisons give booleans, a dot gives its accumulator's type: both stay as they are.
        is_float32 = any(handle.dtype == tl.float32 for handle in handles)
        if is_float32 or result.data.dtype != np.float32:
            return result
        return TensorHandle(narrow(result.data), tl.bfloat16)

    return run


def _widened(operand: Any) -> Any:
    if isinstance(operand, TensorHandle) and operand.dtype == tl.bfloat16:
        return TensorHandle(widen(operand.data), tl.float32)
    return operand


def widen(bits: np.ndarray) -> np.ndarray:
    """The float32 values of bfloat16 bits: bfloat16 is float32's upper half."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def narrow(values: np.ndarray) -> np.ndarray:
    """The bfloat16 bits nearest to float32 values, ties to even; NaN stays NaN."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded).astype(np.uint16)
