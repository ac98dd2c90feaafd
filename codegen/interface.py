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
    operands: tuple[str, ...]  # of the wrapper, in these terms: `x`, `self.linear.weight`
    init: str = PLAIN_INIT  # the source of the whole method, not indented

    def __post_init__(self) -> None:
        for name in self.arguments:
            if not name.isidentifier() or keyword.iskeyword(name) or name == "self":
                raise BadInput(f"argument {name[:40]!r} of forward is no name")
        if len(set(self.arguments)) < len(self.arguments):
            raise BadInput("two arguments of forward have one name")
        for operand in self.operands:
            if operand not in self.arguments and not _ATTRIBUTE.fullmatch(operand):
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
        return any(operand not in self.arguments for operand in self.operands)

    def to_json(self) -> dict[str, Any]:
        data = {"arguments": list(self.arguments), "operands": list(self.operands)}
        return data if self.init == PLAIN_INIT else data | {"init": self.init.splitlines()}

    @classmethod
    def from_json(cls, data: object) -> Interface:
        """Reads what `to_json` writes. Raises BadInput."""
        if not isinstance(data, Mapping) or not {"arguments", "operands"} <= data.keys():
            raise BadInput("model must be an object with arguments, operands and perhaps init")
        for name, value in data.items():
            if name not in ("arguments", "operands", "init"):
                raise BadInput(f"model has an unknown field {name[:40]!r}")
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise BadInput(f"{name} must be a list of strings, and is {shown(value)}")
        init = "\n".join(data["init"]) + "\n" if "init" in data else PLAIN_INIT
        return cls(tuple(data["arguments"]), tuple(data["operands"]), init)


def attribute(path: str) -> str:
    """A parameter's name as an expression: `self.layers[0].weight` for `layers.0.weight`."""
    return "self" + "".join(
        f"[{part}]" if part.isdecimal() else f".{part}" for part in path.split(".")
    )
