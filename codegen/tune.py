"""What `codegen retune` and `codegen inspect` do around the pipeline: read, print, write."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from codegen import pipeline
from codegen.job import STDIN, Job, Options, open_job
from codegen.outcome import BadInput
from codegen.present import console, print_comparison, print_report, progress
from codegen.report import Report, to_json
from codegen.write import write_whole


@dataclass(frozen=True)
class Output:
    """Where the answer goes: in place, to a file, as a diff, or (none of these) to standard output."""

    in_place: bool = False
    path: str | None = None
    diff: bool = False
    json: str | None = None


def retune(options: Options, output: Output) -> None:
    """One file retuned: code out, table to standard error. Raises BadInput and Refused as the pipeline does."""
    screen = console()
    if output.in_place and options.path == STDIN:
        raise BadInput("-w can't write to standard input: use -o FILE")
    with open_job(options) as job:
        with progress(screen) as show:
            code, report = pipeline.retune(job.question, show)
        report = replace(report, notes=(*job.notes, *report.notes))
        _put(code, job, options, output)
        if output.json:
            _put_json(output.json, to_json(report))
        print_report(report, screen)


def inspect(options: Options, gpus: Sequence[str], json_path: str | None) -> None:
    """The configs of one file on each GPU, to standard output; several GPUs side by side."""
    screen = console()
    reports: list[Report] = []
    for gpu in gpus or (None,):
        with open_job(replace(options, gpu=gpu)) as job, progress(screen) as show:
            report = pipeline.inspect(job.question, show)
            reports.append(replace(report, notes=(*job.notes, *report.notes)))
    if json_path:
        _put_json(json_path, {"reports": [to_json(report) for report in reports]})
    if json_path == STDIN:
        return
    out = console(standard_output=True)
    if len(reports) == 1:
        print_report(reports[0], out)
    else:
        print_comparison(reports, out)


def _put(code: bytes, job: Job, options: Options, output: Output) -> None:
    if output.in_place:
        if code != job.question.code:
            write_whole(Path(options.path), job.whole(code))
    elif output.path:
        write_whole(Path(output.path), code)
    elif output.diff:
        sys.stdout.write(_diff(job.question.code, code, options.path))
    elif output.json != STDIN:
        sys.stdout.flush()
        sys.stdout.buffer.write(code)
        sys.stdout.buffer.flush()


def _put_json(path: str, value: object) -> None:
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    if path == STDIN:
        sys.stdout.write(text)
    else:
        write_whole(Path(path), text.encode())


def _diff(old: bytes, new: bytes, name: str) -> str:
    before, after = (text.decode(errors="replace").splitlines(keepends=True) for text in (old, new))
    lines = difflib.unified_diff(before, after, name, f"{name} (retuned)")
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )
