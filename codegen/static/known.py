"""The functions and operators that are followed into: pure ones, with their results bounded."""

from __future__ import annotations

import ast
import functools
import itertools
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from codegen.static.values import MAX_BITS, MAX_ITEMS, OneShot, TooLarge, items, unshared


def _product(*iterables: Any, repeat: int = 1) -> OneShot:
    lists = [items(iterable) for iterable in iterables] * min(repeat, MAX_BITS)
    if math.prod(map(len, lists)) > MAX_ITEMS:
        raise TooLarge(f"more than {MAX_ITEMS} items")
    return OneShot(itertools.product(*lists), lazy=False)


def _zip(*iterables: Any, strict: bool = False) -> OneShot:
    return OneShot(zip(*map(items, iterables), strict=strict))


def _sorted(iterable: Any, key: Any = None, reverse: bool = False) -> list[Any]:
    values = list(iterable) if isinstance(iterable, set) else items(iterable)
    return sorted(values, key=key, reverse=reverse)


def _filter(predicate: Any, iterable: Any) -> OneShot:
    return OneShot(filter(predicate, items(iterable)))


def _dict(*pairs: Any, **more: Any) -> dict[Any, Any]:
    return {key: value for source in pairs for key, value in dict(source).items()} | more


def _next_power_of_2(n: int) -> int:
    return 1 << (n - 1).bit_length()


BUILTINS: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    "all": lambda values: all(items(values)),
    "any": lambda values: any(items(values)),
    "bool": bool,
    "dict": _dict,
    "enumerate": lambda values, start=0: OneShot(enumerate(items(values), start)),
    "filter": _filter,
    "float": float,
    "frozenset": lambda values=(): set(items(values)),
    "int": int,
    "len": len,
    "list": lambda values=(): items(values),
    "map": lambda function, *lists: OneShot(map(function, *map(items, lists))),
    "max": lambda *values, key=None: max(*map(_items_of, values), key=key),
    "min": lambda *values, key=None: min(*map(_items_of, values), key=key),
    "print": lambda *values, **options: None,
    "range": range,
    "reversed": lambda values: OneShot(items(values)[::-1]),
    "round": round,
    "set": lambda values=(): set(items(values)),
    "sorted": _sorted,
    "str": str,
    "sum": lambda values, start=0: sum(items(values), start),
    "tuple": lambda values=(): tuple(items(values)),
    "zip": _zip,
}

FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "copy.copy": lambda value: value.copy(),
    "copy.deepcopy": unshared,
    "functools.partial": functools.partial,
    "itertools.chain": lambda *lists: OneShot(i for values in lists for i in items(values)),
    "itertools.chain.from_iterable": lambda lists: OneShot(
        i for values in items(lists) for i in items(values)
    ),
    "itertools.product": _product,
    "math.ceil": math.ceil,
    "math.floor": math.floor,
    "math.log": math.log,
    "math.log2": math.log2,
    "math.prod": lambda values: math.prod(items(values)),
    "triton.cdiv": lambda x, y: (x + y - 1) // y,
    "triton.next_power_of_2": _next_power_of_2,
}

METHODS: Mapping[type, frozenset[str]] = {
    list: frozenset(
        ("append", "copy", "count", "extend", "index", "insert", "pop", "remove", "reverse")
    ),
    dict: frozenset(("copy", "get", "items", "keys", "pop", "setdefault", "update", "values")),
    str: frozenset(("endswith", "lower", "startswith", "upper")),
}


def _items_of(value: Any) -> Any:
    return items(value) if isinstance(value, range | OneShot) else value


def binary(op: ast.operator, left: Any, right: Any) -> Any:
    """The result of an operator, in place for lists where it is `+=`; bounded in size."""
    if isinstance(op, ast.Mult):
        for sequence, count in ((left, right), (right, left)):
            if isinstance(sequence, list | tuple | str) and len(sequence) * count > MAX_ITEMS:
                raise TooLarge(f"more than {MAX_ITEMS} items")
    if isinstance(op, ast.Pow | ast.LShift) and abs(right) > MAX_BITS:
        raise TooLarge("a number too large")
    if isinstance(op, ast.Mod) and isinstance(left, str):
        raise TypeError("string formatting")
    result = _BINARY[type(op)](left, right)
    if isinstance(result, int) and result.bit_length() > MAX_BITS:
        raise TooLarge("a number too large")
    if isinstance(result, list | tuple | str) and len(result) > MAX_ITEMS:
        raise TooLarge(f"more than {MAX_ITEMS} items")
    return result


_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}

UNARY: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
}

COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda item, values: item in values,
    ast.NotIn: lambda item, values: item not in values,
}
