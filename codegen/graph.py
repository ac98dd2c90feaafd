"""What a problem file's `forward` does, as data: the operations that PyTorch dispatched, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


class Unsupported(Exception):
    """What `forward` computes is in no family: the operation it stopped at, the line of it, and why."""

    def __init__(self, operation: str, line: int | None, why: str) -> None:
        super().__init__(why)
        self.operation, self.line, self.why = operation, line, why


@dataclass(frozen=True)
class Ref:
    """The result of the node with this number."""

    index: int


@dataclass(frozen=True)
class Node:
    """One operation of ATen, PyTorch's library of operations, and the tensor it makes.

    Three kinds are no operations: `argument` (of forward, of whose making args[0] is the last node),
    `parameter` (a tensor of the module, args[0] is its name) and `constant` (a tensor made before forward).
    """

    op: str  # `mm`, without namespace and overload
    args: tuple[Any, ...]  # numbers, names, Refs, and lists of them
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] = ()
    dtype: str = "float32"
    line: int | None = None  # of the problem file

    @property
    def name(self) -> str:
        """What people call the operation: `softmax` for `_softmax`."""
        return {"_to_copy": "to", "_unsafe_view": "reshape"}.get(self.op, self.op.strip("_"))

    def arg(self, place: int, name: str, default: Any) -> Any:
        """An argument of the operation, which may be given by place or by name, or not at all."""
        return self.args[place] if place < len(self.args) else self.kwargs.get(name, default)

    def refs(self) -> Iterator[int]:
        """The numbers of the nodes that it reads."""
        pending: list[Any] = [*self.args, *self.kwargs.values()]
        while pending:
            value = pending.pop()
            if isinstance(value, Ref):
                yield value.index
            elif isinstance(value, list):
                pending += value


@dataclass(frozen=True)
class Graph:
    """The operations of get_inputs and forward. A node reads only nodes before it."""

    nodes: tuple[Node, ...]
    arguments: tuple[tuple[str, int | None], ...]  # forward's: name and node; None: no tensor
    result: int  # the node that makes what forward returns

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> Graph:
        """Reads what `trace.trace` answers."""
        nodes = tuple(
            Node(
                node["op"],
                tuple(map(_from_wire, node["args"])),
                {name: _from_wire(value) for name, value in node["kwargs"].items()},
                tuple(node["shape"]),
                node["dtype"],
                node["line"],
            )
            for node in data["nodes"]
        )
        arguments = tuple((name, index) for name, index in data["arguments"])
        return cls(nodes, arguments, data["result"])

    def needed(self) -> tuple[int, ...]:
        """The nodes that the result depends on, in order, from forward's arguments on."""
        found: set[int] = set()
        pending = [self.result]
        while pending:
            index = pending.pop()
            if index not in found:
                found.add(index)
                if self.nodes[index].op != "argument":
                    pending += self.nodes[index].refs()
        return tuple(sorted(found))


def _from_wire(value: Any) -> Any:
    if isinstance(value, dict):
        return Ref(value["node"])
    return [_from_wire(item) for item in value] if isinstance(value, list) else value
