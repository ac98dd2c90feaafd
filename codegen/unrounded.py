"""PyTorch code that names float types, computed in float64 all the same. Child processes only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_any, tree_map

# What a model computes in. Of 8 bits is what it quantises to: that, like integers, is its meaning.
_IN_FULL = {
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.float32: torch.float64,
    torch.complex32: torch.complex128,
    torch.complex64: torch.complex128,
}


class Unrounded(TorchDispatchMode):  # type: ignore[misc]  # PyTorch leaves it untyped
    """Within it `x.float()`, `.half()`, `.to(dtype)`, `dtype=…` and promotion from integers give float64.

    Tensors that are made of no others keep the values they have in their own type, random ones too: a kernel has
    these. Of what is changed in place or viewed the type stays; what is computed from it is float64.
    """

    def __torch_dispatch__(
        self,
        function: Any,
        _types: Any,
        args: Any = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if any(argument.alias_info is not None for argument in function._schema.arguments):
            return function(*args, **kwargs)
        if not tree_any(_is_tensor, (args, kwargs)):
            return tree_map(_in_full, function(*args, **kwargs))
        with _defaulting_to(torch.float64):
            full_args, full_kwargs = tree_map(_in_full, (args, kwargs))
            return tree_map(_in_full, function(*full_args, **full_kwargs))


def _in_full(value: Any) -> Any:
    if isinstance(value, torch.dtype):
        return _IN_FULL.get(value, value)
    if isinstance(value, torch.Tensor) and value.dtype in _IN_FULL:
        return value.to(_IN_FULL[value.dtype])
    return value


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


@contextlib.contextmanager
def _defaulting_to(dtype: torch.dtype) -> Iterator[None]:
    """Within it that is the type of a quotient of integers."""
    kept = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(kept)
