"""Configs as JSON: what `codegen configs --json` lists and `codegen retune --set` takes back.

    {"files": [{"path": "k.py", "sites": [{"kernel": "k", "line": 7, "configs": [
        {"meta": {"BLOCK_M": 64}, "num_warps": 4, "num_stages": null, "extra": {"num_ctas": "2"}}]}]}]}

`null` means left out in the source. A value that is no literal is {"source": "4 if is_hip() else 8"}; `extra` holds
every other keyword of triton.Config with its value as source text. What was read from a running kernel has a
`fingerprint`: while the configs beside it are those, the site stays as it is, with its call to wherever they come from.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from codegen.config import Config, Source, Value
from codegen.outcome import BadInput

# path -> (kernel, line or None, configs, None for a site that is to stay as it is), a site each
Sets = dict[str, list[tuple[str, int | None, tuple[Config, ...] | None]]]


def config_to_json(config: Config) -> dict[str, Any]:
    return {
        "meta": {name: _to_json(value) for name, value in config.meta},
        "num_warps": _to_json(config.num_warps),
        "num_stages": _to_json(config.num_stages),
        "extra": dict(config.extra),
    }


def fingerprint(configs: Any) -> str:
    """Of configs as JSON values."""
    return hashlib.sha256(json.dumps(configs, sort_keys=True).encode()).hexdigest()[:16]


def read_sets(text: str) -> Sets:
    """What a --set file says. Raises BadInput saying where it is off.

    A site whose `configs` is null, as an unsettled one is listed, is to stay as it is, and so is one whose
    configs are what its `fingerprint` is of.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"not JSON: {error}") from None
    found: Sets = {}
    for at, file in enumerate(_list(_member(data, "files", "the file"), "files")):
        where = f"files[{at}]"
        path = _text(_member(file, "path", where), f"{where}.path")
        found.setdefault(path, [])
        for index, site in enumerate(_list(_member(file, "sites", where), f"{where}.sites")):
            here = f"{where}.sites[{index}]"
            configs = _member(site, "configs", here)
            kernel, line = _text(_member(site, "kernel", here), f"{here}.kernel"), site.get("line")
            if line is not None and type(line) is not int:
                raise BadInput(f"{here}.line: expected a whole number")
            stays = configs is None or site.get("fingerprint") == fingerprint(configs)
            read = (
                None
                if stays
                else tuple(
                    config_from_json(config, f"{here}.configs[{number}]")
                    for number, config in enumerate(_list(configs, f"{here}.configs"))
                )
            )
            found[path].append((kernel, line, read))
    return found


def config_from_json(data: Any, where: str) -> Config:
    """Raises BadInput, naming `where` it is off."""
    meta = _member(data, "meta", where)
    extra = data.get("extra", {})
    unknown = sorted(set(data) - {"meta", "num_warps", "num_stages", "extra"})
    if unknown:
        raise BadInput(
            f"{where}: unknown {', '.join(map(repr, unknown))}: other keywords go into `extra`"
        )
    for name, mapping in (("meta", meta), ("extra", extra)):
        if not isinstance(mapping, Mapping):
            raise BadInput(f"{where}.{name}: expected an object")
    return Config(
        tuple(
            (_name(name, where), _value(value, f"{where}.meta.{name}"))
            for name, value in meta.items()
        ),
        _knob(data.get("num_warps"), f"{where}.num_warps"),
        _knob(data.get("num_stages"), f"{where}.num_stages"),
        tuple(
            (_name(name, where), _expression(value, f"{where}.extra.{name}"))
            for name, value in extra.items()
        ),
    )


def _to_json(value: Value) -> Any:
    return {"source": value.text} if isinstance(value, Source) else value


def _value(value: Any, where: str) -> Value:
    if isinstance(value, Mapping) and set(value) == {"source"}:
        return Source(_expression(value["source"], where))
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise BadInput(
        f'{where}: expected a number, a string, true, false, null or {{"source": "..."}}'
    )


def _knob(value: Any, where: str) -> int | Source | None:
    read = _value(value, where)
    if read is None or isinstance(read, Source) or (type(read) is int and 0 <= read <= 64):
        return read  # 0 stages, as people write for AMD's compiler, is to survive the way there and back
    raise BadInput(f"{where}: expected a whole number from 0 to 64, or null where it is left out")


def _expression(value: Any, where: str) -> str:
    text = _text(value, where)
    try:
        ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise BadInput(f"{where}: {text[:60]!r} is no Python expression") from None
    return text


def _name(name: str, where: str) -> str:
    if not name.isidentifier():
        raise BadInput(f"{where}: {name[:60]!r} is no name of a parameter")
    return name


def _member(data: Any, name: str, where: str) -> Any:
    if not isinstance(data, Mapping) or name not in data:
        raise BadInput(f"{where}: expected an object with {name!r}")
    return data[name]


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise BadInput(f"{where}: expected a list")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise BadInput(f"{where}: expected a string")
    return value
