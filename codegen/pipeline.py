"""The verbs as lists of steps. Only `tune.py` prints and touches the user's files."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from codegen.config import Config
from codegen.here import gpu_here
from codegen.outcome import Refused
from codegen.question import Question
from codegen.report import Report, Row, SiteReport, no_longer_read
from codegen.rewrite import left_over, replace_configs
from codegen.sections import MODEL_CLASS
from codegen.sites import Site
from codegen.steps import (
    Launched,
    build_originals,
    judge,
    match,
    profiled,
    proposed,
    record,
    sites_of,
    verify_originals,
)
from codegen.toolchain import Compiler, Launches, Progress


def compiler_for(question: Question) -> Compiler:
    """Where the target is in this machine a run of the user's own is a real one; else it is on fake tensors."""
    here = gpu_here() if question.launch is not None else None
    return Compiler(
        question.file, question.gpu, here=here is not None and here.key == question.gpu.key
    )


def inspect(question: Question, progress: Progress) -> Report:
    """What the file's configs need and do on the GPU, and what a profile says of them. Nothing is changed.

    Raises BadInput when the file can't be read, imported or launched.
    """
    sites = sites_of(question)
    progress("importing", 0, 1)
    with compiler_for(question) as compiler:
        launches = record(question, compiler)
        launched = match(question, sites, launches)
        rows = build_originals(question, compiler, launched, progress)
    reports = [profiled(question, each.report(rows[each.index])) for each in launched]
    return report_of(question, launches, sites, reports, "compiled, not run")


def retune(question: Question, progress: Progress) -> tuple[bytes, Report]:
    """The file with better config lists, and why they are better. Nothing is written.

    Raises BadInput when the file can't be used or no config of a kernel can be kept; Refused when its configs
    contradict each other, or when none of its sites can be rewritten.
    """
    sites = sites_of(question)
    progress("importing", 0, 1)
    with compiler_for(question) as compiler:
        launches = record(question, compiler)
        launched = match(question, sites, launches)
        refuse_unwritable(question, launched)
        stop = threading.Event()
        with ThreadPoolExecutor(1) as beside:
            checking = beside.submit(verify_originals, question, launches, launched, progress, stop)
            try:
                built = build_originals(question, compiler, launched, progress)
                checked = checking.result()
            finally:
                stop.set()  # after a failure or Ctrl-C there is nothing left to verify for
        reports, changes = [], {}
        for each in launched:
            report = profiled(question, each.report(judge(each, built, checked)))
            if each.refusal is None:
                report = proposed(question, compiler, each, report, progress)
                configs = tuple(row.config for row in report.rows if row.status != "dropped")
                if configs != each.configs:
                    changes[each.index] = configs
            reports.append(report)
    code = rewritten(question, launched, changes)
    verdict = _verdict(question, reports)
    return code, report_of(question, launches, sites, reports, verdict, unread(question, code))


def rewritten(
    question: Question, launched: Sequence[Launched], changes: Mapping[int, Sequence[Config]]
) -> bytes:
    """The file with other configs at some sites. Raises Refused, naming the file, for one that can't be rewritten."""
    try:
        live = {each.index: each.live.configs for each in launched}
        return replace_configs(question.code, changes, question.at_definition, live)
    except Refused as refusal:
        raise Refused(f"{question.file.name}: {refusal}") from None


def refuse_unwritable(question: Question, launched: Sequence[Launched]) -> None:
    """Raises Refused when none of the sites can be rewritten."""
    if all(each.refusal for each in launched):
        raise Refused(
            "; ".join(f"{question.file.at(each.site.line)}: {each.refusal}" for each in launched)
        )


def unread(question: Question, code: bytes) -> tuple[str, ...]:
    """A note for each name that only the replaced configs read."""
    return tuple(
        f"{question.file.at(line)}: {no_longer_read(name)}"
        for line, name in (left_over(question.code, code) if code != question.code else ())
    )


def is_launched(question: Question) -> bool:
    """Whether anything may launch the file's kernels: its own model, or a run of the user's own."""
    return question.launch is not None or MODEL_CLASS.encode() in question.code


def unlaunched(question: Question) -> Report:
    """The report of a file whose kernels nothing launches: what it says, and what can't be known of that.

    Raises BadInput when there are no autotune sites, or the file is no Python.
    """
    reports = []
    for site in sites_of(question):
        rows = [Row(config, "original", "kept", "original") for config in site.configs or ()]
        live = "its configs are only known once the file runs" if site.configs is None else None
        reports.append(SiteReport(site.kernel, site.line, tuple(rows), note=live))
    why = (
        f"{question.file.name}: no ModelNew launches its kernels, so what they need, whether they are right and "
        "how fast they are can't be known, and nothing is changed: name a run that launches them, as in "
        "--launch 'pytest tests/test_it.py', or write configs found elsewhere with --set"
    )
    return Report(question.file.name, question.gpu, (), False, tuple(reports), False, why)


def refused(question: Question, refusal: Refused) -> Report:
    """The report of a file for which nothing acceptable can be written."""
    inputs, guessed = question.inputs or (), question.guessed
    return Report(question.file.name, question.gpu, inputs, guessed, (), False, str(refusal))


def _verdict(question: Question, reports: Sequence[SiteReport]) -> str:
    kept = [row for report in reports for row in report.rows if row.status != "dropped"]
    tried = [row for row in kept if not row.untried]
    if tried and all(row.accuracy is not None for row in tried):
        return "verified, not measured"
    if question.launch:
        return "fits the GPU, not verified (there is no ModelNew to call on small inputs), not measured"
    return "ran in the interpreter but compared with nothing (give --reference or --problem), not measured"


def report_of(
    question: Question,
    launches: Launches,
    sites: Sequence[Site],
    reports: Sequence[SiteReport],
    verdict: str,
    notes: tuple[str, ...] = (),
) -> Report:
    """The report on the launched sites, with a note for each that is not."""
    seen = {report.line for report in reports}
    idle = tuple(
        f"{question.file.at(site.line)}: {site.kernel} is not launched: left alone"
        for site in sites
        if site.line not in seen
    )
    really = (f"the run was a real one, on this {question.gpu.name}",) if launches.really else ()
    ended = (f"the run ended early: {launches.ended}",) if launches.ended else ()
    return Report(
        question.file.name,
        question.gpu,
        launches.inputs,
        question.guessed,
        tuple(reports),
        True,
        verdict,
        (*really, *ended, *idle, *notes),
    )
