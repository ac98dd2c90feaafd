"""`codegen render --check`: whether files are still what their records render to."""

from __future__ import annotations

import json
from pathlib import Path

import click

from codegen.outcome import ACCEPTED, REFUSED, BadInput
from codegen.record import Record


def source_of(name: str, record: Record) -> str:
    """What a record renders to. Raises BadInput, naming the record, where it contradicts itself."""
    try:
        return record.source()
    except BadInput as error:
        raise BadInput(f"{name}: {error}") from None


def check_all(places: tuple[str, ...]) -> int:
    """Renders every record anew and compares with the file beside it."""
    different = 0
    paths = list(dict.fromkeys(path for place in places for path in _records(Path(place))))
    for path in paths:
        rendered, beside = source_of(str(path), Record.read(path)), path.with_suffix(".py")
        if not beside.is_file():
            different += 1
            click.echo(f"{beside}: missing: codegen render {path} -o {path.parent}")
        elif beside.read_bytes() != rendered.encode():
            different += 1
            click.echo(
                f"{beside}: differs from what its record renders to: codegen render {path} -o {path.parent}"
            )
    click.echo(f"codegen: {len(paths)} rendered, {different} different", err=True)
    return REFUSED if different else ACCEPTED


def _records(place: Path) -> list[Path]:
    """The record at a path, or beside the file there; or all below a folder."""
    if place.is_dir():
        return [path for path in sorted(place.rglob("*.json")) if _is_record(path)]
    path = place.with_suffix(".json")
    if not path.exists():
        raise BadInput(f"{path}: no such file or folder")
    return [path]


def _is_record(path: Path) -> bool:
    """Whether a JSON file in a folder is one: it has a kernel file beside it, or says what to render."""
    if path.with_suffix(".py").exists():
        return True
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(data, dict) and {"problem", "gpu", "configs"} <= data.keys()
