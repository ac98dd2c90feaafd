"""Where in a tree autotune is called, and over what."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from codegen.imports import Imports
from codegen.source import SourceFile

FunctionDef = ast.FunctionDef | ast.AsyncFunctionDef

# The parameters of triton.autotune that come first, in their order (triton/runtime/autotuner.py).
AUTOTUNE_PARAMETERS = (
    "configs",
    "key",
    "prune_configs_by",
    "reset_to_zero",
    "restore_value",
    "pre_hook",
    "post_hook",
)

# Other libraries with a decorator named `jit`, some of them with an `autotune` of their own.
_OTHER_JITS = ("numba", "jax", "torch", "tilelang", "taichi", "cupyx")


@dataclass(frozen=True)
class Place:
    """A call of autotune: a decorator, or applied as a function, `autotune(configs=...)(kernel)`."""

    call: ast.Call
    statement: ast.stmt  # the function decorated, or the statement that the call stands in
    at: int  # where it begins: the offset of a decorator's `@`, or of the call
    kernel: str
    function: FunctionDef | None  # the kernel, where the file defines it
    above: tuple[ast.expr, ...] = ()  # decorators, outermost first
    beneath: tuple[ast.expr, ...] = ()


def find_places(file: SourceFile, nodes: Sequence[ast.AST], imports: Imports) -> list[Place]:
    """The calls of autotune among the nodes of the file, in the order of the text."""
    functions = [node for node in nodes if isinstance(node, FunctionDef)]
    places = [place for function in functions for place in _decorators(file, imports, function)]
    decorators = {id(place.call) for place in places}
    for node in nodes:
        if isinstance(node, ast.Call) and id(node) not in decorators:
            path = imports.qualified(node.func) or ""
            if "." in path and is_triton_autotune(path):
                places.append(_applied(file, nodes, node))
    return sorted(places, key=lambda place: place.at)


def _decorators(file: SourceFile, imports: Imports, function: FunctionDef) -> Iterator[Place]:
    decorators = function.decorator_list
    for index, decorator in enumerate(decorators):
        if isinstance(decorator, ast.Call):
            path = imports.qualified(decorator.func) or ""
            beneath = tuple(decorators[index + 1 :])
            jitted = any(is_jit(imports, other) for other in beneath)
            if is_triton_autotune(path) or (jitted and _is_wrapper(path, decorator)):
                at = file.text.rfind("@", 0, file.span(decorator)[0])
                above = tuple(decorators[:index])
                yield Place(decorator, function, at, function.name, function, above, beneath)


def _applied(file: SourceFile, nodes: Sequence[ast.AST], call: ast.Call) -> Place:
    """The place of a call that is no decorator; `nodes` come outermost first."""
    start, end = file.span(call)
    around = [
        node
        for node in nodes
        if isinstance(node, ast.stmt) and _begin(file, node) <= start and end <= file.span(node)[1]
    ]
    calls = (node for node in nodes if isinstance(node, ast.Call))
    kernel = next((c.args[0] for c in calls if c.func is call and c.args), None)
    if kernel is None:
        function, beneath = _kept(nodes, around[-1])
    else:
        function, beneath = _unwrapped(nodes, kernel)
    name = function.name if function else "?"
    return Place(call, around[-1], start, name, function, (), tuple(beneath))


def _begin(file: SourceFile, statement: ast.stmt) -> int:
    """Where a statement begins, its decorators included."""
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return file.span(decorators[0] if decorators else statement)[0]


def _unwrapped(
    nodes: Sequence[ast.AST], kernel: ast.expr
) -> tuple[FunctionDef | None, list[ast.expr]]:
    """The function in `heuristics(...)(jit(f))`, or in a name for that, and what is put around it."""
    beneath: list[ast.expr] = []
    for _ in range(10):  # names may go round in a circle
        match kernel:
            case ast.Call(func=function, args=[inner, *_]):
                beneath.append(function)
                kernel = inner
            case ast.Name(id=name):
                for node in nodes:
                    if isinstance(node, FunctionDef) and node.name == name:
                        return node, [*beneath, *node.decorator_list]
                values = [v for target, v in _assignments(nodes) if target == name]
                if len(values) != 1:
                    break
                kernel = values[0]
            case _:
                break
    return None, beneath


def _kept(
    nodes: Sequence[ast.AST], statement: ast.stmt
) -> tuple[FunctionDef | None, list[ast.expr]]:
    """The function that `tuned = autotune(...)` decorates, if it is one, and the decorators beneath."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)]):
            uses = [
                (node, node.decorator_list[index + 1 :])
                for node in nodes
                if isinstance(node, FunctionDef)
                for index, decorator in enumerate(node.decorator_list)
                if isinstance(decorator, ast.Name) and decorator.id == name
            ]
            if len(uses) == 1:
                return uses[0]
    return None, []


def _assignments(nodes: Sequence[ast.AST]) -> Iterator[tuple[str, ast.expr]]:
    for node in nodes:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield name, value


def is_triton_autotune(path: str) -> bool:
    """`triton.autotune`, `triton.runtime.autotuner.autotune`, a shim's `.compat.triton.autotune`."""
    parent, _, last = path.rpartition(".")
    return last == "autotune" and (not parent or "triton" in parent)


def _is_wrapper(path: str, call: ast.Call) -> bool:
    """A project's own decorator with the signature of triton.autotune: `libtuner(configs=..., key=...)`."""
    last = path.rpartition(".")[2]
    named = any(keyword.arg == "configs" for keyword in call.keywords)
    return named or ("autotune" in last and bool(call.args))


def is_jit(imports: Imports, decorator: ast.expr) -> bool:
    """`triton.jit`, `jit(do_not_specialize=...)`, `gluon.jit`, a project's `triton_jit`; not numba's."""
    path = _decorator_path(imports, decorator)
    first, last = path.partition(".")[0], path.rpartition(".")[2]
    return (last == "jit" or last.endswith("_jit")) and first not in _OTHER_JITS


def is_heuristics(imports: Imports, decorator: ast.expr) -> bool:
    return _decorator_path(imports, decorator).rpartition(".")[2] == "heuristics"


def _decorator_path(imports: Imports, decorator: ast.expr) -> str:
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    return imports.qualified(function) or ""


def argument(call: ast.Call, name: str) -> ast.expr | None:
    """The value of a parameter of autotune, by keyword or by position; None where it is left out."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    position = AUTOTUNE_PARAMETERS.index(name)
    given = call.args[: position + 1]
    if len(given) <= position or any(isinstance(value, ast.Starred) for value in given):
        return None
    return given[-1]
