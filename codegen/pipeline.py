"""The verbs as lists of steps. Only `commands.py` reads options, prints, and touches the user's files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from codegen.config import Config
from codegen.gpu import GpuSpec
from codegen.inputs import InputSpec, block_sides
from codegen.ncu import KernelMetrics, find_kernel
from codegen.outcome import BadInput, Refused, Rejected
from codegen.profile import Candidate, attribute, diagnose
from codegen.report import ProfileReport, Report, Row, SiteReport
from codegen.rewrite import replace_configs
from codegen.rows import Meta, added, judged, originals, trimmed
from codegen.sites import Site, find_sites
from codegen.source import parse
from codegen.stage import DEFAULT_STAGE, StageRules
from codegen.toolchain import (
    Built,
    Compiler,
    Job,
    Launches,
    LiveSite,
    Progress,
    UserFile,
)
from codegen.verify import Against, Checked, Trial, verify


@dataclass(frozen=True)
class Question:
    """What a person asks about one file: everything but what to do with the answer."""

    file: UserFile
    code: bytes
    gpu: GpuSpec
    inputs: tuple[InputSpec, ...] | None = None
    problem: Path | None = None
    reference: str | None = None
    metrics: Mapping[str, KernelMetrics] | None = None
    stage: StageRules = DEFAULT_STAGE
    max_configs: int | None = None  # asked for: binds the originals too

    @property
    def guessed(self) -> bool:
        return self.inputs is None and self.problem is None


@dataclass(frozen=True)
class _Launched:
    """An autotune site of the file, and the live kernel it became."""

    index: int  # into find_sites
    site: Site
    live: LiveSite

    @property
    def configs(self) -> tuple[Config, ...]:
        """As written where the syntax tree settles them, else as they are once the file is imported."""
        written = self.site.configs
        return (
            written
            if written is not None and len(written) == len(self.live.configs)
            else self.live.configs
        )

    def site_report(self, rows: Sequence[Row]) -> SiteReport:
        return SiteReport(self.site.kernel, self.site.line, tuple(rows), note=self.site.refusal)


def inspect(question: Question, progress: Progress) -> Report:
    """What the file's configs need and do on the GPU, and what a profile says of them. Nothing is changed.

    Raises BadInput when the file can't be read, imported or launched.
    """
    sites = _sites_of(question)
    progress("importing", 0, 1)
    with Compiler(question.file, question.gpu) as compiler:
        launches = compiler.launches(question.problem, question.inputs)
        launched = _match(question, sites, launches)
        rows = _build(question, compiler, launched, progress)
    reports = [_profiled(question, each.site_report(rows[each.index])) for each in launched]
    return _report(question, launches, sites, reports, "compiled, not run")


def retune(question: Question, progress: Progress) -> tuple[bytes, Report]:
    """The file with better config lists, and why they are better. Nothing is written.

    Raises BadInput when the file can't be used or no config of a kernel can be kept; Refused when its configs
    contradict each other, or when none of its sites can be rewritten.
    """
    sites = _sites_of(question)
    progress("importing", 0, 1)
    with Compiler(question.file, question.gpu) as compiler:
        launches = compiler.launches(question.problem, question.inputs)
        launched = _match(question, sites, launches)
        with ThreadPoolExecutor(1) as beside:
            checking = beside.submit(_verify, question, launches, launched, progress)
            built = _build(question, compiler, launched, progress)
            checked = checking.result()
        reports, changes = [], {}
        for each in launched:
            metas = [config.meta for config in each.live.configs]
            rows = judged(built[each.index], metas, checked[each.index])
            report = _profiled(question, each.site_report(rows))
            if each.site.refusal is None:
                report = _proposed(question, compiler, each, report, progress)
                changes[each.index] = [row.config for row in report.rows if row.status != "dropped"]
            reports.append(report)
    if not changes:
        raise Refused(
            "; ".join(
                f"{question.file.name}:{each.site.line}: {each.site.refusal}" for each in launched
            )
        )
    code = replace_configs(question.code, changes)
    return code, _report(question, launches, sites, reports, _verdict(reports))


def _sites_of(question: Question) -> tuple[Site, ...]:
    try:
        sites = find_sites(question.code)
        if not sites:
            parse(question.code)  # what is no Python has no sites for another reason
    except BadInput as error:
        raise BadInput(f"{question.file.name}: {error}") from None
    if not sites:
        raise BadInput(
            f"{question.file.name}: no @triton.autotune over a @triton.jit kernel: nothing to tune"
        )
    return sites


def _match(question: Question, sites: Sequence[Site], launches: Launches) -> list[_Launched]:
    """Pairs each launched kernel of this file with its site: same name, at or below its first decorator."""
    pairs: list[_Launched] = []
    for live in launches.sites:
        if live.path != str(question.file.path):
            continue
        at = [
            i
            for i, site in enumerate(sites)
            if site.kernel == live.kernel and site.line >= live.line
        ]
        if at and at[0] not in [pair.index for pair in pairs]:
            pairs.append(_Launched(at[0], sites[at[0]], live))
    if not pairs:
        names = _names(site.kernel for site in sites)
        raise BadInput(
            f"{question.file.name}: ModelNew launches no autotuned kernel of this file ({names}): "
            "if other inputs do, give them with --inputs or --problem"
        )
    _check_metrics(question, pairs)
    return pairs


def _check_metrics(question: Question, launched: Sequence[_Launched]) -> None:
    """Raises BadInput for a profile in which none of the launched kernels occurs."""
    metrics = question.metrics
    if metrics and not any(find_kernel(metrics, each.site.kernel) for each in launched):
        raise BadInput(
            f"{question.file.name}: the metrics are of {_names(metrics)}, the file launches "
            f"{_names(each.site.kernel for each in launched)}: profile that kernel, or leave the metrics out"
        )


def _names(names: Iterable[str]) -> str:
    shown = [name[:60] for name in dict.fromkeys(names)]
    return ", ".join(shown[:4]) + (", ..." if len(shown) > 4 else "")


def _build(
    question: Question, compiler: Compiler, launched: Sequence[_Launched], progress: Progress
) -> dict[int, list[Row]]:
    """Each site's configs as rows, with what they need on the GPU."""
    jobs = [
        Job(each.live.index, index, config.warps or 0, config.stages or 0)
        for each in launched
        for index, config in enumerate(each.live.configs)
    ]
    results = iter(compiler.compile(jobs, lambda done: progress("compiling", done, len(jobs))))
    return {
        each.index: originals(question.gpu, each.configs, [next(results) for _ in each.configs])
        for each in launched
    }


def _verify(
    question: Question, launches: Launches, launched: Sequence[_Launched], progress: Progress
) -> dict[int, dict[Meta, Checked]]:
    """Each site's distinct sets of meta-parameters, and how right the kernel is with them.

    Once per set: the interpreter doesn't see num_warps and num_stages.
    """
    trials: dict[tuple[int, Meta], Trial] = {}
    for each in launched:
        for index, config in enumerate(each.live.configs):
            trials.setdefault((each.index, config.meta), Trial(each.live, index))
    checked = verify(
        question.file,
        question.gpu,
        list(trials.values()),
        launches.inputs,
        block_sides(config for each in launched for config in each.live.configs),
        Against(question.problem, question.reference),
        lambda done: progress("verifying", done, len(trials)),
    )
    found: dict[int, dict[Meta, Checked]] = {each.index: {} for each in launched}
    for (index, meta), result in zip(trials, checked, strict=True):
        found[index][meta] = result
    return found


def _profiled(question: Question, report: SiteReport) -> SiteReport:
    """The site with what the profile says of it, if there is one."""
    metrics = find_kernel(question.metrics, report.kernel) if question.metrics else None
    if metrics is None:
        return report
    shown = attribute(metrics, [_candidate(question, row) for row in report.rows])
    diagnosis = diagnose(metrics, question.gpu, report.rows[shown[0]].occupancy if shown else None)
    bound, line = (
        (diagnosis.bound, diagnosis.line)
        if diagnosis
        else (None, "too few metrics for a diagnosis")
    )
    return replace(
        report, profile=ProfileReport(shown, bound, f"{line}{_meaning(report.rows, shown)}")
    )


def _candidate(question: Question, row: Row) -> Candidate | None:
    if row.resources is None or row.occupancy is None:
        return None
    return Candidate(
        row.grid,
        row.occupancy.percent,
        question.guessed,
        row.resources.num_warps * question.gpu.warp_size,
        row.resources.registers,
        row.resources.shared_bytes,
    )


def _meaning(rows: Sequence[Row], shown: Sequence[int]) -> str:
    """What follows for the metrics from which configs they show."""
    if not shown:
        return "; it fits none of these configs, so it says little about them"
    if all(rows[index].dropped_at == "verify" for index in shown):
        return (
            "; this is a profile of a config that computes a wrong result: the autotuner picked it because it "
            "skips work, so these figures say nothing of the right ones"
        )
    return ""


def _proposed(
    question: Question, compiler: Compiler, each: _Launched, report: SiteReport, progress: Progress
) -> SiteReport:
    """The site with neighbours added or, where more are right than --max-configs, originals dropped."""
    bound = report.profile.bound if report.profile else None
    limit = question.max_configs or question.stage.max_configs
    rows = list(report.rows)

    def compile_all(wanted: Sequence[tuple[int, Config]]) -> list[Built | Rejected]:
        jobs = [
            Job(each.live.index, origin, config.warps or 0, config.stages or 0)
            for origin, config in wanted
        ]
        return compiler.compile(
            jobs, lambda done: progress("compiling neighbours", done, len(jobs))
        )

    kept = sum(row.status == "kept" for row in rows)
    if question.max_configs and kept > question.max_configs:
        rows = trimmed(rows, question.gpu, bound, question.max_configs)
    elif kept < limit:
        rows += added(rows, question.gpu, bound, question.stage, limit, compile_all)
    if all(row.status == "dropped" for row in rows):
        reasons = "; ".join(f"{row.config}: {row.reason}" for row in rows[:3])
        raise BadInput(
            f"{question.file.name}:{report.line}: no config of {report.kernel} can be kept on the "
            f"{question.gpu.name}, nor a neighbour within the stage's rules: {reasons}"
        )
    return replace(report, rows=tuple(rows))


def _verdict(reports: Sequence[SiteReport]) -> str:
    kept = [row for report in reports for row in report.rows if row.status != "dropped"]
    if all(row.accuracy is not None for row in kept):
        return "verified, not measured"
    return "ran in the interpreter but compared with nothing (give --reference or --problem), not measured"


def _report(
    question: Question,
    launches: Launches,
    sites: Sequence[Site],
    reports: Sequence[SiteReport],
    verdict: str,
) -> Report:
    seen = {report.line for report in reports}
    idle = tuple(
        f"{question.file.name}:{site.line}: {site.kernel} is not launched for these inputs: left alone"
        for site in sites
        if site.line not in seen
    )
    return Report(
        question.file.name,
        question.gpu,
        launches.inputs,
        question.guessed,
        tuple(reports),
        True,
        verdict,
        idle,
    )
