"""What PyTorch refuses on a CUDA tensor, a fake one too, where it is built without CUDA. Child processes only.

Its Python bindings make the tensor's device current before they ask any mode or dispatch. The same is done
here by operators whose bindings do not.
"""

from __future__ import annotations

from collections.abc import Callable
from types import EllipsisType
from typing import Any

import torch


def item(tensor: torch.Tensor, index: Any) -> torch.Tensor:
    """`tensor[index]`: slices, numbers, None and ... one after the other, then masks and index tensors together."""
    indices = index if isinstance(index, tuple) else (index,)
    rest = tensor.ndim - sum(map(_dimensions, indices))  # what `...` stands for
    dimension, chosen = 0, {}
    for one in indices:
        if one is None:
            tensor = tensor.unsqueeze(dimension)
            dimension += 1
        elif isinstance(one, EllipsisType):
            dimension += rest
        elif isinstance(one, slice):
            step = 1 if one.step is None else one.step
            tensor = torch.ops.aten.slice.Tensor(tensor, dimension, one.start, one.stop, step)
            dimension += 1
        elif isinstance(one, int) and not isinstance(one, bool):
            tensor = tensor.select(dimension, one)
        else:
            chosen[dimension] = torch.as_tensor(one)
            dimension += _dimensions(one)
    if not chosen:
        return tensor
    by_dimension = [chosen.get(place) for place in range(max(chosen) + 1)]
    result: torch.Tensor = torch.ops.aten.index.Tensor(tensor, by_dimension)
    return result


def _dimensions(index: Any) -> int:
    """How many of a tensor's dimensions an index is for."""
    if index is None or isinstance(index, EllipsisType):
        return 0
    return index.ndim if isinstance(index, torch.Tensor) and index.dtype == torch.bool else 1


def set_item(tensor: torch.Tensor, index: Any, value: Any) -> None:
    """`tensor[index] = value`: there is nothing to fill, but the shapes must go together."""
    if isinstance(index, torch.Tensor) and index.dtype == torch.bool:
        return
    place = item(tensor, index)
    if isinstance(value, torch.Tensor):
        torch.broadcast_to(value, place.shape)


def contiguous(
    tensor: torch.Tensor, *, memory_format: torch.memory_format = torch.contiguous_format
) -> torch.Tensor:
    if tensor.is_contiguous(memory_format=memory_format):
        return tensor
    return tensor.clone(memory_format=memory_format)


SPELLED_OUT: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.Tensor.__getitem__: item,
    torch.Tensor.__setitem__: set_item,
    torch.Tensor.contiguous: contiguous,
}
