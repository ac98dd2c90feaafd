"""An `ncu` for machines without one: it notes its arguments and writes what a real one wrote."""

from __future__ import annotations

import json
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What Nsight Compute 2025.3 wrote on an H200 for config 0 of docs/examples/prompt.md, float32[8192,4096].
GRAM = Path(__file__).parent / "data" / "ncu_gram_config_0_h200.csv"
VERSION = "NVIDIA (R) Nsight Compute Command Line Profiler\\nVersion 2025.3.1.0 (build 36398880)"


@dataclass(frozen=True)
class FakeNcu:
    """An executable in a folder to put on PATH."""

    folder: Path

    def calls(self) -> list[dict[str, Any]]:
        """Each profiling call: its `arguments`, and the `questions` to the program that it was to start."""
        noted = self.folder / "calls"
        return (
            [json.loads(line) for line in noted.read_text().splitlines()] if noted.exists() else []
        )


def fake_ncu(folder: Path, then: str = "", csv: Path | None = GRAM) -> FakeNcu:
    """`then` is Python that runs at the end, with `log` and `command` (of the program to profile) at hand."""
    folder.mkdir(exist_ok=True)
    path = folder / "ncu"
    path.write_text(f"""#!{sys.executable}
import json, os, pathlib, signal, subprocess, sys, time
arguments = sys.argv[1:]
if arguments == ["--version"]:
    print("{VERSION}")
    sys.exit()
log = pathlib.Path(arguments[arguments.index("--log-file") + 1])
command = arguments[arguments.index({sys.executable!r}) :]
questions = json.loads(pathlib.Path(command[-2]).read_text())
with open({str(folder / "calls")!r}, "a") as calls:
    calls.write(json.dumps({{"arguments": arguments, "questions": questions}}) + "\\n")
csv = {str(csv) if csv else None!r}
if csv:
    log.write_bytes(pathlib.Path(csv).read_bytes())
{then}
""")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return FakeNcu(folder)
