"""Whether a file under test replaces what it is compared and timed with. Child processes only."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import torch

from codegen.outcome import BadInput

_MODULES = (time, torch, torch.nn.functional, torch.cuda)
_CLASSES = (torch.Tensor, torch._C.TensorBase, torch.cuda.Event, torch.cuda.Stream)
_PYTORCH = f"{Path(torch.__file__).parent}/"  # where its own code is


class Watch:
    """Remembers the functions that the reference is computed, and the clock read, with.

    That happens in the process of the file under test: one that puts a function of its own in the place of
    torch.matmul would be compared with itself.
    """

    def __init__(self) -> None:
        self._before = {owner: dict(vars(owner)) for owner in (*_MODULES, *_CLASSES)}
        self._dtype = torch.get_default_dtype()  # which a problem's get_inputs makes its values in

    def check(self) -> None:
        """Raises BadInput, naming the first, where any was replaced since. All are put back."""
        if replaced := self.put_back():
            raise BadInput(f"replaces {replaced[0]}, which others use too")

    def put_back(self) -> list[str]:
        """The names of what was replaced."""
        found = []
        if torch.get_default_dtype() != self._dtype:
            torch.set_default_dtype(self._dtype)
            found.append("PyTorch's default dtype")
        for owner, kept in self._before.items():
            now = vars(owner)
            for name, was in kept.items():
                ours = callable(was) or isinstance(was, torch.dtype)
                if ours and not _stands_for(now.get(name), was):
                    found.append(f"{_name(owner)}.{name}")
                    setattr(owner, name, was)
            if isinstance(owner, type):
                for name in now.keys() - kept.keys():
                    if any(hasattr(base, name) for base in owner.__mro__[1:]):
                        found.append(f"{_name(owner)}.{name}")
                        delattr(owner, name)
        return found


@contextlib.contextmanager
def unpatched() -> Iterator[None]:
    """`Watch.check` at its end. Where an error ends the block, that error counts."""
    watch = Watch()
    try:
        yield
    except BaseException:
        watch.put_back()
        raise
    watch.check()


def _stands_for(value: object, was: object) -> bool:
    """Whether it is the same, or that in a wrapper of PyTorch's own: torch._dynamo wraps functions on import.

    Anybody's wrapper may say what it wraps (functools.wraps does), so it counts where its code is from.
    """
    while value is not was:
        code = getattr(value, "__code__", None)
        if code is None or not code.co_filename.startswith(_PYTORCH):
            return False
        value = getattr(value, "__wrapped__", None)
    return True


def _name(owner: ModuleType | type) -> str:
    return (
        owner.__name__
        if isinstance(owner, ModuleType)
        else f"{owner.__module__}.{owner.__qualname__}"
    )
