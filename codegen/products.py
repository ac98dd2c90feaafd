"""How PyTorch's own float32 products are computed. Child processes only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten
_OPERANDS = {  # where they stand among the arguments; the third of some is added
    _aten.mm.default: (0, 1),
    _aten.bmm.default: (0, 1),
    _aten.addmm.default: (1, 2),
    _aten.baddbmm.default: (1, 2),
    _aten.convolution.default: (0, 1),
}
_BEYOND_TF32 = (1 << 13) - 1  # the bits of a float32 that TF32 has not


@contextlib.contextmanager
def library_precision(promise: str) -> Iterator[None]:
    """Within it they are computed as promised, `wide` ones on tensor cores."""
    flags = (torch.backends.cuda.matmul, torch.backends.cudnn)
    kept = [flag.allow_tf32 for flag in flags]
    for flag in flags:
        flag.allow_tf32 = promise != "ieee"
    try:
        yield
    finally:
        for flag, allowed in zip(flags, kept, strict=True):
            flag.allow_tf32 = allowed


class OnTensorCoresIfExact(TorchDispatchMode):  # type: ignore[misc]  # PyTorch leaves it untyped
    """Within it float32 products of values that TF32 holds, such as 16-bit ones cast up, are on tensor cores.

    A kernel takes the 16-bit values there as they are, and its products are exact: what it loses more than float32
    multiply-adds is in the sums, which tensor cores truncate. That is the measure for it, and no operand is rounded.
    """

    def __torch_dispatch__(
        self,
        function: Any,
        _types: Any,
        args: Any = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        operands = [args[place] for place in _OPERANDS.get(function, ())]
        exact = bool(operands) and all(map(_in_tf32, operands))
        with library_precision("wide") if exact else contextlib.nullcontext():
            return function(*args, **(kwargs or {}))


def _in_tf32(operand: torch.Tensor) -> bool:
    if operand.dtype != torch.float32:
        return False
    return not bool((operand.contiguous().view(torch.int32) & _BEYOND_TF32).any())
