"""What expressions come to when they are followed without being run, and the limits of following."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from codegen.config import Config, Source

MAX_ITEMS = 20_000  # in one list
MAX_BITS = 256  # in an integer


class Unsettled(Exception):
    """What the file alone does not say. One line: the place and the cause."""

    def __init__(self, reason: str, varies: bool = False) -> None:
        super().__init__(reason)
        self.varies = varies  # there is no one answer: a branch was not to be chosen, a parameter


class TooLarge(ValueError):
    """More than is followed."""


class Environment(Protocol):
    """Where names are looked up."""

    def lookup(self, name: str) -> Any: ...

    def is_local(self, name: str) -> bool:
        """Whether the name is a variable of code that is being followed, unknown outside it."""


class Frame:
    """Local variables: of a call, of a comprehension, of module statements being followed."""

    def __init__(self, parent: Environment, names: Iterable[str] = ()) -> None:
        self._parent = parent
        self._names = set(names)
        self.values: dict[str, Any] = {}

    def bind(self, name: str, value: object) -> None:
        if isinstance(value, OneShot) and value.lazy:
            raise Unsettled(f"`{name}` holds an iterator, which is gone through who knows when")
        self._names.add(name)
        self.values[name] = value

    def lookup(self, name: str) -> Any:
        return self.values[name] if name in self.values else self._parent.lookup(name)

    def is_local(self, name: str) -> bool:
        return name in self._names or self._parent.is_local(name)


@dataclass(frozen=True, eq=False)
class Made:
    """A config and the call that makes it."""

    config: Config
    call: ast.Call
    portable: bool  # the call reads no local name: its text means the same all over the file

    def attribute(self, name: str) -> Any:
        """What code sees of a triton.Config; None for what is not known."""
        if name == "kwargs":
            meta = self.config.meta
            return SharedDict((n, Opaque(v.text) if isinstance(v, Source) else v) for n, v in meta)
        return {"num_warps": self.config.warps, "num_stages": self.config.stages}.get(name)

    def __eq__(self, other: object) -> bool:
        """As triton.Config compares: by what applies, not by what is written."""
        if not isinstance(other, Made):
            return False
        if self._key() != other._key() and (self._has_source() or other._has_source()):
            raise Unsettled("a comparison of configs with values that are no literals")
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        config = self.config
        return config.meta, config.warps, config.stages, config.extra

    def _has_source(self) -> bool:
        values = (
            *(value for _, value in self.config.meta),
            self.config.num_warps,
            self.config.num_stages,
        )
        return bool(self.config.extra) or any(isinstance(value, Source) for value in values)


@dataclass(frozen=True, eq=False)
class Opaque:
    """Something that can be named and passed on, not looked into."""

    text: str
    imported: bool = True  # or else defined in the file, in a way that is not followed

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Opaque) and other.text == self.text:
            return True
        raise Unsettled(f"`{self.text}` is not known here")

    def __hash__(self) -> int:
        return hash(self.text)

    def __bool__(self) -> bool:
        raise Unsettled(f"`{self.text}` is not known here")


@dataclass(frozen=True, eq=False)
class Function:
    """A function of the file, and where it looks up its names."""

    node: ast.FunctionDef | ast.Lambda
    home: Environment


class OneShot:
    """An iterator: it can be gone through once. A lazy one goes through what is there then."""

    def __init__(self, values: Iterable[Any], lazy: bool = True) -> None:
        self.lazy = lazy
        self._values = items(values)
        self._spent = False

    def __iter__(self) -> Iterator[Any]:
        if self._spent:
            raise Unsettled("an iterator is gone through twice")
        self._spent = True
        return iter(self._values)


class SharedList(list[Any]):
    """A list that a name outside the code being followed holds too: not to be changed."""


class SharedDict(dict[Any, Any]):
    """Likewise a dict."""


def shared(value: object) -> object:
    """The value with the lists and dicts in it marked as shared. Raises `Unsettled`."""
    if isinstance(value, OneShot):
        raise Unsettled("an iterator, which others may go through")
    if isinstance(value, list):
        return SharedList(map(shared, value))
    if isinstance(value, dict):
        return SharedDict((key, shared(item)) for key, item in value.items())
    if isinstance(value, tuple):
        return tuple(map(shared, value))
    return value


def unshared(value: object) -> object:
    """A deep copy, to be changed at will."""
    if isinstance(value, list):
        return list(map(unshared, value))
    if isinstance(value, dict):
        return {key: unshared(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(map(unshared, value))
    return value


def items(value: Any) -> list[Any]:
    """The items of something that can be gone through in a known order, no more than are followed."""
    if isinstance(value, set):
        raise TypeError("the order of a set is not known")
    found: list[Any] = []
    for item in value:
        if len(found) == MAX_ITEMS:
            raise TooLarge(f"more than {MAX_ITEMS} items")
        found.append(item)
    return found
