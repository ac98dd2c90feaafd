"""The text of a list literal as entries, each with what belongs to it, and the list put together anew.

    [  # `opening`
        # `above`: lines before an entry
        Config(...),  # `trail`
        # `tail`: what comes after the last entry's line
    ]

A comment on an entry's line is that entry's. A comment line, or an empty one, heads the entries from
there to the next such line, and goes when the last of them goes. Commented-out configs and directives to
tools (`# fmt: off`) are nobody's: they stay, in front of the entry that they stood in front of.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from codegen.source import Span

# Possessive: a bracket in a comment must not be found by trying a shorter comment.
_SPACE = r"(?:[ \t\f\r\n]|\\(?=\r?\n)|#[^\n]*+)*+"
_TRIVIA = re.compile(_SPACE)
_CLOSERS = re.compile(rf"(?:{_SPACE}\))*")
_NOBODYS = re.compile(
    r"Config\(|#\s*(?:fmt|yapf|black|ruff|flake8|pylint|isort|mypy|type|pyright)\s*:"
)


@dataclass(frozen=True)
class Entry:
    """One element. Lines are kept with their endings."""

    text: str  # the element, with its parentheses, up to its comma
    above: tuple[str, ...] = ()  # the comment lines and empty lines before it
    indent: str | None = None  # what its own line begins with; None: it follows on another's line
    gap: str = ""  # then: the space before it
    trail: str = ""  # what follows its comma, to the end of the line if nothing else is on it


@dataclass(frozen=True)
class NewEntry:
    text: str
    like: int | None = None  # the index of the entry that it is written after the manner of


@dataclass(frozen=True)
class ListText:
    opening: str  # the bracket, and what follows it on its line
    entries: tuple[Entry, ...]
    trailing_comma: bool
    tail: str  # what follows the last entry's trail, the closing bracket included
    tail_on_own_line: bool


def split(text: str, spans: Sequence[Span]) -> ListText:
    """Take apart a list literal whose elements, without parentheses, stand at `spans` of `text`."""
    lines: list[str] = []  # opening, then each entry's trail
    entries: list[Entry] = []
    position, trailing_comma = 1, False
    for _, element_end in spans:
        start = _end(_TRIVIA, text, position)
        rest_of_line, above, indent = _lines(text[position:start])
        lines.append(rest_of_line if indent is not None else "")
        gap = rest_of_line if indent is None else ""
        end = _end(_CLOSERS, text, element_end)
        comma = _end(_TRIVIA, text, end)
        trailing_comma = text[comma] == ","
        end = comma if trailing_comma else end
        entries.append(Entry(text[start:end], above, indent, gap))
        position = end + trailing_comma
    rest_of_line, newline, tail = text[position:].partition("\n")
    lines.append(rest_of_line + newline if newline else "")
    tail = tail if newline else rest_of_line
    entries = [replace(e, trail=trail) for e, trail in zip(entries, lines[1:], strict=True)]
    return ListText("[" + lines[0], tuple(entries), trailing_comma, tail, bool(newline))


def join(old: ListText, plan: Sequence[int | NewEntry], newline: str) -> str:
    """The list with the entries of `plan`: an old one by its index, or a new one."""
    new = _hand_on(old, {item for item in plan if isinstance(item, int)})
    usual = _usual(old)
    text = old.opening
    for position, item in enumerate(plan):
        entry = new.entries[item] if isinstance(item, int) else _set_like(item, old, usual)
        if position == 0 and old.entries and not entry.above:
            entry = replace(entry, indent=old.entries[0].indent, gap=old.entries[0].gap)
        elif position and item == 0 and entry.indent is None:
            entry = replace(entry, indent=usual.indent, gap=usual.gap)
        if (entry.indent is not None or entry.above) and not text.endswith("\n"):
            text += newline
        if text.endswith("\n"):
            indent = entry.indent if entry.indent is not None else usual.indent
            text += "".join(entry.above) + (_blank(old.tail) if indent is None else indent)
        else:
            text += entry.gap
        last = position == len(plan) - 1
        trail = entry.trail
        if last and not new.tail_on_own_line and "#" not in trail:
            trail = trail.rstrip("\r\n")
        text += entry.text + ("" if last and not old.trailing_comma else ",") + trail
    if new.tail_on_own_line and not text.endswith("\n"):
        text += newline
    return text + new.tail


def _set_like(item: NewEntry, old: ListText, usual: Entry) -> Entry:
    indent = None if item.like is None else old.entries[item.like].indent
    return replace(usual, text=item.text, indent=usual.indent if indent is None else indent)


def _hand_on(old: ListText, kept: set[int]) -> ListText:
    """Hand what stood above the entries that go to the next one that stays: comment lines, and the place
    at the beginning of a line."""
    entries = list(old.entries)
    lines: tuple[str, ...] = ()
    indent: str | None = None
    for index, entry in enumerate(entries):
        if entry.above:  # a new group: of the last one's lines only what is nobody's is left
            lines = _lasting(lines)
        lines += entry.above
        indent = entry.indent if entry.indent is not None else indent
        if index in kept:
            entries[index] = replace(entry, above=lines, indent=indent)
            lines, indent = (), None
    lines = _lasting(lines)
    own_line = old.tail_on_own_line or bool(lines)
    tail = "".join(lines) + old.tail
    return replace(old, entries=tuple(entries), tail=tail, tail_on_own_line=own_line)


def _lasting(lines: Sequence[str]) -> tuple[str, ...]:
    """Those lines that no entry owns: each block of comment lines that is code or speaks to a tool."""
    lasting: list[str] = []
    block: list[str] = []
    for line in (*lines, ""):
        if line.strip():
            block.append(line)
            continue
        if any(_NOBODYS.search(comment) for comment in block):
            lasting += block
        block = []
    return tuple(lasting)


def _usual(old: ListText) -> Entry:
    """How a new entry is set: as the entries after the first are, else as the first is."""
    later = old.entries[1:]
    for model in (*(entry for entry in later if entry.indent is not None), *later):
        return Entry("", indent=model.indent, gap=model.gap)
    return Entry("", indent=old.entries[0].indent if old.entries else None, gap=" ")


def _lines(space: str) -> tuple[str, tuple[str, ...], str | None]:
    """The space before an entry: the rest of the line before, whole lines, the indent of its line."""
    rest_of_line, newline, rest = space.partition("\n")
    if not newline or rest_of_line.rstrip("\r").endswith("\\"):
        return space, (), None
    *above, indent = rest.split("\n")
    return rest_of_line + newline, tuple(line + "\n" for line in above), indent


def _blank(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t\f"))]


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    assert match is not None  # every pattern here matches the empty text
    return match.end()
