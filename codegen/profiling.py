"""`codegen profile` as a list of steps: compile, choose a config, run it under Nsight Compute, read it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codegen.counters import prompt_form
from codegen.evidence import Machine
from codegen.inputs import InputSpec, describe
from codegen.local_gpu import LocalGpu, Timed, load_question
from codegen.ncu import KernelMetrics, find_kernel, read_metrics
from codegen.nsight import Nsight
from codegen.outcome import BadInput, Refused
from codegen.profile import Diagnosis, diagnose, unlike_predicted
from codegen.question import Question
from codegen.report import Row
from codegen.steps import (
    Launched,
    build_originals,
    candidate,
    judge,
    match,
    record,
    sites_of,
    verify_originals,
)
from codegen.toolchain import Compiler, Launches, Progress


@dataclass(frozen=True)
class Wanted:
    """What of a file is to be profiled; None: every autotuned kernel, the config that would run."""

    kernel: str | None = None
    config: int | None = None


@dataclass(frozen=True)
class Choice:
    """A config to profile, and how it came to be chosen."""

    index: int
    why: str


@dataclass(frozen=True)
class Shown:
    """One kernel as Nsight Compute saw it."""

    kernel: str
    line: int
    choice: Choice
    row: Row  # what was known of the config before
    metrics: KernelMetrics
    surprises: tuple[str, ...]  # where the profile differs from that
    diagnosis: Diagnosis | None


@dataclass(frozen=True)
class Profile:
    """One file on the GPU of this machine."""

    name: str
    machine: Machine
    nsight: str  # its version
    inputs: tuple[InputSpec, ...]
    guessed: bool
    kernels: tuple[Shown, ...]
    notes: tuple[str, ...] = ()


def profile(
    question: Question,
    wanted: Wanted,
    gpu: LocalGpu,
    machine: Machine,
    nsight: Nsight,
    progress: Progress,
) -> Profile:
    """Runs the file's kernels on this machine's GPU, one launch of one config each seen by Nsight Compute.

    Raises BadInput when the file or Nsight Compute can't be used; Refused for a config that can't launch.
    """
    sites = sites_of(question)
    progress("importing", 0, 1)
    with Compiler(question.file, question.gpu) as compiler:
        launches = record(question, compiler)
        launched = match(question, sites, launches)
        picked = pick(question, launched, wanted)
        rows = build_originals(question, compiler, launched, progress)
    inputs = None if question.problem and question.inputs is None else launches.inputs
    notes: tuple[str, ...] = ()
    if wanted.config is not None:
        choices = {picked[0].index: Choice(wanted.config, "as asked")}
    else:
        progress("autotuning", 0, 1)
        timed = gpu.timings(question.file, question.problem, inputs)
        rows, notes = _verified(question, launches, launched, rows, progress)
        choices = {each.index: choose(rows[each.index], _of(each, timed)) for each in launched}
    for each in picked:
        _refuse_unfit(question, each, choices[each.index].index, rows[each.index])
    progress("profiling", 0, 1)
    text = nsight.run(
        [
            load_question(question.file, question.problem, inputs),
            _profile_question(question, launched, picked, choices),
        ],
        question.file.name,
    )
    metrics = read_metrics(text)
    shown = tuple(
        _shown(question, each, choices[each.index], rows[each.index], metrics, len(picked))
        for each in picked
    )
    return Profile(
        question.file.name, machine, nsight.version, launches.inputs, question.guessed, shown, notes
    )


def pick(question: Question, launched: Sequence[Launched], wanted: Wanted) -> list[Launched]:
    """The kernels to profile. Raises BadInput when those asked for are not there, or not one."""
    name = question.file.name
    named = [each for each in launched if wanted.kernel in (None, each.site.kernel)]
    there = ", ".join(dict.fromkeys(each.site.kernel for each in launched))
    if not named:
        raise BadInput(f"{name}: launches no autotuned kernel {wanted.kernel}, only {there}")
    if wanted.config is None:
        return named
    if len(named) > 1:
        raise BadInput(
            f"{name}: launches {there}: say with --kernel whose config {wanted.config} is"
        )
    count = len(named[0].live.configs)
    if wanted.config >= count:
        raise BadInput(
            f"{question.file.at(named[0].site.line)}: {named[0].site.kernel} has no config {wanted.config}: "
            f"they are 0 to {count - 1}, as `codegen inspect` numbers them"
        )
    return named


def _verified(
    question: Question,
    launches: Launches,
    launched: Sequence[Launched],
    rows: dict[int, list[Row]],
    progress: Progress,
) -> tuple[dict[int, list[Row]], tuple[str, ...]]:
    """The rows with what the interpreter says of them, and a note where it could not say anything."""
    if all(len(each.live.configs) == 1 for each in launched):
        return rows, ()
    try:
        checked = verify_originals(question, launches, launched, progress, threading.Event())
    except (BadInput, Refused) as failure:
        return rows, (f"which configs are right is not known: {failure}",)
    return {each.index: judge(each, rows, checked) for each in launched}, ()


def _of(each: Launched, timed: Sequence[Timed]) -> Timed | None:
    key = each.live.kernel, each.live.line
    return next((one for one in timed if (one.kernel, one.line) == key), None)


def choose(rows: Sequence[Row], own: Timed | None) -> Choice:
    """The fastest config that is not known to be wrong, by the autotuner's own times."""
    if len(rows) == 1:
        return Choice(0, "its only config")
    if own is None or own.best is None:
        return Choice(0, "its first config: the autotuner chose none of the list")
    times = {index: time for index, time in enumerate(own.times_us) if time is not None}
    if not times:
        return Choice(own.best, "the autotuner's choice, untimed: its pruning left no other")
    right = [index for index in times if rows[index].dropped_at != "verify"]
    best = min(right or times, key=lambda index: times[index])
    said = f"{times[best]:,.0f} µs, the fastest of {len(times)} by Triton's autotuner"
    if not right:
        return Choice(best, f"{said}, though {rows[best].reason}")
    faster = sorted((index for index in times if times[index] < times[best]), key=times.__getitem__)
    if not faster:
        return Choice(best, said)
    wrong = ", ".join(f"#{index} ({times[index]:,.0f} µs)" for index in faster)
    return Choice(
        best,
        f"{times[best]:,.0f} µs, the fastest right one of {len(times)} by Triton's autotuner, which would "
        f"choose a wrong one: {wrong}",
    )


def _refuse_unfit(question: Question, each: Launched, index: int, rows: Sequence[Row]) -> None:
    row = rows[index]
    if row.resources is None or row.dropped_at == "launch":
        raise Refused(
            f"{question.file.at(each.site.line)}: config {index} of {each.site.kernel} ({row.config}) "
            f"{row.reason.partition('; and ')[0]}: nothing to profile"
        )


def _profile_question(
    question: Question,
    launched: Sequence[Launched],
    picked: Sequence[Launched],
    choices: Mapping[int, Choice],
) -> dict[str, Any]:
    chosen = [
        (each.live.kernel, each.live.line, choices[each.index].index)
        for each in launched
        if each.index in choices
    ]
    return {
        "op": "profile",
        "path": str(question.file.path),
        "chosen": chosen,
        "shown": [(each.live.kernel, each.live.line) for each in picked],
    }


def _shown(
    question: Question,
    each: Launched,
    choice: Choice,
    rows: Sequence[Row],
    metrics: Mapping[str, KernelMetrics],
    kernels: int,
) -> Shown:
    kernel = each.site.kernel
    found = find_kernel(metrics, kernel)
    if found is None and len(metrics) == kernels == 1:
        (found,) = metrics.values()  # the kernel has a name of its own making (triton.jit's repr)
    if found is None:
        raise BadInput(
            f"{question.file.name}: Nsight Compute shows {', '.join(metrics)}, and not {kernel}"
        )
    row = rows[choice.index]
    predicted = candidate(question, row)
    assert predicted is not None and row.occupancy is not None
    return Shown(
        kernel,
        each.site.line,
        choice,
        row,
        found,
        unlike_predicted(found, predicted),
        diagnose(found, question.gpu, row.occupancy),
    )


def metrics_of(profile: Profile) -> dict[str, dict[str, int | float]]:
    """The metrics as the prompts give them: {kernel: {metric: value}}."""
    return {each.kernel: prompt_form(each.metrics) for each in profile.kernels}


def to_json(profile: Profile, source: str, date: str) -> dict[str, dict[str, Any]]:
    """The metrics, and beside those of each kernel, under `profiled`, how they came to be.

    `source` is the SHA-256 of the code, `date` ISO 8601. `codegen retune --ncu` reads it back.
    """
    machine = profile.machine
    common = {
        "gpu": machine.gpu,
        "uuid": machine.uuid,
        "driver": machine.driver,
        "cuda": machine.cuda,
        "torch": machine.torch,
        "triton": machine.triton,
        "nsight_compute": profile.nsight,
        "clocks": "not controlled",
        "inputs": list(describe(profile.inputs)),
        "source_sha256": source,
        "date": date,
    }
    metrics = metrics_of(profile)
    return {
        each.kernel: {**metrics[each.kernel], "profiled": _how(each) | common}
        for each in profile.kernels
    }


def _how(each: Shown) -> dict[str, Any]:
    return {
        "config": {
            "index": each.choice.index,
            "meta": {
                name: value if isinstance(value, int | float | str | None) else str(value)
                for name, value in each.row.config.meta
            },
            "num_warps": each.row.config.warps,
            "num_stages": each.row.config.stages,
        },
        "chosen": each.choice.why,
        "launches": each.metrics.launches,
        "unlike_predicted": list(each.surprises),
        "diagnosis": each.diagnosis
        and {"bound": each.diagnosis.bound, "line": each.diagnosis.line},
    }
