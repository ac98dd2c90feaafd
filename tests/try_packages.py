"""Try the reader and the rewriter on packages as people publish them: `python tests/try_packages.py FOLDER...`

Every autotune site of every file is read, written as it is (no byte may change), given another num_stages
(only the list and a comment may change, the result must read back as meant, a second run must change
nothing) and so counted as handled or refused. Files are read, never run and never written. `--show` prints each
refusal, and what each change does to the file, to be looked at. Exit status 1 if anything was damaged.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path

from codegen.config import Config
from codegen.outcome import BadInput, Refused
from codegen.rewrite import replace_configs
from codegen.sites import find_sites, locate
from codegen.source import parse

MADE_UP = (
    Config((("BLOCK", 64),), 4, 2),
    Config((("BLOCK", 128),), 8, 3),
)  # for what is not settled


def outcomes(path: Path) -> list[tuple[str, str]]:
    """One (outcome, details) a site: handled, refused or damaged; or one `unreadable` for the file."""
    source = path.read_bytes()
    try:
        sites = find_sites(source)
    except BadInput as reason:
        return [("unreadable", f"{path}: {reason}")]
    found = []
    for index, site in enumerate(sites):
        where = f"{path}:{site.line}: {site.kernel}, {site.form}"
        try:
            details = "".join(_problems(source, index, site.configs)) or None
            outcome = "handled" if details is None else "damaged"
            details = details or _diff(
                source, replace_configs(source, {index: _other(site.configs)})
            )
        except Refused as refusal:
            outcome, details = "refused", str(refusal)
        except Exception as error:  # a crash is the worst outcome, and must not end the count
            outcome, details = "damaged", repr(error)
        settled = "source" if site.configs is not None else f"not settled ({site.unsettled})"
        found.append((outcome, f"{where}, {settled}\n{details}"))
    return found


def _other(configs: tuple[Config, ...] | None) -> tuple[Config, ...]:
    """The configs with another num_stages in the last of them."""
    if not configs:
        return MADE_UP
    stages = configs[-1].stages or 3
    return (*configs[:-1], replace(configs[-1], num_stages=stages + 1))


def _problems(source: bytes, index: int, configs: tuple[Config, ...] | None) -> Iterator[str]:
    """What is wrong with a rewrite of one site. Raises Refused where there is none."""
    if configs is not None and replace_configs(source, {index: configs}) != source:
        yield "writing what is there changes it"
    wanted = _other(configs)
    result = replace_configs(source, {index: wanted})
    target = locate(parse(source), {index})[index].target
    assert target is not None  # or it would have been refused
    before = parse(source)
    start, end = before.span(target.expression)
    after = re.sub(r"(?m)^[ \t]*# was: .*\r?\n", "", parse(result).text, count=1)
    text = before.text
    kept = text if "# was: " in text else after
    if not (kept.startswith(text[:start]) and kept.endswith(text[end:])):
        yield "more than the list differs"
    sites, others = find_sites(source), find_sites(result)
    if others[index].configs is None or tuple(map(str, others[index].configs)) != tuple(
        map(str, wanted)
    ):
        yield "it does not read back"
    same = [
        a.configs == b.configs
        for i, (a, b) in enumerate(zip(sites, others, strict=True))
        if i != index
    ]
    if not all(same):
        yield "another site differs"
    if replace_configs(result, {index: wanted}) != result:
        yield "a second run changes it again"


def _diff(before: bytes, after: bytes) -> str:
    texts = [text.decode(errors="replace").split("\n") for text in (before, after)]
    return "\n".join([*difflib.unified_diff(*texts, n=1, lineterm="")][2:])


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folders", nargs="+", type=Path)
    arguments.add_argument("--show", action="store_true")
    options = arguments.parse_args()
    total: Counter[str] = Counter()
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for folder in options.folders:
            paths = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]
            counts: Counter[str] = Counter()
            for outcome, details in chain.from_iterable(pool.map(outcomes, paths, chunksize=8)):
                counts[outcome] += 1
                if options.show or outcome in ("damaged", "unreadable"):
                    print(f"{outcome}: {details}")
            print(f"{folder}: {len(paths)} files, {dict(counts)}", file=sys.stderr)
            total += counts
    print(f"in all: {dict(total)}", file=sys.stderr)
    return 1 if total["damaged"] else 0


if __name__ == "__main__":
    sys.exit(main())
