"""The sections of a kernel file, in the required order, and how to tell them apart.

Only the standard library's `ast` is used: a file is read, never run.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain

from codegen.imports import Imports, imports_of

# What a kernel file imports, in this order, and the name each is given by `as`.
REQUIRED_IMPORTS = {"torch": None, "torch.nn": "nn", "triton": None, "triton.language": "tl"}

# After those may come Triton's class of descriptors that a wrapper makes, which kernels that take such are given.
HOST_DESCRIPTOR = "triton.tools.tensor_descriptor.TensorDescriptor"

JIT, AUTOTUNE, HEURISTICS = "triton.jit", "triton.autotune", "triton.heuristics"
KERNEL_DECORATORS = frozenset({JIT, AUTOTUNE, HEURISTICS})
INPUT_MAKERS = frozenset({"get_inputs", "get_init_inputs"})
# What computing a constant may call: nothing that runs a kernel or touches a GPU, a file or a setting.
PURE_CALLS = frozenset(
    {"triton.Config", "triton.cdiv", "triton.next_power_of_2", "triton.language.constexpr"}
    | {"bool", "dict", "float", "frozenset", "int", "list", "set", "str", "tuple"}
    | {"enumerate", "len", "max", "min", "range", "reversed", "round", "sorted", "sum", "zip"}
)

# What a kernel file calls the model that stands for another.
MODEL_CLASS = "ModelNew"

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Names:
    """What names mean in one file."""

    imports: Imports
    hooks: frozenset[str] = frozenset()  # functions that the decorators of kernels need

    def decorators(self, node: ast.AST) -> list[str | None]:
        """The dotted names of a function's decorators, outermost first; none for any other node."""
        if not isinstance(node, ast.FunctionDef):
            return []
        targets = (d.func if isinstance(d, ast.Call) else d for d in node.decorator_list)
        return [self.imports.qualified(target) for target in targets]

    def is_kernel(self, node: ast.AST) -> bool:
        return not KERNEL_DECORATORS.isdisjoint(self.decorators(node))


def _is_import(node: ast.stmt, names: Names) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def _is_kernel_or_hook(node: ast.stmt, names: Names) -> bool:
    return names.is_kernel(node) or (isinstance(node, ast.FunctionDef) and node.name in names.hooks)


def _is_wrapper(node: ast.stmt, names: Names) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name not in INPUT_MAKERS


def _is_model(node: ast.stmt, names: Names) -> bool:
    return isinstance(node, ast.ClassDef) and node.name == MODEL_CLASS


@dataclass(frozen=True)
class Section:
    """One section: what is in it, and whether a top-level statement belongs to it."""

    name: str
    holds: Callable[[ast.stmt, Names], bool]


# The required order. A statement belongs to the first section that holds it.
ORDER = (
    Section("import", _is_import),
    Section("kernel", _is_kernel_or_hook),
    Section("wrapper", _is_wrapper),
    Section("class", _is_model),
)
IMPORTS, KERNELS, WRAPPERS, MODEL = ORDER


@dataclass(frozen=True)
class Part:
    """A top-level statement that may stand in a kernel file."""

    node: ast.stmt
    section: Section | None  # None: a constant, which has no section of its own
    names: tuple[str, ...]  # what it defines; empty for an import
    nodes: tuple[ast.AST, ...]  # the statement and everything inside it

    def __str__(self) -> str:
        return f"{self.section.name if self.section else 'constant'} `{', '.join(self.names)}`"


@dataclass(frozen=True)
class KernelFile:
    """A file's top level."""

    names: Names
    parts: tuple[Part, ...]
    strays: tuple[ast.stmt, ...]  # statements that belong to no section

    def all(self, section: Section) -> list[Part]:
        return [part for part in self.parts if part.section is section]

    def reached_from(self, start: Iterable[Part]) -> list[Part]:
        """The parts that `start` uses, directly or not, and `start` itself.

        A kernel called without a grid, `kernel(x)`, is used by other kernels only: Triton refuses such a
        call anywhere else.
        """
        defined = {name: part for part in self.parts for name in part.names}  # the last one counts
        kernels = {name for name, part in defined.items() if self.names.is_kernel(part.node)}
        uses = {
            name: _loaded(part.nodes, not_by_call=() if name in kernels else kernels)
            for name, part in defined.items()
        }
        reached = _closure((name for part in start for name in part.names), uses)
        return [part for name, part in defined.items() if name in reached]


def read(tree: ast.Module) -> KernelFile:
    """Tell a file's top-level statements apart."""
    names = _names(tree)
    parts: list[Part] = []
    strays: list[ast.stmt] = []
    for node in tree.body:
        section = next((section for section in ORDER if section.holds(node, names)), None)
        if section or _is_constant(node, names):
            parts.append(Part(node, section, bound_by(node), tuple(ast.walk(node))))
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):  # docstring
            strays.append(node)
    return KernelFile(names, tuple(parts), tuple(strays))


def imported(node: ast.AST) -> list[tuple[str, ast.alias]]:
    """What an import statement imports, by dotted name; empty for any other node."""
    if isinstance(node, ast.Import):
        return [(alias.name, alias) for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        package = "." * node.level + (f"{node.module}." if node.module else "")
        return [(package + alias.name, alias) for alias in node.names]
    return []


def bound_by(node: ast.AST) -> tuple[str, ...]:
    """The names a definition or an assignment binds; empty for any other node."""
    if isinstance(node, Definition):
        return (node.name,)
    return tuple(
        name.id
        for target in _targets(node)
        for name in ast.walk(target)
        if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
    )


def _targets(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return node.targets
    return [node.target] if isinstance(node, ast.AnnAssign | ast.AugAssign) else []


def _is_constant(node: ast.stmt, names: Names) -> bool:
    targets = _targets(node)
    return (
        bool(targets)
        and all(
            isinstance(part, ast.Name | ast.Tuple | ast.List | ast.expr_context)
            for target in targets
            for part in ast.walk(target)
        )
        and INPUT_MAKERS.isdisjoint(bound_by(node))
        and all(
            names.imports.qualified(call.func) in PURE_CALLS
            for call in ast.walk(node)
            if isinstance(call, ast.Call)
        )
    )


def _names(tree: ast.Module) -> Names:
    # A file that forgot an import still means the usual thing by the usual name.
    usual = {alias or module: module for module, alias in REQUIRED_IMPORTS.items()}
    names = Names(Imports({**usual, **imports_of(tree.body).table}))
    decorators = [
        decorator
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and names.is_kernel(node)
        for decorator in node.decorator_list
    ]
    uses = {name: _loaded(ast.walk(node)) for node in tree.body for name in bound_by(node)}
    return replace(
        names,
        hooks=frozenset(_closure(_loaded(chain.from_iterable(map(ast.walk, decorators))), uses)),
    )


def _loaded(nodes: Iterable[ast.AST], not_by_call: Iterable[str] = ()) -> set[str]:
    """The names that `nodes` read; a name in `not_by_call` only where it is not just called."""
    nodes = list(nodes)
    called = {
        node.func
        for node in nodes
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in not_by_call
    }
    return {
        node.id
        for node in nodes
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node not in called
    }


def _closure(start: Iterable[str], uses: Mapping[str, set[str]]) -> set[str]:
    """`start` and all that it uses, directly or not."""
    reached: set[str] = set()
    pending = list(start)
    while pending:
        name = pending.pop()
        if name not in reached:
            reached.add(name)
            pending.extend(uses.get(name, ()))
    return reached
