"""What the expressions in a file come to, as far as the file itself settles it. Nothing of it is run.

A small interpreter of the Python that config lists are written in: literals, arithmetic, comprehensions,
`itertools.product`, names bound to such, functions of the same file that loop and append. What it does not
know for certain is `Unsettled`.
"""

from __future__ import annotations

import ast
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, ItemsView, KeysView, Sequence, ValuesView
from typing import Any, cast

from codegen.imports import Imports, first_name
from codegen.source import SourceFile
from codegen.static.known import COMPARE, FUNCTIONS, METHODS, UNARY, binary
from codegen.static.platforms import on_nvidia
from codegen.static.scopes import MUTATORS, Scope, own_names
from codegen.static.surroundings import Surroundings
from codegen.static.values import (
    Environment,
    Frame,
    Function,
    Made,
    OneShot,
    Opaque,
    SharedDict,
    SharedList,
    Unsettled,
    items,
    shared,
)

MAX_STEPS = 200_000  # of following, for one site
MAX_DEPTH = 10  # of calls within calls

# What a statement does to the flow: None for nothing, BREAK, CONTINUE, or the value returned, in a tuple.
BREAK, CONTINUE = "break", "continue"
Flow = None | str | tuple[Any]

FAILURES = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError)


class Expressions(ABC):
    """Follows the expressions that one site depends on.

    `condition` is the platform condition that what was followed depends on, with its line; None: on none.
    """

    def __init__(self, file: SourceFile, imports: Imports, scope: Scope) -> None:
        self.file = file
        self.imports = imports
        self.scope = scope
        self.here = Surroundings(self, scope)
        self.condition: str | None = None
        self.given_away: list[dict[Any, Any]] = []  # to a Config, which goes on holding it
        self._steps = 0
        self._depth = 0

    @abstractmethod
    def run(self, body: Sequence[ast.stmt], frame: Frame) -> Flow:
        """Follow statements in order; what they bind goes into the frame. Raises `Unsettled`."""

    @abstractmethod
    def make(self, node: ast.Call, env: Environment) -> Made:
        """What a call of triton.Config makes. Raises `Unsettled`."""

    def value(self, node: ast.expr, env: Environment) -> Any:
        """What an expression comes to. Raises `Unsettled`."""
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise self.unsettled(node, "takes too long to follow")
        try:
            value = self._value(node, env)
            answer = on_nvidia(node, self.imports) if isinstance(value, Opaque) else None
        except Unsettled:
            answer = on_nvidia(node, self.imports)
            if answer is None:
                raise
        if answer is None:
            return value
        self.note(node)
        return answer

    def _value(self, node: ast.expr, env: Environment) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return env.lookup(node.id)
            case ast.Attribute():
                return self._attribute(node, env)
            case ast.List():
                return self._elements(node.elts, env)
            case ast.Tuple():
                return tuple(self._elements(node.elts, env))
            case ast.Set():
                return self.do(node, set, self._elements(node.elts, env))
            case ast.Dict():
                return self.do(node, dict, self._pairs(node, env))
            case ast.ListComp():
                return self.do(node, items, self._comprehension(node, node.elt, env))
            case ast.GeneratorExp():
                return self.do(node, OneShot, self._comprehension(node, node.elt, env))
            case ast.SetComp():
                return self.do(node, set, self._comprehension(node, node.elt, env))
            case ast.DictComp():
                pair = ast.copy_location(ast.Tuple([node.key, node.value], ast.Load()), node)
                return self.do(node, dict, self._comprehension(node, pair, env))
            case ast.Lambda():
                return Function(node, env)
            case ast.Call():
                return self._call(node, env)
            case ast.BinOp():
                left, right = self.seen(node.left, env), self.seen(node.right, env)
                return self.do(node, binary, node.op, left, right)
            case ast.UnaryOp(op=ast.Not()):
                return not self.truth(node.operand, env)
            case ast.UnaryOp():
                return self.do(node, UNARY[type(node.op)], self.seen(node.operand, env))
            case ast.BoolOp():
                for operand in node.values:
                    value = self.seen(operand, env)
                    if bool(value) is isinstance(node.op, ast.Or):
                        break
                return value
            case ast.Compare():
                return self._compare(node, env)
            case ast.IfExp():
                return self.value(node.body if self.truth(node.test, env) else node.orelse, env)
            case ast.Subscript():
                of = self.seen(node.value, env)
                try:
                    index = self.seen(node.slice, env)
                except Unsettled as reason:  # as good as a condition: which of these is not known
                    raise Unsettled(
                        str(reason), varies=isinstance(of, list | tuple | dict)
                    ) from None
                return self.do(node, operator.getitem, of, index)
            case ast.Slice():
                bounds = (node.lower, node.upper, node.step)
                return slice(
                    *(None if bound is None else self.seen(bound, env) for bound in bounds)
                )
        raise self.unsettled(node, "is more than is followed")

    def seen(self, node: ast.expr, env: Environment) -> Any:
        """The value, which must be known and not only named."""
        value = self.value(node, env)
        if isinstance(value, Opaque):
            raise self.unsettled(node, "is not known in this file")
        return value

    def items(self, node: ast.expr, env: Environment) -> list[Any]:
        """The items of what is gone through."""
        return cast(list[Any], self.do(node, items, self.seen(node, env)))

    def do(self, node: ast.expr | ast.stmt, operation: Callable[..., Any], *on: Any) -> Any:
        """Do on known values what the code would do. Raises `Unsettled` where that fails."""
        try:
            return operation(*on)
        except FAILURES as error:
            raise self.unsettled(node, f"would fail: {error}") from None

    def truth(self, node: ast.expr, env: Environment) -> bool:
        try:
            return bool(self.seen(node, env))
        except Unsettled as error:
            raise Unsettled(str(error), varies=self._steps <= MAX_STEPS) from None

    def _attribute(self, node: ast.Attribute, env: Environment) -> Any:
        of = self.value(node.value, env)
        if isinstance(of, Opaque):
            path = f"{of.text}.{node.attr}"
            if path.endswith("version.hip"):  # torch's: None where it is not built for AMD
                self.note(node)
                return None
            return Opaque(path, of.imported)
        if isinstance(of, Made) and (value := of.attribute(node.attr)) is not None:
            return value
        raise self.unsettled(node, "is more than is followed")

    def _elements(self, nodes: Sequence[ast.expr], env: Environment) -> list[Any]:
        found: list[Any] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                found += self.items(node.value, env)
            else:
                found.append(self.value(node, env))
        return found

    def _pairs(self, node: ast.Dict, env: Environment) -> list[tuple[Any, Any]]:
        pairs: list[tuple[Any, Any]] = []
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                pairs += self.do(node, dict, self.seen(value, env)).items()
            else:
                pairs.append((self.seen(key, env), self.value(value, env)))
        return pairs

    def _comprehension(
        self,
        node: ast.ListComp | ast.GeneratorExp | ast.SetComp | ast.DictComp,
        element: ast.expr,
        env: Environment,
    ) -> Any:
        frame = Frame(env)

        def loop(depth: int) -> Any:
            if depth == len(node.generators):
                yield self.value(element, frame)
                return
            generator = node.generators[depth]
            for item in self.items(generator.iter, frame if depth else env):
                self.assign(generator.target, item, frame)
                if all(bool(self.seen(test, frame)) for test in generator.ifs):
                    yield from loop(depth + 1)

        return loop(0)

    def _compare(self, node: ast.Compare, env: Environment) -> bool:
        left = self.seen(node.left, env)
        for op, operand in zip(node.ops, node.comparators, strict=True):
            right = self.seen(operand, env)
            if not self.do(node, COMPARE[type(op)], left, right):
                return False
            left = right
        return True

    def assign(self, target: ast.expr, value: Any, frame: Frame) -> None:
        """Bind what a target names to a value. Raises `Unsettled`."""
        match target:
            case ast.Name():
                frame.bind(target.id, value)
            case ast.Tuple() | ast.List():
                parts = self.do(target, items, value)
                if len(parts) != len(target.elts):
                    raise self.unsettled(target, "would fail: another number of values")
                for part, item in zip(target.elts, parts, strict=True):
                    self.assign(part, item, frame)
            case ast.Subscript():
                holder = self.changeable(self.seen(target.value, frame), target)
                self.do(target, operator.setitem, holder, self.seen(target.slice, frame), value)
            case _:
                raise self.unsettled(target, "is more than is followed")

    def changeable(self, holder: Any, node: ast.expr | ast.stmt) -> Any:
        """A list or dict that nothing else is known to hold. Raises `Unsettled` for another."""
        if isinstance(holder, SharedList | SharedDict) or any(holder is d for d in self.given_away):
            raise self.unsettled(node, "changes what something else may hold")
        return holder

    # Calls

    def _call(self, node: ast.Call, env: Environment) -> Any:
        path = self.imports.qualified(node.func) if self._is_global(node.func, env) else None
        if path is not None and self.is_config(node):
            return self.make(node, env)
        if path is not None and path in FUNCTIONS:
            return self._native(FUNCTIONS[path], node, env)
        if isinstance(node.func, ast.Attribute):
            of, method = self.value(node.func.value, env), node.func.attr
            if any(isinstance(of, kind) and method in known for kind, known in METHODS.items()):
                if method in MUTATORS:
                    self.changeable(of, node)
                try:
                    return self._native(getattr(of, method), node, env)
                except Unsettled as reason:
                    raise Unsettled(str(reason), reason.varies or method == "get") from None
        function = self._value(node.func, env)  # `is_hip` alone says nothing of the platform
        if isinstance(function, Function):
            return self._apply(function, *self._arguments(node, env), node)
        if isinstance(function, Opaque):
            if function.imported and self.imports.names_config(function.text):
                return self.make(node, env)
            raise self.unsettled(node.func, "is not known in this file")
        return self._native(function, node, env)

    def is_config(self, node: ast.Call) -> bool:
        """Whether a call is one of triton.Config, by its name."""
        if (self.imports.qualified(node.func) or "").rpartition(".")[2] != "Config":
            return False
        here = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign
        binders = self.scope.binders(first_name(node.func) or "")
        return not any(isinstance(statement, here) for statement in binders)

    def _is_global(self, name: ast.expr, env: Environment) -> bool:
        first = first_name(name)
        return first is not None and (
            not env.is_local(first) or isinstance(env.lookup(first), Opaque)
        )

    def _arguments(self, node: ast.Call, env: Environment) -> tuple[list[Any], dict[str, Any]]:
        named: dict[str, Any] = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                named |= self.do(node, dict, self.seen(keyword.value, env))
            else:
                named[keyword.arg] = self.value(keyword.value, env)
        return self._elements(node.args, env), named

    def _native(self, function: Callable[..., Any], node: ast.Call, env: Environment) -> Any:
        values, named = self._arguments(node, env)
        if getattr(function, "__name__", "") not in MUTATORS:  # putting it into a list is all right
            for value in (*values, *named.values()):
                if isinstance(value, Opaque):
                    raise self.unsettled(node, f"depends on `{value.text}`")

        def usable(value: Any) -> Any:
            if isinstance(value, Function):
                return lambda *given, **named: self._apply(value, given, named, node)
            return value

        options = {name: usable(value) for name, value in named.items()}
        result = self.do(node, lambda: function(*map(usable, values), **options))
        return list(result) if isinstance(result, KeysView | ValuesView | ItemsView) else result

    def _apply(
        self, function: Function, values: Sequence[Any], named: dict[str, Any], node: ast.Call
    ) -> Any:
        if self._depth == MAX_DEPTH:
            raise self.unsettled(node, "calls too deep to follow")
        definition, home = function.node, function.home
        frame = Frame(home, own_names(definition))
        if not self._bind_arguments(definition.args, list(values), dict(named), frame, home):
            raise self.unsettled(node, "would fail: its arguments do not fit")
        self._depth += 1
        try:
            if isinstance(definition, ast.Lambda):
                return self.value(definition.body, frame)
            flow = self.run(definition.body, frame)
        finally:
            self._depth -= 1
        return flow[0] if isinstance(flow, tuple) else None

    def _bind_arguments(
        self,
        arguments: ast.arguments,
        values: list[Any],
        named: dict[str, Any],
        frame: Frame,
        home: Environment,
    ) -> bool:
        """Give a call's arguments to the parameters; False where they do not fit."""
        positional = (*arguments.posonlyargs, *arguments.args)
        required = len(positional) - len(arguments.defaults)
        defaults = [*[None] * required, *arguments.defaults, *arguments.kw_defaults]
        for parameter, default in zip((*positional, *arguments.kwonlyargs), defaults, strict=True):
            if values and parameter in positional:
                frame.bind(parameter.arg, values.pop(0))
            elif parameter.arg in named:
                frame.bind(parameter.arg, named.pop(parameter.arg))
            elif default is not None:
                frame.bind(parameter.arg, shared(self.value(default, home)))
            else:
                return False
        if arguments.vararg:
            frame.bind(arguments.vararg.arg, tuple(values))
        if arguments.kwarg:
            frame.bind(arguments.kwarg.arg, named)
        return bool(arguments.vararg or not values) and bool(arguments.kwarg or not named)

    # Words

    def note(self, node: ast.expr) -> None:
        self.condition = self.condition or f"line {node.lineno}: `{self.file.one_line(node)}`"

    def unsettled(self, node: ast.expr | ast.stmt, why: str) -> Unsettled:
        text = self.file.one_line(node)
        shown = text if len(text) <= 60 else text[:57] + "..."
        return Unsettled(f"line {node.lineno}: `{shown}` {why}")
