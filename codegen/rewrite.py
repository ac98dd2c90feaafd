"""Put configs into the autotune sites of a Python source, and change nothing else.

Bytes in, bytes out. New text is spliced in at the place of the old expression, so every other byte is the
same by construction; what is written is read again before it is returned. docs/rewriting.md says what is
done for each way of writing configs.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from codegen.config import Config, Source, Value
from codegen.outcome import BadInput, Refused
from codegen.sites import Located, locate
from codegen.source import SourceFile, parse
from codegen.static.scopes import Names, bound_names
from codegen.writing import same, site_edits


class GuardFailed(Refused):
    """A rewrite is not what it must be: a fault of this package. Nothing was written."""


def replace_configs(
    source: bytes,
    changes: Mapping[int, Sequence[Config]],
    at_definition: bool = False,
    live: Mapping[int, Sequence[Config]] | None = None,
) -> bytes:
    """The source with other configs at some sites: index into `find_sites(source)` -> the new list.

    The entries stand in the order given. One that is there already keeps its text and its comments;
    another is written as its nearest sibling is. With `at_definition` a comprehension or a factory that
    only this site uses is replaced where it is defined. `live` says what the running kernels hold, where
    that is known: the file alone may not say whether a list has one config or several.

    Raises `BadInput` for a source that can't be read, `Refused` for a site whose configs can't be
    rewritten, `GuardFailed` where the result fails its check.
    """
    try:
        file = parse(source)
        located = locate(file, changes, at_definition)
        result = _replaced(file, located, changes, live or {})
        if result != source:
            _check(file, located, result, changes)
    except RecursionError:
        raise BadInput("nested too deeply to be rewritten") from None
    return result


def left_over(before: bytes, after: bytes) -> tuple[tuple[int, str], ...]:
    """What a rewrite leaves behind: the line in `after` and the name of each import, function or variable
    at the top of the file that nothing in it reads any more. Raises `BadInput`."""
    old, new = Names(parse(before).tree), Names(parse(after).tree)
    return tuple(
        (statement.lineno, name)
        for statement in new.tree.body
        for name in bound_names(statement)
        if name in old.reads and name not in new.reads
    )


def _replaced(
    file: SourceFile,
    located: Mapping[int, Located],
    changes: Mapping[int, Sequence[Config]],
    live: Mapping[int, Sequence[Config]],
) -> bytes:
    edits = [
        edit
        for index, configs in changes.items()
        if not same(located[index].site.configs, configs)
        for edit in site_edits(located[index], configs, live.get(index))
    ]
    text = file.text
    for edit in sorted(edits, key=lambda edit: edit.span, reverse=True):
        start, end = edit.span
        text = text[:start] + edit.text + text[end:]
    return file.encode(text)


# Guards


def _check(
    before: SourceFile,
    located: Mapping[int, Located],
    result: bytes,
    changes: Mapping[int, Sequence[Config]],
) -> None:
    """Raise `GuardFailed`, naming the guard, unless the result differs in the intended way only."""
    after = _parsed(result)
    edited = {id(each.target.expression) for each in located.values() if each.target is not None}
    if not _same_tree(before.tree, after.tree, edited):
        raise GuardFailed("syntax tree: the result differs outside the configs")
    written = locate(after, changes)
    for index, configs in changes.items():
        if not _as_intended(written[index].site.configs, configs):
            line = written[index].site.line
            raise GuardFailed(f"read back: line {line}: not the configs intended")
    if _replaced(after, written, changes, {}) != result:
        raise GuardFailed("second run: it changes the result again")


def _as_intended(read: Sequence[Config] | None, wanted: Sequence[Config]) -> bool:
    return read is not None and len(read) == len(wanted) and all(map(_says, read, wanted))


def _says(read: Config, wanted: Config) -> bool:
    """Whether a config that was read says what is wanted; one wanted as source text may be settled now."""
    pairs: list[tuple[Value, Value]] = [
        (read.num_warps, wanted.num_warps),
        (read.num_stages, wanted.num_stages),
    ]
    pairs += [
        (value, other) for (_, value), (_, other) in zip(read.meta, wanted.meta, strict=False)
    ]
    return (
        [name for name, _ in read.meta] == [name for name, _ in wanted.meta]
        and all(_squeezed(a) == _squeezed(b) or _is_settled(a, b) for a, b in pairs)
        and {(n, _squeezed(v)) for n, v in read.extra}
        == {(n, _squeezed(v)) for n, v in wanted.extra}
    )


def _squeezed(value: Value) -> str:
    return "".join(repr(value).split())


def _is_settled(read: Value, wanted: Value) -> bool:
    return isinstance(wanted, Source) and not isinstance(read, Source)


def _parsed(result: bytes) -> SourceFile:
    try:
        return parse(result)
    except BadInput as error:
        raise GuardFailed(f"syntax: {error}") from None


def _same_tree(before: ast.AST, after: ast.AST, edited: set[int]) -> bool:
    """Whether two trees are equal but for the expressions edited. Not recursive: trees may be deep."""
    pairs: list[tuple[object, object]] = [(before, after)]
    while pairs:
        one, other = pairs.pop()
        if id(one) in edited:
            continue
        if type(one) is not type(other):
            return False
        if isinstance(one, ast.AST) and isinstance(other, ast.AST):
            pairs += [(getattr(one, f, None), getattr(other, f, None)) for f in one._fields]
        elif isinstance(one, list) and isinstance(other, list):
            if len(one) != len(other):
                return False
            pairs += zip(one, other, strict=True)
        elif repr(one) != repr(other):
            return False
    return True
