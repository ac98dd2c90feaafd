"""Which dotted name a name in a file stands for.

A table of the file's own imports, without scopes: whoever imports `triton` under two meanings in one file
is past help, and LibCST's qualified names cost seven times its parser.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Imports:
    """Local name -> the dotted name it stands for; relative imports begin with their dots."""

    table: Mapping[str, str]

    def qualified(self, node: ast.expr) -> str | None:
        """`tr.autotune` -> `triton.autotune` after `import triton as tr`; None for no dotted name."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        parts.append(self.table.get(node.id, node.id))
        return ".".join(reversed(parts))

    def names_config(self, text: str) -> bool:
        """Whether a dotted name, as written, ends in the name of triton.Config."""
        first, dot, rest = text.partition(".")
        return f"{self.table.get(first, first)}{dot}{rest}".rpartition(".")[2] == "Config"

    def spelling(self, path: str) -> str | None:
        """How this file can name `path`, a dotted name; None where it imports nothing that leads there."""
        for local, target in self.table.items():
            if target == path:
                return local
        parent, _, last = path.rpartition(".")
        outer = self.spelling(parent) if parent else None
        return f"{outer}.{last}" if outer else None


def imports_of(nodes: Iterable[ast.AST]) -> Imports:
    """The table of every import statement among `nodes`, wherever it stands; the first of a name counts."""
    table: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for name in node.names:
                root = name.name.partition(".")[0]
                table.setdefault(name.asname or root, name.name if name.asname else root)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            dot = "" if module.endswith(".") else "."
            for name in node.names:
                table.setdefault(name.asname or name.name, f"{module}{dot}{name.name}")
    return Imports(table)


def first_name(node: ast.expr) -> str | None:
    """The name that a dotted name begins with; None for what is none."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None
