"""Another version of a file that Python imports just as it would the file itself, without touching its folder."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def stand_in(path: Path, code: bytes) -> Iterator[Path]:
    """A file of the same name with `code` in it, among links to whatever lies beside `path`.

    The folders of the package that `path` is in, if any, are there too, so relative imports work. It lies
    in a temporary folder: a program that is killed leaves nothing in the user's.
    """
    with tempfile.TemporaryDirectory(prefix="codegen-") as folder:
        yield _mirror(path.absolute(), code, Path(folder))


def _mirror(path: Path, code: bytes, folder: Path) -> Path:
    parents = [path.parent]
    while (parents[0] / "__init__.py").is_file() and parents[0].name.isidentifier():
        parents.insert(0, parents[0].parent)
    here = Path(folder)
    for parent, below in zip(parents, [*parents[1:], path], strict=True):
        for beside in parent.iterdir():
            if beside.name != below.name:
                (here / beside.name).symlink_to(beside)
        here = here / below.name
        if below != path:
            here.mkdir()
    here.write_bytes(code)
    return here
