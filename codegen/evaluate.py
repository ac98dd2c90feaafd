"""What a graph computes: runs it on axes instead of numbers, from forward's arguments to its result.

An operation that is not in the table below, or not on such a value, stops it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TypeGuard

from codegen.axes import Axes, Dim
from codegen.graph import Graph, Node, Ref, Unsupported
from codegen.operands import Applied, Mask, Operand, Product, Value, mask_of, zeros_of
from codegen.problem import FLOAT8, ITEM_BYTES, STEPS

# Types that hold every value of another: computing in one is what a kernel does in its float32 sums.
_WIDER = {
    **dict.fromkeys(FLOAT8, ("float16", "bfloat16", "float32")),
    "float16": ("float32",),
    "bfloat16": ("float32",),
}
_SIGMOID = "sigmoid"  # half of a silu: x * sigmoid(x)


def evaluate(graph: Graph) -> tuple[Product, Axes]:
    """The product that forward returns, epilogue included.

    Raises Unsupported at the first operation, of those that the result depends on, that is in no family.
    """
    reading = _Reading(graph)
    for index in graph.needed():
        reading.values[index] = reading.value(index)
    result, node = reading.values[graph.result], graph.nodes[graph.result]
    if isinstance(result, Operand):
        raise Unsupported("forward", node.line, "it returns no product of two matrices")
    if _ends_in_sigmoid(result):
        raise _unknown(result.steps[-1].node)
    return result, reading.axes


def _unknown(node: Node) -> Unsupported:
    return Unsupported(
        node.name,
        node.line,
        f"no family has it; what may follow a product is {', '.join(STEPS)}: take it out of forward",
    )


def _ends_in_sigmoid(value: Value) -> TypeGuard[Product]:
    return isinstance(value, Product) and bool(value.steps) and value.steps[-1].op == _SIGMOID


class _Reading:
    """The values of the nodes so far, and the axes they share."""

    def __init__(self, graph: Graph) -> None:
        self.axes = Axes()
        self.values: dict[int, Value] = {}
        self._graph = graph
        self._names = {index: name for name, index in graph.arguments if index is not None}

    def value(self, index: int) -> Value:
        node = self._graph.nodes[index]
        if node.op in ("argument", "parameter", "constant"):
            return self._given(index, node)
        if node.op in _OPERATIONS:
            return _OPERATIONS[node.op](self, node)
        if not any(True for _ in node.refs()):  # made of nothing: ones, zeros, arange
            return self._given(index, node)
        raise _unknown(node)

    def _given(self, index: int, node: Node) -> Operand:
        axes = tuple(map(self.axes.new, node.shape))
        name, zeros = f"the result of {node.name}", frozenset[Mask]()
        if node.op == "argument":
            (made,) = node.refs()
            name, zeros = self._names[index], zeros_of(self._graph, made, axes)
        elif node.op in ("parameter", "constant"):
            name = str(node.args[0])
        return Operand(name, index, axes, axes, node.dtype, node.dtype, zeros)

    def read(self, node: Node, place: int) -> Value:
        """The value of an argument that must be a tensor."""
        ref = node.args[place]
        if not isinstance(ref, Ref):
            raise _unknown(node)
        return self.values[ref.index]

    # Each operation: a node in, its value out.

    def same(self, node: Node) -> Value:
        return self.read(node, 0)

    def cast(self, node: Node) -> Value:
        value = self.read(node, 0)
        if isinstance(value, Product):
            if node.dtype in FLOAT8 or node.dtype not in ITEM_BYTES:
                raise Unsupported(node.name, node.line, f"the result can't be {node.dtype}")
        elif node.dtype not in (value.dtype, *_WIDER.get(value.dtype, ())):
            raise Unsupported(
                node.name,
                node.line,
                f"it makes {value.name}, {value.dtype}, {node.dtype}, and a kernel reads operands as they "
                f"are: give {value.name} that type in get_inputs",
            )
        return replace(value, dtype=node.dtype)

    def transpose(self, node: Node) -> Value:
        value = self.read(node, 0)
        dims = list(value.dims)
        if len(dims) > 1:  # t() leaves a vector as it is
            one, other = node.arg(1, "dim0", -2), node.arg(2, "dim1", -1)
            dims[one], dims[other] = dims[other], dims[one]
        return replace(value, dims=tuple(dims))

    def permute(self, node: Node) -> Value:
        value = self.read(node, 0)
        return replace(value, dims=tuple(value.dims[place] for place in node.args[1]))

    def reshape(self, node: Node) -> Value:
        value = self.read(node, 0)
        if node.dtype != value.dtype:  # view(dtype): the bytes as another type
            raise _unknown(node)
        dims = self.axes.reshape(value.dims, node.shape)
        if dims is None:
            raise Unsupported(
                node.name, node.line, f"the reshape to {list(node.shape)} runs across dimensions"
            )
        return replace(value, dims=dims)

    def expand(self, node: Node) -> Value:
        value = self.read(node, 0)
        added = len(node.shape) - len(value.dims)
        dims = list(map(self.axes.new, node.shape[:added]))
        for dim, size in zip(value.dims, node.shape[added:], strict=True):
            dims.append(dim if self.axes.size(dim) == size else self.axes.new(size))
        return replace(value, dims=tuple(dims))

    def matmul(self, node: Node) -> Product:
        return self._product(node, self.read(node, 0), self.read(node, 1))

    def addmm(self, node: Node) -> Value:
        """beta * args[0] + alpha * args[1] @ args[2]."""
        if node.kwargs.get("beta", 1) != 1:
            raise Unsupported(node.name, node.line, "beta is not 1: what is added has no factor")
        product = self._product(node, self.read(node, 1), self.read(node, 2))
        alpha = node.kwargs.get("alpha", 1)
        return self._sum(node, self._scaled(node, product, alpha), self.read(node, 0))

    def _product(self, node: Node, one: Value, other: Value) -> Product:
        left, right = self._factor(node, one), self._factor(node, other)
        if left.node == right.node:
            right = self._apart(right)
        if left.stored_dtype != right.stored_dtype:
            raise Unsupported(
                node.name,
                node.line,
                f"{left.name} is {left.stored_dtype} and {right.name} {right.stored_dtype}: a kernel "
                "takes operands of one type",
            )
        # Sizes were matched by PyTorch; what remains to fail is caught where the result is recognized.
        self.axes.equate(left.dims[-1], right.dims[-2])
        for one_dim, other_dim in zip(left.dims[:-2], right.dims[:-2], strict=True):
            self.axes.equate(one_dim, other_dim)
        dims = (*left.dims[:-1], right.dims[-1])
        return Product(node, left, right, left.dims[-1], dims, node.dtype)

    def _apart(self, operand: Operand) -> Operand:
        """The operand with axes of its own: what is used twice runs along different axes in each use."""
        fresh: dict[int, Dim] = {}

        def renamed(dim: Dim) -> Dim:
            for axis in self.axes.resolve(dim):
                fresh.setdefault(axis, self.axes.new(self.axes.size((axis,))))
            return tuple(part for axis in self.axes.resolve(dim) for part in fresh[axis])

        def both(mask: Mask) -> Mask:
            return renamed(mask[0]), renamed(mask[1])

        return replace(
            operand,
            axes=tuple(map(renamed, operand.axes)),
            dims=tuple(map(renamed, operand.dims)),
            zeros=frozenset(map(both, operand.zeros)),
            mask=operand.mask and both(operand.mask),
        )

    def _factor(self, node: Node, value: Value) -> Operand:
        if isinstance(value, Product):
            raise Unsupported(
                node.name, node.line, "it takes the result of another product: one is a kernel"
            )
        if value.stored_dtype not in ITEM_BYTES:
            raise Unsupported(
                node.name,
                node.line,
                f"{value.name} is {value.stored_dtype}; kernels take {', '.join(ITEM_BYTES)}",
            )
        return value

    def triangle(self, node: Node) -> Value:
        value = self.read(node, 0)
        if node.arg(1, "diagonal", 0) != 0:
            raise Unsupported(node.name, node.line, "the diagonal is another than the main one")
        mask = mask_of(node.op, value.dims)
        if value.mask is not None and not self.axes.same(value.mask, mask):
            raise Unsupported(node.name, node.line, "it leaves no more than a diagonal")
        if isinstance(value, Operand):
            return replace(value, mask=mask)
        if value.steps:
            raise Unsupported(node.name, node.line, f"it follows {value.steps[-1].op}")
        return replace(value, mask=mask, masked_at=node)

    def pointwise(self, node: Node) -> Product:
        op = node.op
        if op == "gelu" and node.kwargs.get("approximate") == "tanh":
            op = "gelu_tanh"
        return self._step(node, self.read(node, 0), op)

    def clamp(self, node: Node) -> Product:
        low, high = node.arg(1, "min", None), node.arg(2, "max", None)
        if low != 0 or high is not None:
            raise _unknown(node)
        return self._step(node, self.read(node, 0), "relu")

    def multiply(self, node: Node) -> Product:
        one, other = node.args[:2]
        if not isinstance(other, Ref):
            return self._scaled(node, self.read(node, 0), other)
        if not isinstance(one, Ref):
            return self._scaled(node, self.read(node, 1), one)
        plain, gated = self.values[one.index], self.values[other.index]
        for x, gate in [(plain, gated), (gated, plain)]:
            if _ends_in_sigmoid(gate) and x == replace(gate, steps=gate.steps[:-1]):
                return replace(gate, steps=(*gate.steps[:-1], Applied("silu", node)))
        raise Unsupported(
            node.name,
            node.line,
            "it multiplies two tensors element by element: scale takes a number",
        )

    def divide(self, node: Node) -> Product:
        divisor = node.args[1]
        if not isinstance(divisor, int | float) or divisor == 0 or "rounding_mode" in node.kwargs:
            raise _unknown(node)
        return self._scaled(node, self.read(node, 0), 1 / divisor)

    def negate(self, node: Node) -> Product:
        return self._scaled(node, self.read(node, 0), -1)

    def add(self, node: Node) -> Product:
        if not all(isinstance(arg, Ref) for arg in node.args[:2]):
            raise Unsupported(node.name, node.line, "it adds a number: an epilogue adds a tensor")
        if node.kwargs.get("alpha", 1) != 1:
            raise Unsupported(node.name, node.line, "alpha is not 1: what is added has no factor")
        one, other = self.read(node, 0), self.read(node, 1)
        return self._sum(node, *((other, one) if isinstance(other, Product) else (one, other)))

    def _sum(self, node: Node, product: Value, added: Value) -> Product:
        if not isinstance(added, Operand):
            raise Unsupported(node.name, node.line, "it adds two products: one is a kernel")
        if added.mask is not None:
            raise Unsupported(node.name, node.line, f"it adds a triangle of {added.name}")
        if isinstance(product, Product):
            if added.node in product.used:
                added = self._apart(added)
            missing = len(product.dims) - len(added.dims)
            dims = ((),) * missing + added.dims
            fits = missing >= 0 and all(
                not self.axes.resolve(small) or self.axes.equate(small, dim)
                for small, dim in zip(dims, product.dims, strict=False)
            )
            if not fits:
                raise Unsupported(
                    node.name, node.line, f"the sum with {added.name} is larger than the product"
                )
        return self._step(node, product, "add", added)

    def _scaled(self, node: Node, value: Value, factor: object) -> Product:
        if not isinstance(factor, int | float) or not math.isfinite(factor):
            raise Unsupported(node.name, node.line, f"the factor {factor} is no finite real number")
        if factor == 1 and isinstance(value, Product):
            return value
        return self._step(node, value, "scale", float(factor))

    def _step(
        self, node: Node, value: Value, op: str, operand: float | Operand | None = None
    ) -> Product:
        if isinstance(value, Operand):
            raise Unsupported(
                node.name,
                node.line,
                f"{value.name} is changed before the product: a kernel reads it as is",
            )
        if _ends_in_sigmoid(value):
            raise _unknown(value.steps[-1].node)
        if value.mask is not None:
            raise Unsupported(node.name, node.line, "it follows a triangle, which has no epilogue")
        return replace(value, steps=(*value.steps, Applied(op, node, operand)), dtype=node.dtype)


_OPERATIONS: dict[str, Callable[[_Reading, Node], Value]] = {
    **dict.fromkeys(["alias", "clone", "detach", "lift_fresh"], _Reading.same),
    **dict.fromkeys(["t", "transpose"], _Reading.transpose),
    **dict.fromkeys(
        ["view", "_unsafe_view", "unsqueeze", "squeeze", "_reshape_alias"], _Reading.reshape
    ),
    **dict.fromkeys(["mm", "bmm"], _Reading.matmul),
    **dict.fromkeys(["addmm", "baddbmm"], _Reading.addmm),
    **dict.fromkeys(["tril", "triu"], _Reading.triangle),
    **dict.fromkeys(["relu", "gelu", "silu", _SIGMOID], _Reading.pointwise),
    **dict.fromkeys(["clamp", "clamp_min"], _Reading.clamp),
    "_to_copy": _Reading.cast,
    "permute": _Reading.permute,
    "expand": _Reading.expand,
    "mul": _Reading.multiply,
    "div": _Reading.divide,
    "neg": _Reading.negate,
    "add": _Reading.add,
}
