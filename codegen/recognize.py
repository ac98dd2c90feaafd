"""Which problem of the families a traced product is, and which tensors are its operands.

In index letters a problem is `...mk,...kn->...mn`, where an operand may have its last two letters swapped
and lack the leading ones. A tensor whose letters come in another order is permuted on its way in or out: kernels
take any strides.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from codegen.axes import Axes, Dim
from codegen.evaluate import evaluate
from codegen.graph import Graph, Node, Unsupported
from codegen.interface import attribute, permuted
from codegen.operands import Applied, Mask, Operand, Product
from codegen.outcome import BadInput
from codegen.problem import Problem, Step

_MOST_PERMUTED = 4  # dimensions: of more, there are too many orders to try

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


Order = tuple[int, ...]
Ways = Callable[[Sequence[Dim]], Iterable[Order]]  # the orders to try for some dimensions


@dataclass(frozen=True)
class Recognized:
    """A problem, and how forward's tensors enter it and leave it.

    An operand (A, B, then the epilogue's) is an argument of forward, by its name, or a tensor of the
    module, `self.linear.weight`; permuted, `x.permute(1, 0, 2)`, where its dimensions come in another order.
    `returned` is what the result is permuted by; None where it is returned as it is.
    """

    problem: Problem
    operands: tuple[str, ...]
    returned: Order | None


@dataclass(frozen=True)
class _Placed:
    """A product whose letters are those of a problem."""

    left: Operand  # A
    right: Operand  # B
    orders: tuple[
        Order, Order, Order
    ]  # that A's, B's and the product's dimensions are brought into
    layout: str
    batch: tuple[Dim, ...]
    batched: str
    row: Dim
    column: Dim


def recognize(graph: Graph) -> Recognized:
    """The problem that a graph computes, and its operands.

    Raises Unsupported naming the operation where it leaves the families, or where the kernel could not
    stand in for forward.
    """
    product, axes = evaluate(graph)
    placed = next(_placements(product, axes, _as_they_are), None)
    if placed is None:
        permuted = _placements(product, axes, _orders)
        placed = min(permuted, key=lambda found: _moved(found.orders), default=None)
    if placed is None:
        raise _refused(
            product.node,
            f"it computes {_letters(product, axes)}, and gemm ...mk,...kn->...mn",
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
    a, b, c = placed.orders
    operands = [(placed.left, product.node, a), (placed.right, product.node, b)]
    operands += [(s.value, s.node, c) for s in product.steps if isinstance(s.value, Operand)]
    _check_numbers(graph, product.node)
    expressions = tuple(_expression(graph, *operand) for operand in operands)
    returned = tuple(c.index(place) for place in range(len(c)))
    return Recognized(problem, expressions, None if _is_plain(c) else returned)


def _refused(node: Node, why: str) -> Unsupported:
    return Unsupported(node.name, node.line, why)


def _placements(product: Product, axes: Axes, ways: Ways) -> Iterator[_Placed]:
    """The readings of a product as a problem: none, one, or any where sizes of 1 leave the choice."""
    if len(product.dims) < 2:
        return
    inner = product.inner
    factors = [(product.left, product.right), (product.right, product.left)]
    for c, (left, right) in itertools.product(ways(product.dims), factors):
        *batch, row, column = _permuted(product.dims, c)
        for layout, first, second in [
            ("nn", (row, inner), (inner, column)),
            ("nt", (row, inner), (column, inner)),
            ("tn", (inner, row), (inner, column)),
            ("tt", (inner, row), (column, inner)),
        ]:
            a = _order(left.axes, ways, first, batch, axes)
            b = _order(right.axes, ways, second, batch, axes)
            if a is not None and b is not None:
                leading = {"a": _permuted(left.axes, a)[:-2], "b": _permuted(right.axes, b)[:-2]}
                leading = {name: dims for name, dims in leading.items() if dims}
                if _broadcast([*leading.values()], batch, axes):
                    batched = "".join(leading) or "ab"
                    orders = (a, b, c)
                    yield _Placed(left, right, orders, layout, tuple(batch), batched, row, column)


def _moved(orders: Sequence[Order]) -> tuple[int, ...]:
    """How much a reading moves: as few tensors as can be, and their last dimensions rather not."""
    moved = [order for order in orders if not _is_plain(order)]
    return len(moved), sum(order[-1] != len(order) - 1 for order in moved)


def _order(
    dims: Sequence[Dim],
    ways: Ways,
    last: Sequence[Dim],
    batch: Sequence[Dim],
    axes: Axes,
) -> Order | None:
    """An order in which an operand ends in the two dimensions of its matrix, after those of the batch it has."""
    for order in ways(dims):
        permuted = _permuted(dims, order)
        if axes.same(permuted[-2:], last) and (
            len(dims) == 2 or _broadcast([permuted[:-2]], batch, axes, whole=False)
        ):
            return order
    return None


def _as_they_are(dims: Sequence[Dim]) -> Iterable[Order]:
    return (tuple(range(len(dims))),)


def _orders(dims: Sequence[Dim]) -> Iterable[Order]:
    """All orders of a few dimensions, the plain one first, and those that keep the last one early."""
    if len(dims) > _MOST_PERMUTED:
        return _as_they_are(dims)
    last = len(dims) - 1
    every = itertools.permutations(range(len(dims)))
    return sorted(every, key=lambda order: (order[-1] != last, order))


def _permuted(dims: Sequence[Dim], order: Order) -> list[Dim]:
    return [dims[place] for place in order]


def _is_plain(order: Order) -> bool:
    return order == tuple(range(len(order)))


def _broadcast(
    leading: Sequence[Sequence[Dim]], batch: Sequence[Dim], axes: Axes, *, whole: bool = True
) -> bool:
    """Whether leading dimensions, of which a size of 1 serves all, come to those of the result.

    Together, that is; or with `whole` false, so far as they go.
    """
    if any(len(dims) != len(batch) for dims in leading):
        return False
    for place, dim in enumerate(batch):
        own = {axes.resolve(dims[place]) for dims in leading} - {()}
        wanted = {axes.resolve(dim)} - {()}
        if own != wanted and (whole or own):
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


def _expression(graph: Graph, operand: Operand, use: Node, order: Order) -> str:
    """An operand where ModelNew finds it. Raises Unsupported for one that forward makes, or takes from elsewhere."""
    kind = graph.nodes[operand.node].op
    if kind in ("argument", "parameter"):
        name = operand.name if kind == "argument" else attribute(operand.name)
        # A bias has one dimension, whatever the order of the product's.
        return name if len(operand.axes) == 1 or _is_plain(order) else permuted(name, order)
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
