"""Config calls as data, and the configs of a list of them."""

from __future__ import annotations

import ast
from typing import Any

from codegen.config import Config, Source, Value
from codegen.imports import Imports, first_name
from codegen.source import SourceFile
from codegen.static.scopes import Scope
from codegen.static.statements import Follower
from codegen.static.values import Environment, Function, Made, Opaque, Unsettled

# The parameters of triton.Config in their order (triton/runtime/autotuner.py).
CONFIG_PARAMETERS = (
    "kwargs",
    "num_warps",
    "num_stages",
    "num_ctas",
    "maxnreg",
    "pre_hook",
    "ir_override",
)


class Reader(Follower):
    """Reads configs where a site stands."""

    def __init__(self, file: SourceFile, imports: Imports, scope: Scope) -> None:
        super().__init__(file, imports, scope)
        self._followed: dict[ast.expr, tuple[Any, str | None]] = {}

    def configs(self, node: ast.expr) -> tuple[Made, ...]:
        """The configs of a list of them. Raises `Unsettled`."""
        value = self._at_site(node)
        if isinstance(value, Opaque):
            raise self.unsettled(node, "is not known in this file")
        if not isinstance(value, list | tuple) or not all(isinstance(item, Made) for item in value):
            raise self.unsettled(node, "is no list of Configs")
        return tuple(value)

    def element(self, node: ast.expr) -> tuple[Made, ...]:
        """The configs that one element of a list display stands for. Raises `Unsettled`."""
        if isinstance(node, ast.Starred):
            return self.configs(node.value)
        value = self._at_site(node)
        if not isinstance(value, Made):
            raise self.unsettled(node, "is no Config")
        return (value,)

    def chooses(self, test: ast.expr) -> bool:
        """Which way a condition goes. Raises `Unsettled`."""
        return self.truth(test, self.here)

    def _at_site(self, node: ast.expr) -> Any:
        """The value where the site stands, followed once."""
        if node not in self._followed:
            self.condition = None
            value: Any
            try:
                value = self.value(node, self.here)
            except Unsettled as reason:
                value = reason
            except RecursionError:
                value = Unsettled(f"line {node.lineno}: nested too deeply to follow")
            self._followed[node] = value, self.condition
        value, self.condition = self._followed[node]
        if isinstance(value, Unsettled):
            raise value
        return value

    def make(self, node: ast.Call, env: Environment) -> Made:
        if len(node.args) > len(CONFIG_PARAMETERS) or any(
            isinstance(argument, ast.Starred) for argument in node.args
        ):
            raise self.unsettled(node, "is more than is followed")
        given: dict[str, ast.expr] = dict(zip(CONFIG_PARAMETERS, node.args, strict=False))
        given |= {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
        if "kwargs" not in given:
            raise self.unsettled(node, "has no meta-parameters")
        meta = self._meta(given.pop("kwargs"), env)
        values = {name: self._argument(argument, env) for name, argument in given.items()}
        texts = {n: self.file.one_line(a) for n, a in given.items() if self._portable(a, env)}
        for keyword in node.keywords:
            if keyword.arg is None:
                values |= self._options(keyword.value, env)
        config = Config(
            meta=tuple(meta.items()),
            num_warps=_knob(values, "num_warps"),
            num_stages=_knob(values, "num_stages"),
            extra=tuple((name, texts.get(name, _spelled(value))) for name, value in values.items()),
        )
        return Made(config, node, self._portable(node, env))

    def _options(self, node: ast.expr, env: Environment) -> dict[str, Value]:
        """A dict of meta-parameters or options that is written as something else than a display."""
        given = self.seen(node, env)
        if not isinstance(given, dict):
            raise self.unsettled(node, "is no dict")
        options = {name: self._plain(v, node) for name, v in given.items()}
        self.given_away.append(given)
        if not all(isinstance(name, str) for name in options):
            raise self.unsettled(node, "has names that are no strings")
        return options

    def _meta(self, node: ast.expr, env: Environment) -> dict[str, Value]:
        pairs: list[tuple[ast.expr | str | None, ast.expr]]
        if isinstance(node, ast.Dict):
            pairs = list(zip(node.keys, node.values, strict=True))
        elif isinstance(node, ast.Call) and first_name(node.func) == "dict" and not node.args:
            pairs = [(keyword.arg, keyword.value) for keyword in node.keywords]
        else:
            return self._options(node, env)
        meta: dict[str, Value] = {}
        for key, value in pairs:
            if key is None:
                meta |= self._options(value, env)
                continue
            name = key if isinstance(key, str) else self.seen(key, env)
            if not isinstance(name, str):
                raise self.unsettled(node, "has names that are no strings")
            meta[name] = self._argument(value, env)
        return meta

    def _argument(self, node: ast.expr, env: Environment) -> Value:
        """The value of a Config's argument: as source text where it is unknown or the platform's."""
        outer, self.condition = self.condition, None
        try:
            while isinstance(node, ast.IfExp) and not self._portable(node, env):
                node = node.body if self.truth(node.test, env) else node.orelse
            value = self._plain(self.value(node, env), node)
            if self.condition and self._portable(node, env):
                value = Source(self.file.one_line(node))
            elif self.condition:
                outer = outer or self.condition
            return value
        except Unsettled:
            if not self._portable(node, env):
                raise
            return Source(self.file.one_line(node))
        finally:
            self.condition = outer

    def _plain(self, value: Any, node: ast.expr) -> Value:
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, Opaque) and self.scope.binders(value.text.partition(".")[0]):
            return Source(value.text)
        if isinstance(value, Function) and isinstance(value.node, ast.FunctionDef):
            name = value.node.name
            if value.node in self.scope.binders(name):
                return Source(name)
        raise self.unsettled(node, "is no literal")

    def _portable(self, node: ast.expr, env: Environment) -> bool:
        """Whether the text of an expression means at the site what it means where it stands."""
        nodes = list(ast.walk(node))
        inner = {n.id for n in nodes if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
        inner |= {n.arg for n in nodes if isinstance(n, ast.arg)}
        names = {n.id for n in nodes if isinstance(n, ast.Name)} - inner
        return not any(env.is_local(name) for name in names)


def _knob(values: dict[str, Value], name: str) -> int | Source | None:
    if name not in values:
        return None
    value = values.pop(name)
    return value if type(value) is int else Source(_spelled(value))


def _spelled(value: Value) -> str:
    return value.text if isinstance(value, Source) else repr(value)
