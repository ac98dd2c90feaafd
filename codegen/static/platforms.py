"""Conditions on the platform, by the names that people give them.

Every target here is an NVIDIA GPU, so `is_hip()` is False and `is_cuda()` True, wherever they come from.
"""

from __future__ import annotations

import ast
import re

from codegen.imports import Imports

_FALSE = re.compile(
    r"_*(is|has|use|on)_(hip|rocm|amd|intel|xpu|npu|musa|mps|tpu|gfx\d*|cdna\d*|rdna\d*)(_\w+)?",
    re.IGNORECASE,
)
_TRUE = re.compile(r"_*(is|has|use|on)_(cuda|nvidia)(_alike|_backend|_platform)?", re.IGNORECASE)


def on_nvidia(node: ast.expr, imports: Imports) -> bool | None:
    """The value of a platform condition on an NVIDIA GPU; None where the expression is none."""
    match node:
        case ast.Compare(  # driver.active.get_current_target().backend == "hip"
            left=ast.Attribute(attr="backend"),
            ops=[ast.Eq() | ast.NotEq() as op],
            comparators=[ast.Constant(value=str(name))],
        ):
            return (name == "cuda") is isinstance(op, ast.Eq)
        case ast.Call(func=function):
            path = imports.qualified(function)
        case _:
            path = imports.qualified(node)
    last = (path or "").rpartition(".")[2]
    if _FALSE.fullmatch(last):
        return False
    return True if _TRUE.fullmatch(last) else None
