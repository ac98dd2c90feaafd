"""A model's `__init__`, taken over into ModelNew: it makes the parameters, so they come out the same.

Copying it is what keeps their names, shapes, order and initial values for a seed. ModelNew stands in a file of
its own that imports PyTorch and Triton only, so what the method needs beyond these is put in as a number
where it is one, and refused by name where not.
"""

from __future__ import annotations

import ast
import builtins
import math
from collections.abc import Mapping, Sequence

from codegen.imports import Imports, imports_of
from codegen.outcome import BadInput

_STATEMENTS = (
    ast.Expr,
    ast.Assign,
    ast.AnnAssign,
    ast.AugAssign,
    ast.If,
    ast.For,
    ast.With,
    ast.Assert,
    ast.Raise,
)
# Products, which are the kernel's to compute, and doors to other code.
_REFUSED_NAMES = frozenset(
    [
        "matmul",
        "mm",
        "bmm",
        "einsum",
        "addmm",
        "baddbmm",
        "tensordot",
        "functional",
        "eval",
        "exec",
        "compile",
        "open",
        "input",
        "globals",
        "locals",
        "vars",
        "breakpoint",
        "getattr",
        "setattr",
        "delattr",
    ]
)

Constants = Mapping[str, object]


def constructor(source: str, constants: Constants, read: Mapping[str, str]) -> str:
    """The source of ModelNew's `__init__`: that of `class Model` in a problem file, made to stand alone.

    `constants` are the plain values among the file's globals. `read` maps attributes that forward read, as
    expressions, to the literals they were: the kernel is made for these, so that other values raise
    ValueError.

    Raises BadInput, with the line, for what cannot stand there.
    """
    tree = ast.parse(source)
    model = _model(tree)
    methods = {each.name: each for each in model.body if isinstance(each, ast.FunctionDef)}
    if "__init__" not in methods:
        raise BadInput("class Model has no __init__ of its own to make its parameters with")
    init = methods["__init__"]
    if init.decorator_list:
        raise _refused(init, "__init__ is decorated")
    taker = _TakeOver(imports_of(ast.walk(tree)), constants, _bound(init), methods)
    init = taker.visit(init)
    if init.args.args and init.args.args[0].arg != "self":
        raise _refused(init, "__init__ calls its first argument other than self")
    takes = init.args.args[1:] or init.args.kwonlyargs or init.args.vararg or init.args.kwarg
    if takes:  # else the values cannot be others
        init.body += [_guard(expression, value) for expression, value in read.items()]
    init.returns = ast.Constant(None)
    return ast.unparse(ast.fix_missing_locations(init)) + "\n"


def _model(tree: ast.Module) -> ast.ClassDef:
    found = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Model"]
    if not found:
        raise BadInput("there is no `class Model` in the file itself to take the __init__ of")
    model = found[-1]
    bases = [imports_of(ast.walk(tree)).qualified(base) for base in model.bases]
    if bases != ["torch.nn.Module"]:
        raise _refused(model, "class Model derives from another class than nn.Module")
    return model


def _guard(expression: str, value: str) -> ast.stmt:
    told = f"{expression.removeprefix('self.')} must be {value}, which the kernel is made for"
    return ast.parse(f"if {expression} != {value}:\n    raise ValueError({told!r})").body[0]


def _bound(init: ast.FunctionDef) -> frozenset[str]:
    """The names that the method itself binds."""
    names = {node.arg for node in ast.walk(init.args) if isinstance(node, ast.arg)}
    names |= {
        node.id
        for node in ast.walk(init)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    return frozenset(names)


class _TakeOver(ast.NodeTransformer):
    """Rewrites a method to need nothing of its file but torch and nn."""

    def __init__(
        self,
        imports: Imports,
        constants: Constants,
        bound: frozenset[str],
        methods: Mapping[str, ast.FunctionDef],
    ) -> None:
        self._imports, self._constants, self._bound = imports, constants, bound
        self._methods = methods

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        if node.name != "__init__":
            raise _refused(node, "__init__ defines a function")
        for argument in ast.walk(node.args):
            # Annotations may name what the file imports; the checks of a call do not need them.
            if isinstance(argument, ast.arg):
                argument.annotation = None
        node.args = self.visit(node.args)
        node.body = self._block(node.body)
        return node

    def _block(self, body: Sequence[ast.stmt]) -> list[ast.stmt]:
        kept = []
        for statement in body:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                continue  # a docstring
            if not isinstance(statement, _STATEMENTS):
                what = type(statement).__name__.lower().removesuffix("def")
                raise _refused(statement, f"__init__ holds a statement of the kind `{what}`")
            kept.append(self.visit(statement))
        return kept or [ast.Expr(ast.Constant(...))]

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        if node.value is None:
            return ast.copy_location(ast.Expr(ast.Constant(...)), node)
        return ast.copy_location(ast.Assign([node.target], self.visit(node.value)), node)

    def visit_If(self, node: ast.If) -> ast.If:
        node.test = self.visit(node.test)
        node.body = self._block(node.body)
        node.orelse = self._block(node.orelse) if node.orelse else []
        return node

    def visit_For(self, node: ast.For) -> ast.For:
        node.iter, node.body = self.visit(node.iter), self._block(node.body)
        node.orelse = self._block(node.orelse) if node.orelse else []
        return node

    def visit_With(self, node: ast.With) -> ast.With:
        for item in node.items:
            if ast.unparse(self.visit(item.context_expr)) != "torch.no_grad()":
                raise _refused(node, "__init__ holds a `with` of another kind than torch.no_grad()")
        node.body = self._block(node.body)
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if isinstance(node.func, ast.Name) and node.func.id == "super":
            return ast.copy_location(ast.Call(node.func, [], []), node)  # not super(Model, self)
        function = self._imports.qualified(node.func) or ""
        if function.startswith("math."):
            return self._number(node)
        return self._visited(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        name = self._imports.qualified(node) or ""
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            if node.attr in self._methods:
                raise _refused(node, f"__init__ calls self.{node.attr}(): write it out")
            return node
        if node.attr in _REFUSED_NAMES or name.startswith("torch.nn.functional"):
            raise _refused(node, f"__init__ uses {ast.unparse(node)}")
        if name.startswith("math."):
            return self._number(node)
        return self._from_torch(node, name) or self._visited(node)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self._bound or node.id == "self":
            return node
        name = self._imports.qualified(node) or node.id
        if node.id in self._imports.table:
            taken = self._from_torch(node, name)
            if taken is not None:
                return taken
        elif node.id in self._constants:
            return ast.copy_location(ast.Constant(self._constants[node.id]), node)  # type: ignore[arg-type]
        elif hasattr(builtins, node.id) and node.id not in _REFUSED_NAMES:
            return node
        raise _refused(node, f"__init__ uses {node.id}, which ModelNew's file does not have")

    def visit_MatMult(self, node: ast.MatMult) -> ast.operator:
        raise BadInput("__init__ multiplies matrices, and no other product may stand in the file")

    def visit_Lambda(self, node: ast.Lambda) -> ast.expr:
        raise _refused(node, "__init__ defines a function")

    def _from_torch(self, node: ast.expr, name: str) -> ast.expr | None:
        """What comes from PyTorch, by the names that ModelNew's file has for it."""
        if name.split(".")[0] != "torch":
            return None
        spelled = (
            f"nn{name.removeprefix('torch.nn')}" if f"{name}.".startswith("torch.nn.") else name
        )
        return ast.copy_location(ast.parse(spelled, mode="eval").body, node)

    def _number(self, node: ast.expr) -> ast.expr:
        """The value of `math.sqrt(5)`, whose arguments must be known numbers."""
        function = node.func if isinstance(node, ast.Call) else node
        assert isinstance(function, ast.Attribute)
        arguments = [self.visit(each) for each in node.args] if isinstance(node, ast.Call) else []
        try:
            value = getattr(math, function.attr)
            value = (
                value(*map(ast.literal_eval, arguments)) if isinstance(node, ast.Call) else value
            )
        except (AttributeError, ValueError, TypeError, OverflowError):
            value = None
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise _refused(node, f"__init__ uses {ast.unparse(node)}, whose value is not settled")
        return ast.copy_location(ast.Constant(value), node)

    def _visited(self, node: ast.expr) -> ast.expr:
        visited: ast.expr = self.generic_visit(node)  # type: ignore[assignment]
        return visited


def _refused(node: ast.stmt | ast.expr, why: str) -> BadInput:
    return BadInput(f"line {node.lineno}: {why}")
