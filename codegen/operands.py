"""What the nodes of a graph stand for: operands as they are given, and the product of two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codegen.axes import Dim
from codegen.graph import Graph, Node

# Operations on one tensor, and perhaps a number, that leave zeros zeros.
_KEEP_ZEROS = ("alias", "clone", "detach", "lift_fresh", "_to_copy", "neg", "relu", "mul", "div")

# What is kept of a tensor: the entries whose place along the first is not before that along the second.
Mask = tuple[Dim, Dim]


@dataclass(frozen=True)
class Operand:
    """A tensor that forward is given or holds, seen through transposes and reshapes.

    `zeros` is what is known of how it was made, `mask` what forward asks for.
    """

    name: str  # of the argument or parameter
    node: int  # that stands for it; parameters and constants have one too
    axes: tuple[Dim, ...]  # as stored
    dims: tuple[Dim, ...]  # as seen
    stored_dtype: str
    dtype: str
    zeros: frozenset[Mask] = frozenset()
    mask: Mask | None = None


@dataclass(frozen=True)
class Applied:
    """A step after the product; `value` is a number or an operand where it takes one."""

    op: str
    node: Node
    value: float | Operand | None = None


@dataclass(frozen=True)
class Product:
    """A product of two operands, summed over `inner`, and what was done to it since."""

    node: Node
    left: Operand
    right: Operand
    inner: Dim
    dims: tuple[Dim, ...]
    dtype: str
    steps: tuple[Applied, ...] = ()
    mask: Mask | None = None
    masked_at: Node | None = None

    @property
    def used(self) -> frozenset[int]:
        """The nodes of its operands, those of the steps included."""
        added = (step.value for step in self.steps if isinstance(step.value, Operand))
        return frozenset(operand.node for operand in (self.left, self.right, *added))


Value = Operand | Product


def mask_of(op: str, dims: Sequence[Dim]) -> Mask:
    """What tril or triu keeps of a tensor."""
    rows, columns = dims[-2:]
    return (rows, columns) if op == "tril" else (columns, rows)


def zeros_of(graph: Graph, index: int, dims: tuple[Dim, ...]) -> frozenset[Mask]:
    """The masks that a tensor made by get_inputs has already, by the operations that made it."""
    known: set[Mask] = set()
    while len(dims) > 1:
        node = graph.nodes[index]
        sources = [*node.refs()]
        if node.op in ("tril", "triu"):
            diagonal = node.arg(1, "diagonal", 0)
            if diagonal <= 0 if node.op == "tril" else diagonal >= 0:
                known.add(mask_of(node.op, dims))
        elif node.op in ("t", "transpose"):
            turned = list(dims)
            one, other = node.arg(1, "dim0", -2), node.arg(2, "dim1", -1)
            turned[one], turned[other] = turned[other], turned[one]
            dims = tuple(turned)
        elif node.op == "permute":
            turned = list(dims)
            for place, dim in zip(node.args[1], dims, strict=True):
                turned[place] = dim
            dims = tuple(turned)
        elif node.op not in _KEEP_ZEROS or len(sources) != 1:
            break
        (index,) = sources
    return frozenset(known)
