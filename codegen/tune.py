"""What `codegen retune` and `codegen inspect` do around the pipeline: read, print, write."""

from __future__ import annotations

import difflib
import io
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from codegen import pipeline
from codegen.benches import is_to_be_measured, on_this_gpu, remark, why_not_measured
from codegen.config import Config
from codegen.interchange import Sets, read_sets
from codegen.job import STDIN, Job, Options, open_job, read_input
from codegen.keep import dossier_of, keep
from codegen.measured import Retuned, retune_measured
from codegen.outcome import BadInput, Refused
from codegen.present import console, print_comparison, print_report, progress
from codegen.question import Question
from codegen.report import Report, no_longer_read, to_json
from codegen.rewrite import left_over, replace_configs
from codegen.sites import Site, find_sites
from codegen.write import write_whole
from codegen.writing import same


@dataclass(frozen=True)
class Output:
    """Where the answer goes: in place, to a file, as a diff, or (none of these) to standard output."""

    in_place: bool = False
    path: str | None = None
    diff: bool = False
    json: str | None = None


def retune(options: Sequence[Options], output: Output) -> None:
    """Files retuned one by one: code out, tables to standard error.

    Raises BadInput and Refused as the pipeline does, after the other files are done.
    """
    screen = console()
    if output.in_place and any(each.path == STDIN for each in options):
        raise BadInput("-w can't write to standard input: use -o FILE")
    if output.json == STDIN and output.diff:
        raise BadInput("--diff and --json - both go to standard output: give --json a file")
    for path in filter(None, (output.path, output.json)):
        if path != STDIN and not Path(path).absolute().parent.is_dir():
            raise BadInput(f"{path}: can't write there: no such folder")
    reports: list[Report] = []
    failures: list[BadInput | Refused] = []
    for each in options:
        try:
            report = _retune_one(each, output, screen)
            reports.append(report)
            if not report.accepted:
                failures.append(Refused(report.verdict))
        except (BadInput, Refused) as failure:
            failures.append(failure)
    if output.json and reports:
        data = [to_json(report) for report in reports]
        _put_json(output.json, data[0] if len(options) == 1 else {"reports": data})
    raise_all(failures)


def _retune_one(options: Options, output: Output, screen: Console) -> Report:
    with open_job(options) as job:
        if not pipeline.is_launched(job.question):
            report = pipeline.unlaunched(job.question)
            print_report(report, screen, verdict=False)
            return report
        try:
            retuned = _retuned(job.question, options.measure, screen)
        except Refused as refusal:
            return pipeline.refused(job.question, refusal)
        report = replace(retuned.report, notes=(*job.notes, *retuned.report.notes))
        _put(retuned.code, job, options.path, output)
        print_report(report, screen)
        target = options.path if output.in_place else output.path
        if retuned.acceptance and retuned.code != job.question.code and target not in (None, STDIN):
            for path in keep(dossier_of(retuned.acceptance), Path(target)):
                screen.print(f"wrote {path}", soft_wrap=True)
    return report


def _retuned(question: Question, measure: bool | None, screen: Console) -> Retuned:
    """By measuring where that is asked for or can be done, else without."""
    if is_to_be_measured(question, measure):
        with on_this_gpu() as bench, progress(screen) as show:
            return retune_measured(question, bench, show)
    if question.more_inputs:
        raise BadInput(
            f"{question.file.name}: several --inputs can only be weighed by timing them: {why_not_measured(question) or 'leave --no-measure out'}"
        )
    with progress(screen) as show:
        code, report = pipeline.retune(question, show)
    report = replace(report, notes=(*report.notes, *remark(question, measure)))
    return Retuned(code, report, None)


def set_configs(path: str, files: Sequence[str], output: Output, at_definition: bool) -> None:
    """Writes the configs of a --set file into their sites, as given: nothing is compiled or run.

    Raises BadInput when the set names what is not there, Refused for a site that can't be rewritten; the
    files without such trouble are written all the same.
    """
    screen = console()
    try:
        sets = read_sets(read_input(path).decode(errors="replace"))
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None
    names = files or [name for name in sets if sets[name]]
    if len(names) > 1 and not (output.in_place or output.diff):
        raise BadInput(f"{path}: the set names {len(names)} files: give -w or --diff")
    if output.in_place and STDIN in names:
        raise BadInput("-w can't write to standard input: use -o FILE")
    failures: list[BadInput | Refused] = []
    report: list[dict[str, object]] = []
    for file in names:
        try:
            code = read_input(file)
            sites = find_sites(code)
            changes = _changes(file, sites, sets)
            new = replace_configs(code, changes, at_definition)
            behind = left_over(code, new) if new != code else ()
            _put_code(new, code, file, output)
        except (BadInput, Refused) as failure:
            said = str(failure) if str(failure).startswith(file) else f"{file}: {failure}"
            failures.append(type(failure)(said))
            report.append({"file": file, "failure": said})
            continue
        outcomes = [(sites[i], len(new), same(sites[i].configs, new)) for i, new in changes.items()]
        for site, count, as_it_was in outcomes:
            if not as_it_was:
                many = f"{count} config{'' if count == 1 else 's'}"
                _say(screen, f"{file}:{site.line}: {site.kernel}: set to {many}, not verified")
        for line, name in behind:
            _say(screen, f"{file}:{line}: {no_longer_read(name)}")
        report.append(
            {
                "file": file,
                "sites": [
                    {"kernel": s.kernel, "line": s.line, "configs": count, "changed": not as_it_was}
                    for s, count, as_it_was in outcomes
                ],
                "left_behind": [{"line": line, "name": name} for line, name in behind],
            }
        )
    if output.json:
        _put_json(output.json, {"reports": report})
    raise_all(failures)


def _say(screen: Console, line: str) -> None:
    screen.print(line, soft_wrap=True)


def _changes(file: str, sites: Sequence[Site], sets: Sets) -> dict[int, tuple[Config, ...]]:
    """The new lists by the index of their site. Raises BadInput for what names none, or one twice."""
    given = next((sets[name] for name in sets if _same_path(name, file)), None)
    if given is None:
        raise BadInput(
            f"{file}: the set has no configs for it, only for {', '.join(sets) or 'nothing'}"
        )
    changes: dict[int, tuple[Config, ...]] = {}
    for kernel in dict.fromkeys(kernel for kernel, _, _ in given):
        named = [i for i, site in enumerate(sites) if site.kernel == kernel]
        entries = [(line, configs) for name, line, configs in given if name == kernel]
        # Lines move when a file is edited: where each namesake has an entry, their order tells them apart.
        if len(named) != len(entries):
            lines = {sites[i].line: i for i in named}
            unknown = [line for line, _ in entries if line not in lines]
            if unknown or len({line for line, _ in entries}) != len(entries):
                at = ", ".join(map(str, lines)) or "none"
                raise BadInput(
                    f"{file}: {kernel}: the set names {len(entries)} autotune site(s) of that name, by "
                    f"lines that do not tell which: they are at line {at}"
                    if named
                    else f"{file}: {kernel}: no autotune site of that name"
                )
            named = [lines[line or 0] for line, _ in entries]
        changes |= {
            index: configs
            for index, (_, configs) in zip(named, entries, strict=True)
            if configs is not None
        }
    return changes


def _same_path(one: str, other: str) -> bool:
    return one == other or (
        STDIN not in (one, other) and Path(one).resolve() == Path(other).resolve()
    )


def raise_all(failures: Sequence[BadInput | Refused]) -> None:
    """Raises what went wrong, as one failure of the worse kind, a line each; nothing where nothing did."""
    if failures:
        worst = BadInput if any(isinstance(failure, BadInput) for failure in failures) else Refused
        raise worst("\n".join(map(str, failures)))


def inspect(options: Options, gpus: Sequence[str], json_path: str | None) -> None:
    """The configs of one file on each GPU, to standard output; several GPUs side by side."""
    screen = console()
    reports: list[Report] = []
    if options.path == STDIN and len(gpus) > 1:
        raise BadInput("standard input can be read once: name a file to compare GPUs")
    for gpu in gpus or (None,):
        with open_job(replace(options, gpu=gpu)) as job, progress(screen) as show:
            report = pipeline.inspect(job.question, show)
            reports.append(replace(report, notes=(*job.notes, *report.notes)))
    if json_path:
        _put_json(json_path, {"reports": [to_json(report) for report in reports]})
    if json_path == STDIN:
        return
    # Room for each GPU's group of columns: a narrow terminal folds lines, which beats cutting them.
    out = console(standard_output=True, at_least=60 + 40 * len(reports))
    if len(reports) == 1:
        print_report(reports[0], out)
    else:
        print_comparison(reports, out)


def _put(code: bytes, job: Job, path: str, output: Output) -> None:
    if output.diff:
        _put_code(job.whole(code), job.whole(job.question.code), path, output)
    elif not output.in_place:
        _put_code(job.bare(code), job.bare(job.question.code), path, output)
    elif code != job.question.code:
        if read_input(path) != job.whole(job.question.code):
            raise BadInput(f"{path}: changed while it was retuned: nothing is written, run again")
        write_whole(Path(path), job.whole(code))


def _put_code(code: bytes, before: bytes, path: str, output: Output) -> None:
    if output.in_place:
        if code != before:
            write_whole(Path(path), code)
    elif output.path:
        write_whole(Path(output.path), code)
    elif output.diff:
        _print_bytes(_diff(before, code, path))
    elif output.json != STDIN:
        _print_bytes(code)


def _print_bytes(data: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()  # before the table, where both go to one place


def _put_json(path: str, value: object) -> None:
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    if path == STDIN:
        sys.stdout.write(text)
    else:
        write_whole(Path(path), text.encode())


def _diff(old: bytes, new: bytes, name: str) -> bytes:
    """The change as `patch` takes it: in the file's own bytes, and lines end with a line feed alone."""
    before, after = (io.BytesIO(text).readlines() for text in (old, new))
    file = os.fsencode(name)
    lines = difflib.diff_bytes(difflib.unified_diff, before, after, file, file + b" (retuned)")
    return b"".join(
        line if line.endswith(b"\n") else line + b"\n\\ No newline at end of file\n"
        for line in lines
    )
