"""What `codegen configs` does: every autotune site of the files, and its configs as data."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from codegen.config import Config
from codegen.gpu import GpuSpec
from codegen.interchange import config_to_json, fingerprint
from codegen.outcome import BadInput
from codegen.sites import Site, find_sites
from codegen.source import parse
from codegen.steps import site_of
from codegen.toolchain import Compiler, Progress, UserFile

_WORTH_A_POOL = 64  # files: below that a pool's start costs more than it gains


@dataclass(frozen=True)
class Listed:
    """One site, with configs from the source, or from the live kernel, or (None) not known."""

    site: Site
    configs: tuple[Config, ...] | None
    read_from: str | None  # source, live; None where they are not known
    why_not: str | None  # why not from the source, and if tried, why not from the live kernel


@dataclass(frozen=True)
class ListedFile:
    """One file's sites, or why there are none to be had."""

    path: str
    sites: tuple[Listed, ...] = ()
    unreadable: str | None = None


def list_files(
    paths: Sequence[str],
    gpu: GpuSpec | None,
    progress: Progress,
    named: Collection[str] = (),
) -> list[ListedFile]:
    """Every site of every file, in the order of the files.

    Of a tree, files that never say `autotune` are not parsed; those `named` one by one must be Python.

    What the syntax tree settles is read from it, in parallel. With a `gpu`, files with sites it does not
    settle are imported in a child process that pretends to have that GPU, and read from the live Autotuner.
    """
    found = []
    for file in _static(paths):
        found.append(_parsed(file) if file.path in named else file)
        progress("reading", len(found), len(paths))
    unsettled = [i for i, file in enumerate(found) if any(s.configs is None for s in file.sites)]
    if gpu is not None:
        for done, index in enumerate(unsettled):
            progress("importing", done, len(unsettled))
            found[index] = _settled(found[index], gpu)
    return found


def _parsed(file: ListedFile) -> ListedFile:
    if not file.sites and not file.unreadable:
        try:
            parse(Path(file.path).read_bytes())
        except BadInput as error:
            return replace(file, unreadable=str(error))
    return file


def _static(paths: Sequence[str]) -> Iterator[ListedFile]:
    if len(paths) < _WORTH_A_POOL:
        yield from map(_list_file, paths)
        return
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        yield from pool.map(_list_file, paths, chunksize=16)


def _list_file(path: str) -> ListedFile:
    try:
        sites = find_sites(Path(path).read_bytes())
    except BadInput as error:
        return ListedFile(path, unreadable=str(error))
    except (OSError, ValueError) as error:
        return ListedFile(
            path, unreadable=f"can't be read: {getattr(error, 'strerror', None) or error}"
        )
    return ListedFile(
        path,
        tuple(
            Listed(
                site, site.configs, "source" if site.configs is not None else None, site.unsettled
            )
            for site in sites
        ),
    )


def _settled(file: ListedFile, gpu: GpuSpec) -> ListedFile:
    """The file with what its live kernels say of the sites the source does not settle."""
    path = Path(file.path).resolve()
    try:
        with Compiler(UserFile(file.path, path), gpu) as compiler:
            live = [site for site in compiler.autotuners() if site.path == str(path)]
    except BadInput as error:
        return replace(file, sites=tuple(_unknown(listed, str(error)) for listed in file.sites))
    sites = [listed.site for listed in file.sites]
    by_index = {
        index: kernel.configs for kernel in live if (index := site_of(kernel, sites)) is not None
    }
    return replace(
        file,
        sites=tuple(
            (
                replace(listed, configs=by_index[index], read_from="live")
                if listed.configs is None and index in by_index
                else _unknown(listed, "importing the file does not make this kernel")
            )
            for index, listed in enumerate(file.sites)
        ),
    )


def _unknown(listed: Listed, why: str) -> Listed:
    return (
        listed
        if listed.configs is not None
        else replace(listed, why_not=f"{listed.why_not}; {why}")
    )


def as_json(files: Sequence[ListedFile]) -> dict[str, Any]:
    return {
        "files": [
            {
                "path": file.path,
                "unreadable": file.unreadable,
                "sites": list(map(_site_as_json, file.sites)),
            }
            for file in files
        ]
    }


def _site_as_json(listed: Listed) -> dict[str, Any]:
    site, configs = listed.site, listed.configs
    data = {
        "kernel": site.kernel,
        "line": site.line,
        "column": site.column,
        "form": site.form,
        "key": site.key and list(site.key),
        "refusal": site.refusal,
        "read_from": listed.read_from,
        "why_not": listed.why_not,
        "configs": None if configs is None else list(map(config_to_json, configs)),
    }
    if listed.read_from == "live":
        data["fingerprint"] = fingerprint(data["configs"])
    return data


def as_lines(files: Sequence[ListedFile]) -> Iterator[str]:
    """`path:line:col: kernel: form, N configs`, then a line a config."""
    for file in files:
        for listed in file.sites:
            site = listed.site
            key = "" if site.key is None else f", key {', '.join(site.key)}"
            count = (
                "configs not known"
                if listed.configs is None
                else _count(len(listed.configs), "config")
            )
            yield f"{file.path}:{site.line}:{site.column}: {site.kernel}: {site.form}, {count}{key}"
            for config in listed.configs or ():
                yield f"    {_one_line(config)}"
            if listed.configs is None:
                yield f"    {listed.why_not}"
            if site.refusal is not None:
                yield f"    can't be rewritten: {site.refusal}"


def _one_line(config: Config) -> str:
    parts = [f"{name}={value}" for name, value in config.meta]
    parts += [
        f"{name}={value}"
        for name, value in (("num_warps", config.num_warps), ("num_stages", config.num_stages))
        if value is not None
    ]
    parts += [f"{name}={text}" for name, text in config.extra]
    return " ".join(parts) or "(Triton's defaults)"


def summary(files: Sequence[ListedFile]) -> str:
    """`12 sites in 5 of 9 files: 7 inline list, 5 comprehension`."""
    forms = Counter(listed.site.form for file in files for listed in file.sites)
    counted = ", ".join(f"{count} {form}" for form, count in forms.most_common())
    with_sites = sum(bool(file.sites) for file in files)
    return f"{_count(forms.total(), 'site')} in {with_sites} of {_count(len(files), 'file')}" + (
        f": {counted}" if counted else ""
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
