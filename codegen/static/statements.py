"""Statements, followed without being run: those that config lists are made with."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from codegen.static.expressions import BREAK, CONTINUE, Expressions, Flow
from codegen.static.known import binary
from codegen.static.values import Frame, Function, Opaque, Unsettled, items

_PLAIN_DECORATORS = ("functools.cache", "functools.lru_cache")  # the function does what it did


class Follower(Expressions):
    """Follows the code that one site depends on."""

    def run(self, body: Sequence[ast.stmt], frame: Frame) -> Flow:
        for statement in body:
            flow = self._statement(statement, frame)
            if flow is not None:
                return flow
        return None

    def _statement(self, node: ast.stmt, frame: Frame) -> Flow:
        match node:
            case ast.Pass() | ast.Assert() | ast.AnnAssign(value=None):
                return None
            case ast.Expr():
                self.value(node.value, frame)
            case ast.Assign():
                value = self.value(node.value, frame)
                for target in node.targets:
                    self.assign(target, value, frame)
            case ast.AnnAssign(value=ast.expr() as expression):
                self.assign(node.target, self.value(expression, frame), frame)
            case ast.AugAssign(target=ast.Name(id=name)):
                self._add(node, name, frame)
            case ast.If():
                return self.run(node.body if self.truth(node.test, frame) else node.orelse, frame)
            case ast.For():
                for item in self.items(node.iter, frame):
                    self.assign(node.target, item, frame)
                    flow = self.run(node.body, frame)
                    if flow not in (None, CONTINUE):
                        return None if flow == BREAK else flow
                return self.run(node.orelse, frame)
            case ast.While():
                while self.truth(node.test, frame):
                    flow = self.run(node.body, frame)
                    if flow not in (None, CONTINUE):
                        return None if flow == BREAK else flow
                return self.run(node.orelse, frame)
            case ast.Return():
                return (None if node.value is None else self.value(node.value, frame),)
            case ast.Break():
                return BREAK
            case ast.Continue():
                return CONTINUE
            case ast.Import() | ast.ImportFrom():
                for alias in node.names:
                    name = alias.asname or alias.name.partition(".")[0]
                    frame.bind(name, Opaque(name))
            case ast.FunctionDef() if all(self._leaves_plain(d) for d in node.decorator_list):
                frame.bind(node.name, Function(node, frame))
            case ast.FunctionDef() | ast.ClassDef():
                frame.bind(node.name, Opaque(node.name, imported=False))
            case ast.Try():
                raise Unsettled(f"line {node.lineno}: a try statement", varies=True)
            case _:
                raise self.unsettled(node, "is more than is followed")
        return None

    def _leaves_plain(self, decorator: ast.expr) -> bool:
        function = decorator.func if isinstance(decorator, ast.Call) else decorator
        return self.imports.qualified(function) in _PLAIN_DECORATORS

    def _add(self, node: ast.AugAssign, name: str, frame: Frame) -> None:
        value, more = frame.lookup(name), self.seen(node.value, frame)
        if isinstance(value, list | dict):
            self.changeable(value, node)
        if isinstance(value, list) and isinstance(node.op, ast.Add):
            value += self.do(node, items, more)  # in place: other local names may hold the list too
        elif isinstance(value, dict) and isinstance(node.op, ast.BitOr):
            self.do(node, value.update, more)
        else:
            value = self.do(node, binary, node.op, value, more)
        frame.bind(name, value)
