"""The one place that touches the user's files: whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from codegen.outcome import BadInput


def write_whole(path: Path, data: bytes) -> None:
    """Puts `data` at `path`: written beside it first, then moved into place, so that no reader sees half.

    A file that was there keeps its permissions and its owner; a link keeps pointing where it points; a device or a pipe
    (`/dev/null`, `/dev/stdout`) is written to as it is. Raises BadInput when the place can't be written.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        _write_into(path, data)
        return
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise BadInput(f"{path}: can't write there: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        if target.exists():
            _give_to_its_owner(Path(name), target)
            shutil.copymode(target, name)
        else:
            umask = os.umask(0)
            os.umask(umask)
            Path(name).chmod(0o666 & ~umask)
        Path(name).replace(target)
    except BaseException as error:  # Ctrl-C too: nothing is left beside the file
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        if not isinstance(error, OSError):
            raise
        raise BadInput(f"{path}: can't write there: {error.strerror}") from None


def _give_to_its_owner(path: Path, other: Path) -> None:
    """Makes `path` the user's and the group's that `other` is, as far as who runs this may."""
    wanted = other.stat()
    for user, group in ((wanted.st_uid, -1), (-1, wanted.st_gid)):
        with contextlib.suppress(PermissionError):
            os.chown(path, user, group)


def _write_into(path: Path, data: bytes) -> None:
    try:
        with path.open("wb") as file:
            file.write(data)
    except OSError as error:
        raise BadInput(f"{path}: can't write there: {error.strerror}") from None
