"""Which expression a rewrite edits, by the policy of docs/rewriting.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from codegen.outcome import Refused
from codegen.static.configs import Reader
from codegen.static.platforms import on_nvidia
from codegen.static.values import Made, Unsettled


@dataclass(frozen=True)
class Target:
    """An expression for the whole list of configs, or the part of it that is live."""

    expression: ast.expr
    statement: ast.stmt | None  # that it stands in; None: the decorator itself
    # The elements of a list display, which is edited entry by entry, and what each comes to. None: the
    # expression is replaced by a list display.
    elements: tuple[tuple[ast.expr, tuple[Made, ...]], ...] | None


def find_target(reader: Reader, argument: ast.expr, at_definition: bool = False) -> Target:
    """What to edit to change the configs that `argument`, the decorator's, comes to.

    With `at_definition` a comprehension or a factory is edited where it is defined. Raises `Refused`, with
    one line, where no expression can be edited without changing more than these configs.
    """
    return _Search(reader, at_definition).place(argument, None)


class _Search:
    def __init__(self, reader: Reader, at_definition: bool) -> None:
        self._reader = reader
        self._scope = reader.scope
        self._at_definition = at_definition

    def place(self, expression: ast.expr, statement: ast.stmt | None) -> Target:
        condition = self._condition(expression)
        if condition is not None:
            return self._live(expression, statement, condition)
        elements = self._elements(expression)
        if elements is not None:
            return Target(expression, statement, elements)
        definition = self._definition(expression)
        if definition is not None:
            value, home = definition
            elements = self._elements(value)
            if elements is not None and isinstance(expression, ast.Name):
                return Target(value, home, elements)
            if self._at_definition:
                return Target(value, home, elements)
        elif self._at_definition and isinstance(expression, ast.Name | ast.Call):
            raise Refused("no one expression in this file, used here alone, defines the configs")
        return Target(expression, statement, None)

    def _condition(self, expression: ast.expr) -> str | None:
        """What decides which configs there are, beyond the values in the file: the platform, a call."""
        try:
            self._reader.configs(expression)
        except Unsettled as error:
            if error.varies:
                return str(error)
            return self._reader.condition or self._mentioned_condition(expression)
        return self._reader.condition

    def _mentioned_condition(self, expression: ast.expr) -> str | None:
        """A platform condition in code that could not be followed to its end."""
        for node in self._reachable(expression):
            tests = [node.test] if isinstance(node, ast.If | ast.IfExp) else []
            for test in tests:
                for part in ast.walk(test):
                    if (
                        isinstance(part, ast.expr)
                        and on_nvidia(part, self._reader.imports) is not None
                    ):
                        return f"line {part.lineno}: `{self._reader.file.one_line(test)}`"
        return None

    def _reachable(self, expression: ast.expr) -> Iterator[ast.AST]:
        """The nodes of an expression and of the statements that bind the names in it, and so on; without
        the arguments of Config calls, where a condition decides a value and not an entry."""
        pending: list[ast.AST] = [expression]
        seen: set[ast.AST] = set()
        while pending:
            node = pending.pop()
            if node in seen:
                continue
            seen.add(node)
            yield node
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                pending += self._scope.binding(node.id).statements
            if isinstance(node, ast.Call) and self._reader.is_config(node):
                continue
            pending += ast.iter_child_nodes(node)

    def _elements(
        self, expression: ast.expr
    ) -> tuple[tuple[ast.expr, tuple[Made, ...]], ...] | None:
        if not isinstance(expression, ast.List):
            return None
        try:
            return tuple((element, self._reader.element(element)) for element in expression.elts)
        except Unsettled:
            return None

    def _definition(self, expression: ast.expr) -> tuple[ast.expr, ast.stmt] | None:
        """The expression that a name or a call without arguments stands for, where nothing else in the
        file uses it, and its statement."""
        match expression:
            case ast.Name(id=name):
                statements = self._alone(name)
                if len(statements) == 1:
                    return _assigned(statements[0])
            case ast.Call(func=ast.Name(id=name), args=[], keywords=[]):
                function = self._alone(name)
                if len(function) == 1 and isinstance(function[0], ast.FunctionDef):
                    body = _without_docstring(function[0].body)
                    if len(body) == 1:
                        return _returned(body[0])
        return None

    def _alone(self, name: str) -> Sequence[ast.stmt]:
        """The statements that bind a name which nothing but one expression reads."""
        binding = self._scope.binding(name)
        if binding.doubt or self._scope.names.reads.get(name) != 1:
            return ()
        return binding.statements

    # Under a condition

    def _live(self, expression: ast.expr, statement: ast.stmt | None, condition: str) -> Target:
        """The target inside the branch that is live on an NVIDIA GPU."""
        branch: tuple[ast.expr, ast.stmt | None] | None = None
        try:
            match expression:
                case ast.IfExp(test=test, body=body, orelse=orelse):
                    branch = (body if self._reader.chooses(test) else orelse), statement
                case ast.Name(id=name):
                    branch = self._last_assigned(self._alone(name), name)
                case ast.Call(func=ast.Name(id=name), args=[], keywords=[]):
                    function = self._alone(name)
                    if len(function) == 1 and isinstance(function[0], ast.FunctionDef):
                        branch = self._live_return(_without_docstring(function[0].body))
        except Unsettled as error:
            condition = str(error)
        if branch is None:
            raise Refused(
                f"which configs there are depends on more than this file: {condition}; "
                "write the list for this GPU at the decorator"
            )
        return self.place(*branch)

    def _last_assigned(
        self, statements: Sequence[ast.stmt], name: str
    ) -> tuple[ast.expr, ast.stmt] | None:
        """What a name is assigned last, of statements that assign it, maybe under conditions."""
        found: tuple[ast.expr, ast.stmt] | None = None
        for statement in statements:
            if isinstance(statement, ast.If):
                branch = (
                    statement.body if self._reader.chooses(statement.test) else statement.orelse
                )
                inner = self._scope.names.touching(branch, name)
                later = self._last_assigned(inner, name)
                if inner and later is None:
                    return None
            else:
                later = _assigned(statement)
                if later is None:
                    return None
            found = later or found
        return found

    def _live_return(self, body: Sequence[ast.stmt]) -> tuple[ast.expr, ast.stmt] | None:
        """What a body made of conditions and returns alone returns."""
        for statement in body:
            if not isinstance(statement, ast.If):
                return _returned(statement)
            branch = statement.body if self._reader.chooses(statement.test) else statement.orelse
            if branch:
                return self._live_return(branch)
        return None


def _assigned(statement: ast.stmt) -> tuple[ast.expr, ast.stmt] | None:
    match statement:
        case ast.Assign(targets=[ast.Name()], value=value):
            return value, statement
        case ast.AnnAssign(target=ast.Name(), value=ast.expr() as value):
            return value, statement
    return None


def _returned(statement: ast.stmt) -> tuple[ast.expr, ast.stmt] | None:
    match statement:
        case ast.Return(value=ast.expr() as value):
            return value, statement
    return None


def _without_docstring(body: Sequence[ast.stmt]) -> Sequence[ast.stmt]:
    match body:
        case [ast.Expr(value=ast.Constant(value=str())), *rest]:
            return rest
    return body
