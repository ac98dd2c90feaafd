"""The `triton.autotune` sites of a Python source: where they are and what configs they hold.

Looks and never touches; `rewrite.py` edits.
"""

from __future__ import annotations

import ast
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from codegen.config import Config
from codegen.effects import repeats_badly
from codegen.forms import form_of
from codegen.imports import Imports, imports_of
from codegen.outcome import BadInput, Refused
from codegen.places import (
    FunctionDef,
    Place,
    argument,
    find_places,
    is_heuristics,
    is_jit,
    is_triton_autotune,
)
from codegen.source import SourceFile, decode, parse
from codegen.static.configs import Reader
from codegen.static.scopes import Names, Scope
from codegen.static.values import Made, Unsettled
from codegen.targets import Target, find_target

# The arguments of autotune by which running a kernel many times does no harm.
_RESETS = ("reset_to_zero", "restore_value", "pre_hook", "post_hook")


@dataclass(frozen=True)
class Site:
    """One autotune decorator, or autotune applied to a kernel as a function.

    `configs` is None where the file alone does not settle them, and `unsettled` then says why in one line.
    `refusal` is one line saying why they can't be rewritten in this file; None: they can, as `edited` says.
    """

    kernel: str  # the name of the function
    line: int  # of the decorator's `@`, from 1
    column: int  # likewise, in characters
    form: str  # how the configs are written: `inline list`, `comprehension`, ... (forms.py)
    configs: tuple[Config, ...] | None
    unsettled: str | None
    refusal: str | None
    edited: str | None  # `entry by entry`, `replaced by a list`; the line, if not the site's
    # Why running the kernel again on its own output is wrong. None: nothing shows that, or it is done already.
    runs_once: str | None
    key: tuple[str, ...] | None  # the names in `key`; None where they are no literals
    resets: tuple[str, ...]  # which of reset_to_zero, restore_value, pre_hook, post_hook are given
    above: tuple[str, ...]  # the decorators above, as source text, outermost first
    between: tuple[str, ...]  # those between autotune and jit; all beneath where there is no jit
    jit: str | None  # the jit decorator, as source text; None where there is none beneath

    def why_one(self, now: Sequence[Config] | None, wanted: Sequence[Config]) -> str | None:
        """Why the list that holds the configs `now` (None: not known) must not become `wanted`; None: it may.

        Triton does not benchmark a list of one. With a second config it runs the kernel many times while
        tuning, which a `pre_hook` can put right in each config that has one.
        """
        benchmarked = now is not None and len(now) > 1
        if benchmarked or len(wanted) < 2 or all(config.hooked for config in wanted):
            return None
        unknown = (
            "" if now is not None else "whether it has one config is not known from the file: "
        )
        return self.runs_once and (
            f"{unknown}{self.runs_once}, and with more than one config Triton runs it many times while tuning: "
            "give autotune reset_to_zero or restore_value first"
        )


@dataclass(frozen=True)
class Located:
    """A site with its nodes in the tree."""

    site: Site
    place: Place
    argument: ast.expr | None  # for `configs`
    made: tuple[Made, ...] | None
    target: Target | None
    reader: Reader


def find_sites(source: bytes) -> tuple[Site, ...]:
    """Every autotune site, in the order of the text.

    Raises `BadInput` (one line, without the file's name) where the bytes can't be decoded or, in a file
    that may hold a site, parsed.
    """
    decode(source)
    if b"autotune" not in source and not (b"configs" in source and b"jit" in source):
        return ()  # a project's own decorator has `configs` as a keyword
    try:
        return tuple(located.site for located in locate(parse(source)).values())
    except RecursionError:
        raise BadInput("nested too deeply to be read") from None


def locate(
    file: SourceFile, only: Container[int] | None = None, at_definition: bool = False
) -> dict[int, Located]:
    """The sites with their nodes by their index, all or `only` these; the targets at the definitions of
    the configs or at the sites."""
    names = Names(file.tree)
    imports = imports_of(names.nodes)
    functions = {node.name: node for node in names.nodes if isinstance(node, FunctionDef)}
    found: dict[int, Located] = {}
    for index, place in enumerate(find_places(file, names.nodes, imports)):
        if only is None or index in only:
            reader = Reader(file, imports, Scope(names, place.statement))
            found[index] = _read(place, reader, functions, at_definition)
    return found


def _read(
    place: Place, reader: Reader, functions: Mapping[str, FunctionDef], at_definition: bool
) -> Located:
    file, imports = reader.file, reader.imports
    configs = argument(place.call, "configs")
    made: tuple[Made, ...] | None = None
    target: Target | None = None
    unsettled: str | None = "no argument for configs is written here"
    refusal = unsettled
    if configs is not None:
        made, unsettled = _settled(reader, configs)
        target, refusal = _target(reader, configs, at_definition)
    refusal = _unfit(place, imports, configs if made is None else None) or refusal
    data = None if made is None else tuple(item.config for item in made)
    depth = next((i for i, d in enumerate(place.beneath) if is_jit(imports, d)), None)
    resets = tuple(name for name in _RESETS if _is_given(argument(place.call, name)))
    site = Site(
        kernel=place.kernel,
        line=file.line(place.at),
        column=place.at - file.line_start(place.at) + 1,
        form=form_of(configs, reader.scope, imports),
        configs=data,
        unsettled=unsettled,
        refusal=refusal,
        edited=None if refusal or target is None else _edited(target),
        runs_once=(
            repeats_badly(place.function, functions)
            if place.function and not resets and len(data or ()) < 2
            else None
        ),
        key=_names(argument(place.call, "key")),
        resets=resets,
        above=tuple(map(file.one_line, place.above)),
        between=tuple(map(file.one_line, place.beneath[:depth])),
        jit=None if depth is None else file.one_line(place.beneath[depth]),
    )
    return Located(site, place, configs, made, target, reader)


def _settled(reader: Reader, configs: ast.expr) -> tuple[tuple[Made, ...] | None, str | None]:
    try:
        return reader.configs(configs), None
    except Unsettled as reason:
        return None, str(reason)


def _target(
    reader: Reader, configs: ast.expr, at_definition: bool
) -> tuple[Target | None, str | None]:
    try:
        return find_target(reader, configs, at_definition), None
    except Refused as reason:
        return None, str(reason)


def _unfit(place: Place, imports: Imports, unread: ast.expr | None) -> str | None:
    """Why this is no autotune over a kernel; `unread` is the argument taken for configs that is none."""
    if place.function is None:
        return "which one kernel of this file it is for is not known"
    if all(is_heuristics(imports, decorator) for decorator in place.beneath):
        return f"no triton.jit beneath: {place.kernel} is a host function"
    by_position = unread is not None and any(value is unread for value in place.call.args)
    if by_position and not is_triton_autotune(imports.qualified(place.call.func) or ""):
        return "which argument of this decorator holds the configs is not known"
    return None


def _edited(target: Target) -> str:
    how = "replaced by a list" if target.elements is None else "entry by entry"
    return how if target.statement is None else f"{how}, at line {target.statement.lineno}"


def _is_given(value: ast.expr | None) -> bool:
    match value:
        case None | ast.Constant(value=None) | ast.List(elts=[]) | ast.Tuple(elts=[]):
            return False
    return True


def _names(node: ast.expr | None) -> tuple[str, ...] | None:
    if not isinstance(node, ast.List | ast.Tuple):
        return None
    names = [e.value for e in node.elts if isinstance(e, ast.Constant) and isinstance(e.value, str)]
    return tuple(names) if len(names) == len(node.elts) else None
