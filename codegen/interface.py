"""How a rendered ModelNew stands in for somebody's model: how it is made, called, and fed to the kernel."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codegen.outcome import BadInput
from codegen.problem import shown

PLAIN_INIT = "def __init__(self) -> None:\n    super().__init__()\n"

# Of a module: `self.weight`, `self.layers[0].bias`.
_ATTRIBUTE = re.compile(r"self(?:\.(?!\d)\w+|\[\d+\])+", re.ASCII)
_PERMUTED = re.compile(r"(.*)\.permute\((\d+(?:, \d+)*)\)", re.ASCII)


@dataclass(frozen=True)
class Interface:
    """What ModelNew's `__init__` and `forward` are.

    Parameters and buffers belong to the module: `init` makes them as the model's own `__init__` does, by
    the same names and in the same order, so that a seed gives both the same values and
    `load_state_dict` takes the model's.

    Raises BadInput where a part is no Python of its kind, or an operand is neither an argument of forward nor
    an attribute.
    """

    arguments: tuple[str, ...]  # of forward, after self
    operands: tuple[str, ...]  # of the wrapper: `x`, `self.linear.weight`, `x.permute(1, 0)`
    returned: tuple[int, ...] | None = None  # the order that the result's dimensions are put into
    init: str = PLAIN_INIT  # the source of the whole method, not indented

    def __post_init__(self) -> None:
        for name in self.arguments:
            if not name.isidentifier() or keyword.iskeyword(name) or name == "self":
                raise BadInput(f"argument {name[:40]!r} of forward is no name")
        if len(set(self.arguments)) < len(self.arguments):
            raise BadInput("two arguments of forward have one name")
        for operand in self.operands:
            name = _permuted_name(operand)
            if name not in self.arguments and not _ATTRIBUTE.fullmatch(name):
                raise BadInput(
                    f"operand {operand[:40]!r} is neither an argument of forward nor self.something"
                )
        try:
            body = ast.parse(self.init).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            body = []
        if not (len(body) == 1 and isinstance(body[0], ast.FunctionDef)) or (
            body[0].name != "__init__" or body[0].decorator_list
        ):
            raise BadInput("init must be the source of one function, __init__")

    @property
    def held(self) -> bool:
        """Whether the module holds an operand."""
        return any(_permuted_name(operand) not in self.arguments for operand in self.operands)

    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {
            "arguments": list(self.arguments),
            "operands": list(self.operands),
        }
        if self.returned is not None:
            data["returned"] = list(self.returned)
        return data if self.init == PLAIN_INIT else data | {"init": self.init.splitlines()}

    @classmethod
    def from_json(cls, data: object) -> Interface:
        """Reads what `to_json` writes. Raises BadInput."""
        if not isinstance(data, Mapping) or not {"arguments", "operands"} <= data.keys():
            raise BadInput("model must be an object with arguments, operands and perhaps init")
        fields = dict(data)
        order = fields.pop("returned", None)
        if order is not None and (
            not isinstance(order, list)
            or any(type(place) is not int for place in order)
            or sorted(order) != list(range(len(order)))
        ):
            raise BadInput(f"returned must be an order of dimensions, and is {shown(order)}")
        for name, value in fields.items():
            if name not in ("arguments", "operands", "init"):
                raise BadInput(f"model has an unknown field {name[:40]!r}")
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise BadInput(f"{name} must be a list of strings, and is {shown(value)}")
        init = "\n".join(data["init"]) + "\n" if "init" in data else PLAIN_INIT
        return cls(
            tuple(data["arguments"]),
            tuple(data["operands"]),
            None if order is None else tuple(order),
            init,
        )


def permuted(name: str, order: tuple[int, ...]) -> str:
    """A tensor with its dimensions in another order, as an expression."""
    return f"{name}.permute({', '.join(map(str, order))})"


def unpermuted(operand: str) -> tuple[str, tuple[int, ...] | None]:
    """What an operand is made of, and the order its dimensions are put into; None: it is taken as it is."""
    match = _PERMUTED.fullmatch(operand)
    return (match[1], tuple(map(int, match[2].split(", ")))) if match else (operand, None)


def _permuted_name(operand: str) -> str:
    return unpermuted(operand)[0]


def attribute(path: str) -> str:
    """A parameter's name as an expression: `self.layers[0].weight` for `layers.0.weight`."""
    return "self" + "".join(
        f"[{part}]" if part.isdecimal() else f".{part}" for part in path.split(".")
    )
