"""Frozen dataclasses as JSON data and back: for the journal, for records, for another host."""

from __future__ import annotations

import math
import types
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


def to_wire(value: object) -> Any:
    """Dataclasses become objects, sequences lists; NaN and infinities, which JSON lacks, strings."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_wire(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # nan, inf, -inf
    if isinstance(value, dict):
        return {str(name): to_wire(each) for name, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [to_wire(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def from_wire(kind: type[T], data: object) -> T:
    """What `to_wire` made of a `kind`: a dataclass, a tuple type, a union, a dict or a plain type.

    Fields that are missing take their defaults. Raises ValueError where the data is not of that kind.
    """
    return cast("T", _read(kind, data))


def _read(kind: Any, data: Any) -> Any:
    if kind is Any or kind is object:
        return data
    origin = get_origin(kind)
    if origin is Union or origin is types.UnionType:
        return _one_of(get_args(kind), data)
    if origin is tuple and isinstance(data, list):
        return _tuple(get_args(kind), data)
    if origin is dict and isinstance(data, dict):
        return {name: _read(get_args(kind)[1], each) for name, each in data.items()}
    if is_dataclass(kind) and isinstance(data, dict):
        return _dataclass(kind, data)
    if kind is Path and isinstance(data, str):
        return Path(data)
    if kind is float and (type(data) in (int, float) or data in ("nan", "inf", "-inf")):
        return float(data)
    if type(data) is kind or (kind is type(None) and data is None):
        return data
    raise ValueError(f"{str(data)[:60]!r} is not a {getattr(kind, '__name__', kind)}")


def _one_of(kinds: Sequence[Any], data: Any) -> Any:
    # Whole numbers and words stay what they are where a float would take them too.
    for kind in sorted(kinds, key=lambda kind: kind is not type(data)):
        try:
            return _read(kind, data)
        except ValueError:
            continue
    raise ValueError(f"{str(data)[:60]!r} is none of {', '.join(map(str, kinds))}")


def _tuple(kinds: Sequence[Any], data: list[Any]) -> tuple[Any, ...]:
    if len(kinds) == 2 and kinds[1] is ...:
        return tuple(_read(kinds[0], each) for each in data)
    if len(kinds) != len(data):
        raise ValueError(f"{len(data)} values where {len(kinds)} are expected")
    return tuple(map(_read, kinds, data))


def _dataclass(kind: Any, data: dict[str, Any]) -> Any:
    hints = _hints(kind)
    unknown = next((name for name in data if name not in hints), None)
    if unknown is not None:
        raise ValueError(f"{kind.__name__} has no field {unknown!r}")
    try:
        return kind(**{name: _read(hints[name], value) for name, value in data.items()})
    except TypeError as error:
        raise ValueError(str(error)) from None


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}
