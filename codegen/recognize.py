"""Which problem of the families a traced product is, and which tensors are its operands.

In index letters a problem is `...mk,...kn->...mn`, where an operand may have its last two letters swapped
and lack the leading ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from codegen.axes import Axes, Dim
from codegen.evaluate import evaluate
from codegen.graph import Graph, Node, Unsupported
from codegen.interface import attribute
from codegen.operands import Applied, Mask, Operand, Product
from codegen.outcome import BadInput
from codegen.problem import Problem, Step

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class _Placed:
    """A product whose letters are those of a problem."""

    left: Operand  # A
    right: Operand  # B
    layout: str
    batch: tuple[Dim, ...]
    batched: str
    row: Dim
    column: Dim


def recognize(graph: Graph) -> tuple[Problem, tuple[str, ...]]:
    """The problem that a graph computes, and its operands: A, B, then the epilogue's.

    An operand is an argument of forward, by its name, or a tensor of the module: `self.linear.weight`.
    Raises Unsupported naming the operation where it leaves the families, or where the kernel could not
    stand in for forward.
    """
    product, axes = evaluate(graph)
    placed = next(_placements(product, axes), None)
    if placed is None:
        raise _refused(
            product.node,
            f"it computes {_letters(product, axes)}, and gemm ...mk,...kn->...mn, with mk, kn or both the "
            "other way round: give forward its operands so",
        )
    steps = [_step(applied, product, axes, placed.column) for applied in product.steps]
    triangle = _triangle(product, axes, placed)
    if triangle is not None and product.steps:
        step = product.steps[0]
        raise _refused(step.node, "it follows a product of triangles, which has no epilogue")
    m, n, k = (axes.size(dim) for dim in (placed.row, placed.column, product.inner))
    try:
        problem = Problem(
            "gemm" if triangle is None else "trimm",
            m,
            n,
            k,
            layout=placed.layout,
            dtype=placed.left.stored_dtype,
            out_dtype=product.dtype,
            triangle=triangle,
            batch=tuple(axes.size(dim) for dim in placed.batch),
            batched=placed.batched,
            epilogue=tuple(steps),
        )
    except BadInput as error:
        raise _refused(product.node, str(error)) from None
    operands = [(placed.left, product.node), (placed.right, product.node)]
    operands += [(s.value, s.node) for s in product.steps if isinstance(s.value, Operand)]
    _check_numbers(graph, product.node)
    return problem, tuple(_expression(graph, operand, use) for operand, use in operands)


def _refused(node: Node, why: str) -> Unsupported:
    return Unsupported(node.name, node.line, why)


def _placements(product: Product, axes: Axes) -> Iterator[_Placed]:
    """The ways to read a product as a problem: none, one, or any where sizes of 1 leave the choice."""
    if len(product.dims) < 2:
        return
    *batch, row, column = product.dims
    inner = product.inner
    for left, right in [(product.left, product.right), (product.right, product.left)]:
        for layout, a, b in [
            ("nn", (row, inner), (inner, column)),
            ("nt", (row, inner), (column, inner)),
            ("tn", (inner, row), (inner, column)),
            ("tt", (inner, row), (column, inner)),
        ]:
            if axes.same(left.axes[-2:], a) and axes.same(right.axes[-2:], b):
                leading = {"a": left.axes[:-2], "b": right.axes[:-2]}
                leading = {name: dims for name, dims in leading.items() if dims}
                if _broadcast([*leading.values()], batch, axes):
                    batched = "".join(leading) or "ab"
                    yield _Placed(left, right, layout, tuple(batch), batched, row, column)


def _broadcast(leading: Sequence[Sequence[Dim]], batch: Sequence[Dim], axes: Axes) -> bool:
    """Whether leading dimensions, of which a size of 1 serves all, come to those of the result."""
    if any(len(dims) != len(batch) for dims in leading):
        return False
    for place, dim in enumerate(batch):
        own = {axes.resolve(dims[place]) for dims in leading} - {()}
        if own != {axes.resolve(dim)} - {()}:
            return False
    return True


def _letters(product: Product, axes: Axes) -> str:
    """A product in einsum's notation, dimensions of size 1 as 1 and folded ones in brackets."""
    names: dict[int, str] = {}

    def spelled(dims: Sequence[Dim]) -> str:
        words = []
        for dim in map(axes.resolve, dims):
            for axis in dim:
                names.setdefault(axis, _LETTERS[len(names) % len(_LETTERS)])
            word = "".join(names[axis] for axis in dim) or "1"
            words.append(f"({word})" if len(dim) > 1 else word)
        return "".join(words)

    return f"{spelled(product.left.axes)},{spelled(product.right.axes)}->{spelled(product.dims)}"


def _step(applied: Applied, product: Product, axes: Axes, column: Dim) -> Step:
    """One step of the epilogue; what is added is a bias or a residual by its shape."""
    added = applied.value
    if not isinstance(added, Operand):
        return Step(applied.op, added)
    if added.stored_dtype != product.dtype:
        raise _refused(
            applied.node,
            f"{added.name} is {added.stored_dtype} and the result {product.dtype}: an epilogue adds "
            "tensors of the result's type",
        )
    if len(added.axes) == 1 and axes.same(added.axes, [column]):
        return Step("bias")
    if axes.same(added.axes, product.dims):
        return Step("residual")
    raise _refused(
        applied.node,
        f"{added.name} is neither a vector with one value for each column of the result nor of the "
        "result's shape",
    )


def _triangle(product: Product, axes: Axes, placed: _Placed) -> str | None:
    """Which half a product of triangles has; None for a dense one.

    It is one of triangles if forward says so, of the result or of an operand. What get_inputs says, that
    an operand comes with zeros, is taken into account then, and only then: a dense kernel stays right for
    any input.
    """
    a, b, inner = placed.left, placed.right, product.inner
    masks = [a.mask, b.mask, product.mask]
    if masks == [None, None, None]:
        return None
    lower = [(placed.row, inner), (inner, placed.column), (placed.row, placed.column)]
    for triangle, wanted in [("lower", lower), ("upper", [(q, p) for p, q in lower])]:
        halves = [
            _has(operand.zeros, half, axes) if operand.mask is None else True
            for operand, half in zip((a, b), wanted, strict=False)
        ]
        agree = all(
            mask is None or axes.same(mask, half) for mask, half in zip(masks, wanted, strict=True)
        )
        if all(halves) and agree and not axes.same(a.axes[:-2], b.axes[:-2]):
            raise _refused(
                product.node,
                f"trimm takes operands of one shape, and {a.name} and {b.name} differ: expand in get_inputs",
            )
        if all(halves) and agree:
            return triangle
    node = product.masked_at or product.node
    raise _refused(
        node,
        f"trimm multiplies triangular matrices of one kind, and here {a.name} is {_kind(a, axes)} and "
        f"{b.name} {_kind(b, axes)}",
    )


def _has(masks: frozenset[Mask], half: Mask, axes: Axes) -> bool:
    return any(axes.same(mask, half) for mask in masks)


def _kind(operand: Operand, axes: Axes) -> str:
    """How an operand looks where it enters the product."""
    known = {operand.mask} if operand.mask is not None else operand.zeros
    rows, columns = operand.dims[-2:]
    names = [
        name
        for name, half in [("lower", (rows, columns)), ("upper", (columns, rows))]
        if _has(frozenset(known), half, axes)
    ]
    return " and ".join(names) or "dense"


def _expression(graph: Graph, operand: Operand, use: Node) -> str:
    """An operand where ModelNew finds it. Raises Unsupported for one that forward makes, or takes from elsewhere."""
    kind = graph.nodes[operand.node].op
    if kind == "argument":
        return operand.name
    if kind == "parameter":
        return attribute(operand.name)
    raise _refused(
        use, f"{operand.name} does not come from get_inputs: make it an argument of forward"
    )


def _check_numbers(graph: Graph, node: Node) -> None:
    """Raises Unsupported where forward is given a number: of one it computes with, only the value is left."""
    numbers = [name for name, index in graph.arguments if index is None]
    if numbers:
        raise _refused(
            node,
            f"forward's argument {numbers[0]} is no tensor, and a kernel is made for one value of it: "
            "make it an argument of __init__",
        )
