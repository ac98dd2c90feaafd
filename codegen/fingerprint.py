"""One hash for a file and the code it stands on: equal hashes, equal results."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

# Their versions are the machine's to tell, and a copy in the same folder would be theirs.
_INSTALLED = ("torch", "triton", "numpy")


def source_hash(path: Path) -> str:
    """SHA-256 of a file, of the files it imports from its own folder or package, and of those they import.

    What lies beside a file is its author's own code and changes from day to day. Where the files are does not
    count, and packages installed elsewhere are not looked at. Raises OSError where the file can't be read.
    """
    digest = hashlib.sha256()
    content = path.read_bytes()
    digest.update(content)
    found: dict[str, bytes] = {}
    _follow(path.absolute().parent, content, "", found)
    for name, beside in sorted(found.items()):
        digest.update(f"\n{name} {len(beside)}\n".encode() + beside)
    return digest.hexdigest()


def _follow(folder: Path, content: bytes, above: str, found: dict[str, bytes]) -> None:
    """Adds the files that `content`, in `folder`, imports; `above` leads there from the first file's folder."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for level, parts in _imported(tree):
        base, way = folder, above
        for _ in range(level - 1):
            base, way = base.parent, f"{way}../"
        for depth in range(1, len(parts) + 1):
            stem = "/".join(parts[:depth])
            for name in (f"{stem}.py", f"{stem}/__init__.py"):
                file, key = base / name, way + name
                if key not in found and file.is_file():
                    found[key] = file.read_bytes()
                    inner = key.rpartition("/")[0]
                    _follow(file.parent, found[key], f"{inner}/" if inner else "", found)


def _imported(tree: ast.AST) -> Iterator[tuple[int, list[str]]]:
    """(dots, names) of everything imported; what is imported from a module may be a module too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                if parts[0] not in _INSTALLED:
                    yield 0, parts
        elif isinstance(node, ast.ImportFrom):
            parts = node.module.split(".") if node.module else []
            if node.level or parts[0] not in _INSTALLED:
                for alias in node.names:
                    yield node.level, [*parts, alias.name]
