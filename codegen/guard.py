"""Memory with guard bands: writes outside a tensor are seen, and so are elements that nobody wrote. Child processes only.

Inputs lie within bands of NaN, so that what is read beyond their end shows in the result. What the code under
test allocates through PyTorch is filled with NaN where it asked for no value, within bands of another pattern,
so that copying from beyond one end to beyond another is seen as well. Both patterns are looked at afterwards.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_NAN = (
    0xFF  # as every byte: NaN in all floating-point types, -1 or the largest value in whole numbers
)
_CANARY = 0xFE  # as every byte: about -1.7e38 in float32 and bfloat16
_ALIGNMENT = 512  # as PyTorch's CUDA allocator aligns
# A tile that hangs over the end of a tensor is off by up to its rows times the tensor's: a band as large as
# the tensor, within these.
_LEAST_BYTES, _MOST_BYTES = 64 << 10, 4 << 20


class Band:
    """One tensor and the memory around it."""

    def __init__(
        self,
        shape: Sequence[int],
        stride: Sequence[int],
        dtype: torch.dtype,
        device: torch.device,
        pattern: int,
    ) -> None:
        item = dtype.itemsize
        reach = 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
        self._bytes = item * (reach if math.prod(shape) else 0)
        self._margin = _round_up(min(max(self._bytes, _LEAST_BYTES), _MOST_BYTES))
        total = 2 * self._margin + _round_up(self._bytes)
        self._pattern = pattern
        self._raw = torch.full((total,), pattern, dtype=torch.uint8, device=device)
        self.payload = self._raw[self._margin : self._margin + self._bytes]
        self.tensor = self._raw.view(dtype).as_strided(shape, stride, self._margin // item)

    def intact(self) -> torch.Tensor:
        """Whether the bands still hold the pattern: a boolean tensor, so that many need one look."""
        before = self._raw[: self._margin] == self._pattern
        after = self._raw[self._margin + self._bytes :] == self._pattern
        return before.all() & after.all()


class Guarded:
    """A model's inputs, copied into memory with bands."""

    def __init__(self, values: Sequence[Any]) -> None:
        self._pristine = values
        self._bands = {
            place: Band(value.shape, value.stride(), value.dtype, value.device, _NAN)
            for place, value in enumerate(values)
            if isinstance(value, torch.Tensor)
        }
        self.values = [
            self._bands[place].tensor if place in self._bands else value
            for place, value in enumerate(values)
        ]
        self.put(values)

    def put(self, values: Sequence[Any]) -> None:
        """Other values into the same memory."""
        self._pristine = values
        for place, band in self._bands.items():
            band.tensor.copy_(values[place])

    def holds(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor lies in the memory of one of them."""
        storages = {band.tensor.untyped_storage().data_ptr() for band in self._bands.values()}
        return tensor.untyped_storage().data_ptr() in storages

    def fault(self) -> str | None:
        """What became of them, as a clause; None: nothing."""
        for place, band in self._bands.items():
            if not bool(band.intact()):
                return f"writes outside input {place + 1}"
            if not same_bits(band.tensor, self._pristine[place]):
                return f"changes input {place + 1}"
        return None


class Allocating(TorchDispatchMode):
    """Within it, memory on `device` that is asked for through PyTorch's factory functions has bands."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # PyTorch asks whether to keep TorchDynamo away from this, for which it would import it: a second.
        return os.environ.get("TORCHDYNAMO_DISABLE") != "1"

    def __init__(self, device: str) -> None:
        super().__init__()
        self._device = torch.device(device).type
        self._bands: list[Band] = []

    def __torch_dispatch__(
        self,
        function: Any,
        _types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        fill = _FILLS.get(function.overloadpacket)
        if fill is None:
            return function(*args, **kwargs)
        device = torch.device(
            kwargs.get("device")
            or next((arg.device for arg in args if isinstance(arg, torch.Tensor)), "cpu")
        )
        if device.type != self._device:
            return function(*args, **kwargs)
        unpinned = {name: value for name, value in kwargs.items() if name != "pin_memory"}
        like = function(*args, **{**unpinned, "device": "meta"})
        if like.numel() == 0 or like.layout != torch.strided:
            return function(*args, **kwargs)
        band = Band(like.shape, like.stride(), like.dtype, device, _CANARY)
        self._bands.append(band)
        fill(band, args)
        return band.tensor

    def fault(self) -> str | None:
        """What became of the bands, as a clause; None: nothing."""
        if self._bands and not bool(torch.stack([band.intact() for band in self._bands]).all()):
            return "writes outside the memory that its wrapper allocates"
        return None


def _unwritten(band: Band, _args: tuple[Any, ...]) -> None:
    if band.tensor.dtype == torch.bool:
        band.payload.zero_()  # another byte is no boolean
    else:
        band.payload.fill_(_NAN)


def _constant(value: float) -> Callable[[Band, tuple[Any, ...]], None]:
    def fill(band: Band, _args: tuple[Any, ...]) -> None:
        band.tensor.fill_(value)

    return fill


def _second(band: Band, args: tuple[Any, ...]) -> None:
    band.tensor.fill_(args[1])


_ATEN = torch.ops.aten
_FILLS: dict[Any, Callable[[Band, tuple[Any, ...]], None]] = {
    **dict.fromkeys(
        (
            _ATEN.empty,
            _ATEN.empty_like,
            _ATEN.empty_strided,
            _ATEN.new_empty,
            _ATEN.new_empty_strided,
        ),
        _unwritten,
    ),
    **dict.fromkeys((_ATEN.zeros, _ATEN.zeros_like, _ATEN.new_zeros), _constant(0)),
    **dict.fromkeys((_ATEN.ones, _ATEN.ones_like, _ATEN.new_ones), _constant(1)),
    **dict.fromkeys((_ATEN.full, _ATEN.full_like), _second),
}


def same_bits(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Whether two tensors of one type hold the same bits: NaN equals itself, and 0 is not -0."""
    if left.shape != right.shape or left.dtype != right.dtype:
        return False
    if left.dtype == torch.bool:
        return bool(torch.equal(left, right))
    if left.is_complex():
        left, right = torch.view_as_real(left), torch.view_as_real(right)
    whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[left.itemsize]
    return bool(torch.equal(left.view(whole), right.view(whole)))


def _round_up(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
