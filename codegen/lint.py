"""What `codegen check` does around the checker: which files, which rules, and how findings are printed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from codegen.order import Finding, check
from codegen.outcome import BadInput
from codegen.rules import RULES, Rule

STDIN = "-"


@dataclass(frozen=True)
class Located:
    """A finding and the file it is in."""

    path: str
    finding: Finding

    def __str__(self) -> str:
        line, column = self.finding.line, self.finding.column
        return f"{self.path}:{line}:{column}: {self.finding.code} {self.finding.message}"


@dataclass(frozen=True)
class Report:
    """What was found in `files` files, and a line for each that could not be read."""

    files: int
    findings: tuple[Located, ...]
    unreadable: tuple[str, ...]

    def __str__(self) -> str:
        return f"{_count(self.files, 'file')} checked: {_count(len(self.findings), 'finding')}"


def files_of(paths: Iterable[str]) -> list[str]:
    """The files to check, sorted, each once: a file as it is, of a folder every `*.py` below it.

    Hidden folders and virtual environments are left out.
    """
    found: set[str] = set()
    for path in paths:
        if path != STDIN and Path(path).is_dir():
            found.update(_below(path))
        else:
            found.add(path if path == STDIN else str(Path(path)))
    return sorted(found)


def files_named(paths: Iterable[str]) -> frozenset[str]:
    """Those of them that were named themselves, and not found in a folder."""
    return frozenset(str(Path(path)) for path in paths if Path(path).is_file())


def _below(folder: str) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not _is_left_out(Path(parent, name))]
        for name in names:
            path = Path(parent, name)
            # Not a pipe or a device of that name, which may never end.
            if path.suffix == ".py" and path.is_file():
                yield str(path)


def _is_left_out(folder: Path) -> bool:
    return folder.name.startswith(".") or (folder / "pyvenv.cfg").exists()


def rules_for(select: Sequence[str], ignore: Sequence[str]) -> set[str]:
    """The codes to report: those of `select` (all if empty) without those of `ignore`.

    Each entry is a comma-separated list of codes or their beginnings, `CG001,CG01`. BadInput where one
    fits no rule. CG000 stays whatever is asked: nothing is known of a file that is not Python.
    """
    return ((_codes(select) or set(RULES)) - _codes(ignore)) | {"CG000"}


def _codes(lists: Sequence[str]) -> set[str]:
    codes: set[str] = set()
    for prefix in (entry.strip().upper() for text in lists for entry in text.split(",")):
        fitting = {code for code in RULES if prefix and code.startswith(prefix)}
        if not fitting:
            raise BadInput(_no_such_rule(prefix))
        codes |= fitting
    return codes


def find_rule(code: str) -> Rule:
    """The rule of that number; BadInput for a number there is none of."""
    if code.upper() not in RULES:
        raise BadInput(_no_such_rule(code))
    return RULES[code.upper()]


def _no_such_rule(code: str) -> str:
    first, *_, last = RULES
    return f"no rule is numbered {code!r}: the rules are {first} to {last}"


def lint(files: Collection[str], codes: Collection[str]) -> Report:
    """Check every file for the rules of `codes`; `-` is standard input."""
    findings: list[Located] = []
    unreadable: list[str] = []
    for path in files:
        try:
            source = sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
        except OSError as error:
            unreadable.append(f"{path}: {error.strerror}")
            continue
        name = "<stdin>" if path == STDIN else path
        findings += [Located(name, f) for f in check(source) if f.code in codes]
    return Report(len(files) - len(unreadable), tuple(findings), tuple(unreadable))


def as_text(findings: Iterable[Located]) -> str:
    return "".join(f"{located}\n" for located in findings)


def as_json(findings: Iterable[Located]) -> str:
    """A list of objects: path, line, column, code, message, and the rule's name."""
    entries = [
        {"path": located.path, **asdict(located.finding), "rule": RULES[located.finding.code].name}
        for located in findings
    ]
    return json.dumps(entries, indent=2) + "\n"


def as_github(findings: Iterable[Located]) -> str:
    """Workflow commands that GitHub Actions shows beside the lines they are about."""
    return "".join(
        f"::error title=codegen {located.finding.code},file={_escaped_property(located.path)},"
        f"line={located.finding.line},col={located.finding.column}::{_escaped(str(located))}\n"
        for located in findings
    )


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escaped_property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


FORMATS = {"text": as_text, "json": as_json, "github": as_github}
