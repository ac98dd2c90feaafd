"""The steps of the verbs: each takes what the ones before it found out and adds to it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from codegen.config import Config, Source
from codegen.inputs import block_sides
from codegen.ncu import find_kernel
from codegen.outcome import BadInput, Rejected
from codegen.profile import Candidate, attribute, diagnose
from codegen.question import Question
from codegen.report import ProfileReport, Row, SiteReport
from codegen.rows import Meta, added, judged, originals, trimmed
from codegen.sites import Site, find_sites
from codegen.source import parse
from codegen.toolchain import Built, Compilation, Compiler, Launches, LiveSite, Progress
from codegen.verify import Against, Checked, Trial, verify


@dataclass(frozen=True)
class Launched:
    """An autotune site of the file, and the live kernel it became."""

    index: int  # into find_sites
    site: Site
    live: LiveSite

    @property
    def configs(self) -> tuple[Config, ...]:
        """As written where the syntax tree settles them, else as they are once the file is imported."""
        return self.site.configs or self.live.configs  # of an empty list Triton makes its default

    @property
    def must_stay_one(self) -> str | None:
        """Why no neighbour may join a single config; a hook that it has, its neighbours have too."""
        return self.site.why_one(self.configs, (*self.configs, *self.configs))

    @property
    def refusal(self) -> str | None:
        """Why the site can't be rewritten; None: it can."""
        if self.site.refusal is not None:
            return self.site.refusal
        if len(self.configs) != len(self.live.configs):
            return f"the file says {len(self.configs)} configs, but importing it makes {len(self.live.configs)}"
        if self.site.configs is None and not all(map(_can_be_written, self.live.configs)):
            return "its configs are made while the file runs and hold what can't be written as text (a hook, a type)"
        return None

    def report(self, rows: Sequence[Row]) -> SiteReport:
        note = f"left alone: {self.refusal}" if self.refusal else None
        return SiteReport(self.site.kernel, self.site.line, tuple(rows), note=note)


def _can_be_written(config: Config) -> bool:
    hooked = any(name == "pre_hook" for name, _ in config.extra)
    return not hooked and not any(isinstance(value, Source) for _, value in config.meta)


def sites_of(question: Question) -> tuple[Site, ...]:
    """The file's autotune sites. Raises BadInput when there are none, or it is no Python."""
    name = question.file.name
    try:
        sites = find_sites(question.code)
        if not sites:
            parse(question.code)  # what is no Python has no sites for another reason
    except BadInput as error:
        raise BadInput(f"{name}: {error}") from None
    if not sites:
        raise BadInput(f"{name}: no @triton.autotune over a @triton.jit kernel: nothing to tune")
    return sites


def record(question: Question, compiler: Compiler) -> Launches:
    """What the model, or the user's own run, launches."""
    if question.launch is not None:
        return compiler.run(question.launch)
    launches = compiler.launches(question.problem, question.inputs)
    for inputs in question.more_inputs:
        launches = replace(compiler.launches(question.problem, inputs), inputs=launches.inputs)
    return launches


def match(question: Question, sites: Sequence[Site], launches: Launches) -> list[Launched]:
    """Pairs each launched kernel of this file with its site. Raises BadInput when there is none."""
    pairs: list[Launched] = []
    for live in launches.sites:
        index = site_of(live, sites) if live.path == str(question.file.path) else None
        if index is not None and index not in [pair.index for pair in pairs]:
            pairs.append(Launched(index, sites[index], live))
    if not pairs:
        names = _names(site.kernel for site in sites)
        who = "the run" if question.launch else "ModelNew"
        ended = f" (it ended early: {launches.ended})" if launches.ended else ""
        raise BadInput(
            f"{question.file.name}: {who} launches no autotuned kernel of this file ({names}){ended}: "
            "if other inputs do, give them with --inputs or --problem, or name a run that does with --launch"
        )
    _check_metrics(question, pairs)
    return pairs


def site_of(live: LiveSite, sites: Sequence[Site]) -> int | None:
    """The index of the site a live kernel came from: same name, at or below its first decorator."""
    below = [
        i for i, site in enumerate(sites) if site.kernel == live.kernel and site.line >= live.line
    ]
    return below[0] if below else None


def _check_metrics(question: Question, launched: Sequence[Launched]) -> None:
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


def build_originals(
    question: Question, compiler: Compiler, launched: Sequence[Launched], progress: Progress
) -> dict[int, list[Row]]:
    """Each site's configs as rows, with what they need on the GPU."""
    jobs = [job for each in launched for job in each.live.compilations]
    results = iter(compiler.compile(jobs, lambda done: progress("compiling", done, len(jobs))))
    rows = {}
    for each in launched:
        built = [next(results) for _ in each.live.configs]
        # Where the file and its import disagree, what was compiled is what the import made.
        configs = each.configs if len(each.configs) == len(built) else each.live.configs
        rows[each.index] = originals(question.gpu, configs, built)
    return rows


def verify_originals(
    question: Question,
    launches: Launches,
    launched: Sequence[Launched],
    progress: Progress,
    stop: threading.Event,
) -> dict[int, dict[Meta, Checked]]:
    """Each site's distinct sets of meta-parameters, and how right the kernel is with them.

    Once per set: the interpreter doesn't see num_warps and num_stages. A run of the user's own says nothing
    of small inputs and of what is right: its kernels are not verified.
    """
    trials: dict[tuple[int, Meta], Trial] = {}
    for each in launched:
        for index, config in enumerate(each.live.configs):
            trials.setdefault((each.index, config.meta), Trial(each.live, index))
    checked: Sequence[Checked] = [None] * len(trials)
    if question.launch is None:
        checked = verify(
            question.file,
            question.gpu,
            list(trials.values()),
            launches.inputs,
            block_sides(config for each in launched for config in each.live.configs),
            Against(question.problem, question.reference),
            lambda done: progress("verifying", done, len(trials)),
            stop,
        )
    found: dict[int, dict[Meta, Checked]] = {each.index: {} for each in launched}
    for (index, meta), result in zip(trials, checked, strict=True):
        found[index][meta] = result
    return found


def judge(
    each: Launched, built: Mapping[int, list[Row]], checked: Mapping[int, Mapping[Meta, Checked]]
) -> list[Row]:
    """One site's rows, with those dropped that verification found wrong."""
    return judged(
        built[each.index], [config.meta for config in each.live.configs], checked[each.index]
    )


def profiled(question: Question, report: SiteReport) -> SiteReport:
    """The site with what the profile says of it, if there is one."""
    metrics = find_kernel(question.metrics, report.kernel) if question.metrics else None
    if metrics is None:
        return report
    shown = attribute(metrics, [candidate(question, row) for row in report.rows])
    diagnosis = diagnose(metrics, question.gpu, report.rows[shown[0]].occupancy if shown else None)
    bound = diagnosis.bound if diagnosis else None
    line = diagnosis.line if diagnosis else "too few metrics for a diagnosis"
    return replace(report, profile=ProfileReport(shown, bound, line + _meaning(report.rows, shown)))


def candidate(question: Question, row: Row) -> Candidate | None:
    """What a profile of this config must show; None for one that does not compile."""
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


def proposed(
    question: Question, compiler: Compiler, each: Launched, report: SiteReport, progress: Progress
) -> SiteReport:
    """The site with neighbours added or, where more are right than --max-configs, originals dropped.

    Raises BadInput when nothing would be left.
    """
    bound = report.profile.bound if report.profile else None
    limit = question.max_configs or question.stage.max_configs
    rows = list(report.rows)

    def compile_all(wanted: Sequence[tuple[int, Config]]) -> list[Built | Rejected]:
        jobs = [
            Compilation(each.live.index, origin, config.warps or 0, config.stages or 0)
            for origin, config in wanted
        ]
        return compiler.compile(
            jobs, lambda done: progress("compiling neighbours", done, len(jobs))
        )

    kept = sum(row.status == "kept" for row in rows)
    unsafe = each.must_stay_one
    if unsafe:
        report = replace(report, note=f"none added: {unsafe}")
    elif question.max_configs and kept > question.max_configs:
        rows = trimmed(rows, question.gpu, bound, question.max_configs)
    elif kept < limit:
        rows += added(rows, question.gpu, bound, question.stage, limit, compile_all)
    if all(row.status == "dropped" or not row.resources for row in rows):  # others are pruned
        reasons = "; ".join(f"{row.config}: {row.reason}" for row in rows[:3])
        raise BadInput(
            f"{question.file.at(report.line)}: no config of {report.kernel} can be kept on the "
            f"{question.gpu.name}, nor a neighbour within the stage's rules: {reasons}"
        )
    left = sum(row.status != "dropped" for row in rows)
    if left < min(limit, question.stage.min_configs) and report.note is None:
        note = f"the stage asks for {question.stage.min_configs} configs or more: no more are right and fit"
        report = replace(report, note=note)
    return replace(report, rows=tuple(rows))
