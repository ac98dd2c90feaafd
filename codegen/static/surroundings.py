"""The names that a site sees."""

from __future__ import annotations

import ast
import builtins
from types import UnionType
from typing import TYPE_CHECKING, Any

from codegen.static.known import BUILTINS
from codegen.static.scopes import Scope
from codegen.static.values import Frame, Opaque, Unsettled, shared

if TYPE_CHECKING:
    from codegen.static.expressions import Expressions


class Surroundings:
    """Each name is followed from the statements that bind it."""

    def __init__(self, follower: Expressions, scope: Scope) -> None:
        self._follower = follower
        self._scope = scope
        self._found: dict[str, tuple[Any, str | None]] = {}
        self._pending: set[str] = set()

    def is_local(self, name: str) -> bool:
        return False

    def lookup(self, name: str) -> Any:
        follower = self._follower
        if name not in self._found:
            outer, follower.condition = follower.condition, None
            try:
                self._found[name] = shared(self._follow(name)), follower.condition
            finally:
                follower.condition = outer or follower.condition
        value, condition = self._found[name]
        follower.condition = follower.condition or condition
        return value

    def _importing(self, name: str) -> type | UnionType:
        """The statements that only import `name`: in a `try`, too, if that is Triton. Where it could not be
        imported there is no kernel."""
        target = self._follower.imports.table.get(name, "")
        plain = ast.Import | ast.ImportFrom
        return plain | ast.Try if target.partition(".")[0] == "triton" else plain

    def _follow(self, name: str) -> Any:
        binding = self._scope.binding(name)
        if name in self._pending:
            raise Unsettled(f"`{name}` is bound by way of itself")
        if binding.doubt:
            raise Unsettled(f"`{name}` {binding.doubt}", binding.varies)
        if not binding.statements:
            if name in BUILTINS:
                return BUILTINS[name]
            if name in vars(builtins):
                raise Unsettled(f"`{name}` is more than is followed")
            raise Unsettled(f"nothing in this file binds `{name}`")
        if all(isinstance(s, self._importing(name)) for s in binding.statements):
            return Opaque(name)
        self._pending.add(name)
        frame = Frame(self)
        try:
            self._follower.run(self._scope.together(name), frame)
        finally:
            self._pending.discard(name)
        if name not in frame.values:
            raise Unsettled(f"`{name}` may be unbound")
        return frame.values[name]
