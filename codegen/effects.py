"""Whether running a kernel several times on the same memory changes its result.

Triton does not benchmark a list of one config, so such a kernel is run once a call. With a second config
it is run many times while tuning: wrong for a kernel that adds to its output or works in place, unless
the autotuner is told how to restore it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

# Doing these twice with the same values is doing them once.
_IDEMPOTENT = ("atomic_max", "atomic_min", "atomic_and", "atomic_or")

# Functions whose result points where their first argument points.
_POINTING = (
    "advance",
    "cast",
    "make_block_ptr",
    "make_tensor_descriptor",
    "_experimental_make_tensor_descriptor",
    "max_contiguous",
    "multiple_of",
    "to",
    "broadcast_to",
)

FunctionDef = ast.FunctionDef | ast.AsyncFunctionDef


def repeats_badly(kernel: FunctionDef, functions: Mapping[str, FunctionDef]) -> str | None:
    """Why running the kernel again on its own output would be wrong; None: nothing shows that it would.

    Conservative, by the arguments that reach a load, a store or an atomic: an atomic other than a maximum,
    a minimum, an `and` or an `or`, or a load and a store through the same argument. `functions` are those
    of the file, to see into the ones that the kernel calls.
    """
    uses = _uses(kernel, functions, depth=3)
    for parameter, kinds in uses.items():
        if "atomic" in kinds:
            return f"it accumulates into {parameter} with an atomic"
        if {"load", "store"} <= kinds:
            return f"it reads and writes {parameter}"
    return None


@dataclass
class _Trace:
    """What each variable may point into, in terms of the parameters that may be pointers."""

    parameters: frozenset[str]
    points: dict[str, set[str]] = field(default_factory=dict)

    def roots(self, node: ast.expr | None) -> set[str]:
        """The parameters that an address may be computed from, as its base."""
        match node:
            case ast.Name(id=name):
                return self.points.get(name, {name} & self.parameters)
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right):
                return self.roots(left) or self.roots(right)  # bases are written first
            case ast.Subscript(value=value) | ast.Starred(value=value):
                return self.roots(value)
            case ast.IfExp(body=body, orelse=orelse):
                return self.roots(body) | self.roots(orelse)
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                return set().union(*map(self.roots, elements))
            case ast.Call(func=ast.Name(id=name), args=[first, *_]) if name in _POINTING:
                return self.roots(first)
            case ast.Call(func=ast.Attribute(value=of, attr=name)) if name in _POINTING:
                base = [k.value for k in node.keywords if k.arg in ("base", "ptr")]
                return self.roots(of) | self.roots((*base, *node.args, None)[0])
            case ast.Call(func=ast.Attribute(attr="where"), args=[_, one, other]):
                return self.roots(one) | self.roots(other)
        return set()

    def assign(self, target: ast.expr, roots: set[str]) -> None:
        if isinstance(target, ast.Name):
            self.points[target.id] = self.points.get(target.id, set()) | roots
        elif isinstance(target, ast.Tuple | ast.List):
            for part in target.elts:
                self.assign(part, roots)


def _uses(
    function: FunctionDef, functions: Mapping[str, FunctionDef], depth: int
) -> dict[str, set[str]]:
    """For each parameter that addresses memory: `load`, `store`, `atomic`."""
    arguments = function.args
    names = {a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    nodes = list(ast.walk(function))
    trace = _Trace(frozenset(names - set(_numbers(nodes))))
    for _ in range(2):  # what a loop assigns at its end is used at its beginning
        for node in nodes:
            _follow(node, trace)
    uses: dict[str, set[str]] = {}
    for node in nodes:
        if isinstance(node, ast.Call):
            for kind, roots in _accesses(node, trace, functions, depth):
                for parameter in roots:
                    uses.setdefault(parameter, set()).add(kind)
    return uses


def _follow(node: ast.AST, trace: _Trace) -> None:
    match node:
        case ast.Assign(targets=[ast.Tuple(elts=parts)], value=ast.Tuple(elts=values)):
            for part, value in zip(parts, values, strict=False):
                trace.assign(part, trace.roots(value))
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                trace.assign(target, trace.roots(value))
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            trace.assign(target, trace.roots(value))
        case ast.AugAssign(target=ast.Name() as target, op=ast.Add() | ast.Sub(), value=value):
            trace.assign(target, trace.roots(target) or trace.roots(value))


def _accesses(
    call: ast.Call, trace: _Trace, functions: Mapping[str, FunctionDef], depth: int
) -> Iterator[tuple[str, set[str]]]:
    address: ast.expr | None
    first = next((k.value for k in call.keywords if k.arg == "pointer"), None)
    first = call.args[0] if call.args else first
    match call.func:
        case ast.Attribute(value=of, attr=name) if not isinstance(of, ast.Name) or (
            of.id in trace.parameters or of.id in trace.points
        ):
            address = of  # a descriptor's own method
        case ast.Attribute(attr=name) | ast.Name(id=name):
            address = first
        case _:
            return
    if name in ("load", "store"):
        yield name, trace.roots(address)
    elif name in ("gather", "scatter", "load_tensor_descriptor", "store_tensor_descriptor"):
        yield "store" if name.startswith(("scatter", "store")) else "load", trace.roots(address)
    elif name.startswith("atomic_") and name not in _IDEMPOTENT:
        yield "atomic", trace.roots(address)
    elif name in functions and depth and isinstance(call.func, ast.Name):
        inner = functions[name]
        uses = _uses(inner, functions, depth - 1)
        positional = [a.arg for a in (*inner.args.posonlyargs, *inner.args.args)]
        given = dict(zip(positional, call.args, strict=False))
        given |= {k.arg: k.value for k in call.keywords if k.arg}
        for parameter, value in given.items():
            for kind in uses.get(parameter, ()):
                yield kind, trace.roots(value)


def _numbers(nodes: list[ast.AST]) -> Iterator[str]:
    """Names that are used as no pointer can be: sizes and strides that addresses are made with."""
    for node in nodes:
        operands: list[ast.expr] = []
        match node:
            case ast.BinOp(left=left, op=op, right=right) if not isinstance(op, ast.Add | ast.Sub):
                operands = [left, right]
            case ast.Compare(left=left, ops=ops, comparators=others):
                if not any(isinstance(op, ast.Is | ast.IsNot) for op in ops):
                    operands = [left, *others]
            case ast.Call(func=ast.Name(id="range"), args=arguments):
                operands = arguments
            case ast.arg(
                arg=name, annotation=ast.Attribute(attr="constexpr") | ast.Name(id="constexpr")
            ):
                yield name
        yield from (operand.id for operand in operands if isinstance(operand, ast.Name))
