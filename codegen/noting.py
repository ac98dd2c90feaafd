"""Takes note of the autotuned kernels that code makes and launches, in its place or beside it. Child processes only."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from triton.runtime.autotuner import Autotuner
from triton.runtime.jit import JITFunction

Note = Callable[[Autotuner, tuple[Any, ...], dict[str, Any]], None]
NotePlain = Callable[[JITFunction, tuple[Any, ...], dict[str, Any]], None]


@contextlib.contextmanager
def making(made: list[Autotuner]) -> Iterator[None]:
    """Within it every autotuned kernel that comes into being is noted."""
    init = Autotuner.__init__

    def noted(self: Autotuner, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        made.append(self)

    Autotuner.__init__ = noted
    try:
        yield
    finally:
        Autotuner.__init__ = init


def _skip(_function: JITFunction, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
    pass


@contextlib.contextmanager
def recording(note: Note, note_plain: NotePlain = _skip) -> Iterator[None]:
    """Within it no kernel is launched, but noted: autotuned ones, and plain ones beside them."""
    tuned, plain = Autotuner.run, JITFunction.run
    Autotuner.run = lambda self, *args, **kwargs: note(self, args, kwargs)
    JITFunction.run = lambda self, *args, **kwargs: note_plain(self, args, kwargs)
    try:
        yield
    finally:
        Autotuner.run, JITFunction.run = tuned, plain


@contextlib.contextmanager
def launching(note: Note) -> Iterator[None]:
    """Within it every launch of an autotuned kernel is noted, and then made."""
    run = Autotuner.run

    def noted(self: Autotuner, *args: Any, **kwargs: Any) -> Any:
        note(self, args, kwargs)
        return run(self, *args, **kwargs)

    Autotuner.run = noted
    try:
        yield
    finally:
        Autotuner.run = run


def like(value: Any, fake: FakeTensorMode) -> Any:
    """A launch's argument with fake tensors for real ones: a tensor, a descriptor of one, a tuple of either."""
    if isinstance(value, torch.Tensor):
        return fake.from_tensor(value.detach())
    if isinstance(value, list | tuple):
        items = [like(item, fake) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(getattr(value, "base", None), torch.Tensor):  # a tensor descriptor
        descriptor = copy.copy(value)
        descriptor.base = like(value.base, fake)
        return descriptor
    return value
