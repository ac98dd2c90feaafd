"""Every command in the README does what the README shows. `python tests/test_readme.py` writes what they print."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PROGRESS = re.compile(r"codegen: [a-z ]+(: \d+ of \d+)?$")
BLOCK = re.compile(r"```console\n\$ (?P<command>[^\n]+)\n(?P<output>.*?)```", re.DOTALL)


def run(command: str) -> str:
    """What a command leaves on a terminal, both streams, without trailing blanks.

    Progress does not stay there; elsewhere it is lines, more of them on a slower machine.
    """
    program, *arguments = shlex.split(command)
    assert program == "codegen"
    done = subprocess.run(
        [sys.executable, "-m", "codegen", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    lines = [line.rstrip() for line in done.stdout.splitlines() if not PROGRESS.match(line)]
    return "\n".join(lines) + "\n"


def comparable(text: str) -> str:
    """The README's figures are those of the Triton it names; another compiler has others."""
    stated = re.search(r"Triton (\d+\.\d+\.\d+)", README.read_text())
    assert stated
    return text if stated[1] == version("triton") else re.sub(r"[-\d.,]+| +", "#", text)


@pytest.mark.parametrize(
    "block", list(BLOCK.finditer(README.read_text())), ids=lambda block: block["command"][:40]
)
def test_the_readme_shows_what_its_commands_print(block):
    assert comparable(run(block["command"])) == comparable(block["output"])


def test_the_readme_names_only_files_that_are_there():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README.read_text())
    named = re.findall(
        r"`((?:tests|docs|codegen|generated|templates)/[\w./]+)`", README.read_text()
    )
    assert [path for path in (*links, *named) if not (ROOT / path).exists()] == []


if __name__ == "__main__":
    text = BLOCK.sub(
        lambda b: f"```console\n$ {b['command']}\n{run(b['command'])}```", README.read_text()
    )
    README.write_text(text)
