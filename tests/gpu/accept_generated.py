"""`codegen accept`, as a user types it, on every file of generated/ that is for the GPU of this machine.

    python tests/gpu/accept_generated.py OUT_DIR [--only 'gemm_*'] [--part 1/2] [--gpu h200] [-- MORE OPTIONS]

Each file and its record are copied to OUT_DIR and accepted there, against float64 by the record's own problem and,
as there is no original, beside the library: what is to be replaced by it. What is left beside each is its record with
verdict and provenance, its evidence as JSON, and the page. Copying the records back over generated/ is up to you.

Prints a line for each file: its verdict, how long that took, and whether the page has its roofline. Exit status 1
if one is refused.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", default="*")
    parser.add_argument("--part", default="1/1", help="2/3: the second third of the files")
    parser.add_argument("--gpu", default="h200")
    parser.add_argument("options", nargs="*", help="for codegen accept")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    part, parts = map(int, asked.part.split("/"))
    files = sorted((ROOT / "generated").glob(f"{asked.only}_{asked.gpu.replace('-', '_')}.py"))
    refused = 0
    for file in files[part - 1 :: parts]:
        refused += not accepted(file, asked.out, asked.options)
    return int(bool(refused))


def accepted(file: Path, out: Path, options: list[str]) -> bool:
    for each in (file, file.with_suffix(".json")):
        shutil.copy(each, out)
    path = out / file.name
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "codegen", "accept", str(path.absolute()), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - start
    path.with_suffix(".log").write_text(done.stdout + done.stderr)
    said = done.stderr.strip().splitlines()[-1:] or ["nothing"]
    print(
        f"{file.stem}: status {done.returncode}, {seconds:.0f} s: {said[0]}; {left(path)}",
        flush=True,
    )
    return done.returncode == 0


def left(path: Path) -> str:
    """What was found beside the file afterwards."""
    record = json.loads(path.with_suffix(".json").read_text())
    page = path.with_suffix(".evidence.html")
    text = page.read_text() if page.exists() else ""
    return ", ".join(
        [
            "record filled" if record["provenance"] else "record as it was",
            "a page" if text else "no page",
            "with its roofline" if "<svg" in text else "without a roofline",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
