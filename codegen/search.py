"""`codegen render --measure` as a list of steps: the configs of a rendered file, found by timing. Nothing is printed
or written here.

A family's whole search space is rendered as one file whose lists hold every candidate, and is swept like any other
file. The kernels that the problem's own sizes launch are timed on those; the others, which are there for operands
that descriptors cannot take and that are not worth copying, on sizes one larger, or thinner: see `odd_sizes`.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from codegen.accept import Acceptance, accept, compiled_by
from codegen.benches import awake
from codegen.config import Config
from codegen.contest import Terms
from codegen.cover import cover
from codegen.families import find_family
from codegen.final import LIBRARY
from codegen.fitting import forward_inputs, odd_sizes
from codegen.gpu import GpuSpec
from codegen.judge import fault_of
from codegen.measure import Bench
from codegen.outcome import Refused
from codegen.precision import promise_of
from codegen.question import Question
from codegen.render import MAX_CONFIGS, MIN_CONFIGS, render
from codegen.report import Report, Row, SiteReport
from codegen.spec import Configs, Spec, Wanted
from codegen.steps import match, sites_of
from codegen.sweep import Tried, own, sweep
from codegen.toolchain import Compiler, Progress, UserFile
from codegen.verify import Against

Field = Mapping[str, Sequence[Tried]]  # of each kernel, by its name: every candidate


@dataclass(frozen=True)
class Searched:
    """What came of it: the spec with the configs that are fastest, and all that this rests on."""

    spec: Spec
    report: Report
    acceptance: Acceptance


def question_of(wanted: Wanted) -> Question:
    """What is asked of the rendered file; the file is not there yet."""
    name = wanted.model.name if wanted.model else wanted.problem.family
    given = None if wanted.model else forward_inputs(wanted.problem)
    return Question(
        file=UserFile(f"{name} for the {wanted.gpu.name}", Path()),
        code=b"",
        gpu=wanted.gpu,
        inputs=given,
        more_inputs=tuple(map(forward_inputs, wanted.more_shapes)),
        problem=wanted.model and wanted.model.resolve(),
        reference=None if wanted.model else wanted.problem.reference,
    )


def search(wanted: Wanted, bench: Bench, progress: Progress) -> Searched:
    """The spec with, for every kernel, the three to six candidates that are right and fastest on this GPU.

    Raises BadInput where the family cannot compute the problem on the GPU, Refused where under three candidates
    of a kernel are right, or the file is not accepted after all.
    """
    with awake(bench) as ready:
        progress("importing", 0, 1)
        field = tried_all(wanted, ready, progress)
        while True:
            spec = wanted.spec(chosen(field, wanted.gpu))
            acceptance = accepted(spec, wanted, ready(), progress)
            wrong = found_wrong(acceptance)
            if not wrong:
                break
            field = {
                kernel: _without(kernel, tried, spec, wrong) for kernel, tried in field.items()
            }
    if not acceptance.verdict.accepted:
        raise Refused(f"{acceptance.verdict.reason}: nothing is written")
    return Searched(spec, _report(wanted, field, spec, acceptance), acceptance)


def tried_all(wanted: Wanted, ready: Callable[[], Bench], progress: Progress) -> Field:
    """Every candidate of every kernel: compiled for the GPU, checked, and timed if it is right and can be best."""
    plain = Wanted(wanted.problem, wanted.gpu, more_shapes=wanted.more_shapes)
    kernels = find_family(plain.problem.family).form(plain.problem, plain.gpu).kernels
    every = {name: tuple(one.config for one in candidates) for name, candidates in kernels.items()}
    shapes = (plain.problem, *plain.more_shapes)
    given = tuple(map(forward_inputs, shapes))
    odd = tuple(forward_inputs(odd_sizes(shape, plain.gpu)) for shape in shapes)
    field: dict[str, list[Tried]] = {}
    with (
        _on_disk(question_of(plain), plain.spec(every)) as question,
        Compiler(question.file, question.gpu) as compiler,
    ):
        for sizes in (given, odd):
            launches = [compiler.launches(None, inputs) for inputs in sizes][-1]
            launched = [
                each
                for each in match(question, sites_of(question), launches)
                if each.live.kernel not in field
            ]
            if not launched:
                continue
            candidates = [
                replace(
                    one, reason=kernels[one.entry.choice.kernel][one.entry.choice.config].reason
                )
                for one in own(launched, "candidate")
            ]
            tried, _ = sweep(
                *(question, compiler, launched, candidates, sizes, ready, progress),
                promise_of(plain.problem),
            )
            for place, each in enumerate(launched):
                field[each.live.kernel] = [one for one in tried if one.entrant.entry.site == place]
    return {kernel: field[kernel] for kernel in kernels if kernel in field}


@contextlib.contextmanager
def _on_disk(question: Question, spec: Spec) -> Iterator[Question]:
    """The question with the file that the spec renders to."""
    with tempfile.TemporaryDirectory(prefix="codegen-") as folder:
        path = (Path(folder) / "rendered.py").resolve()
        code = render(spec.problem, spec.gpu, spec.configs, spec.interface).encode()
        path.write_bytes(code)
        yield replace(question, file=replace(question.file, path=path), code=code)


def chosen(field: Field, gpu: GpuSpec) -> Configs:
    """Of every kernel the fastest right candidate for each shape, then the next by speed, six at most.

    Raises Refused where there are under three.
    """
    configs = {}
    for kernel, tried in field.items():
        times = {i: one.times_us for i, one in enumerate(tried) if one.row.status == "kept"}
        order = cover({i: row for i, row in times.items() if any(row)}, (), MAX_CONFIGS)
        if len(order) < MIN_CONFIGS:
            reasons = [
                f"{one.entrant.config}: {one.row.reason}" for one in tried if one.row.dropped_at
            ]
            raise Refused(
                f"{kernel}: {len(order)} of {len(tried)} configs are right and run on the {gpu.name}, and a list "
                f"holds {MIN_CONFIGS} at least: {'; '.join(reasons[:3])}"
            )
        configs[kernel] = tuple(_meant(tried[i]) for i in order)
    return configs


def _meant(one: Tried) -> Config:
    """A candidate's config as a spec has it: hooks are the template's."""
    return replace(one.entrant.config, extra=())


def accepted(spec: Spec, wanted: Wanted, bench: Bench, progress: Progress) -> Acceptance:
    """`accept` of the file that the spec renders to, against the library."""
    with _on_disk(question_of(wanted), spec) as question:
        with Compiler(question.file, question.gpu) as compiler:
            candidate = compiled_by(compiler, question, progress)
        terms = Terms(Against(question.problem, question.reference), promise_of(spec.problem))
        return accept(candidate, None, terms, bench, progress, baselines=(LIBRARY,))


def found_wrong(acceptance: Acceptance) -> dict[tuple[str, int], str]:
    """Those of the chosen that are wrong once they are looked at closely: kernel, place in its list -> why."""
    return {
        (each.entry.choice.kernel, each.entry.choice.config): fault
        for each in acceptance.standings
        if (fault := fault_of(each.checkup))
    }


def _without(
    kernel: str, tried: Sequence[Tried], spec: Spec, wrong: Mapping[tuple[str, int], str]
) -> list[Tried]:
    faults = {
        spec.configs[name][place]: why for (name, place), why in wrong.items() if name == kernel
    }

    def one(each: Tried) -> Tried:
        fault = faults.get(_meant(each))
        if fault is None:
            return each
        return replace(
            each, row=replace(each.row, status="dropped", reason=fault, dropped_at="verify")
        )

    return list(map(one, tried))


def _report(wanted: Wanted, field: Field, spec: Spec, acceptance: Acceptance) -> Report:
    """Every kernel with what was chosen of it, fastest first; the other candidates beside them."""
    sites = []
    for each in acceptance.candidate.launched:
        rows = {_meant(one): one.row for one in field[each.live.kernel]}
        listed = spec.configs[each.live.kernel]
        over = [
            row if row.status == "dropped" else replace(row, status="passed over")
            for config, row in rows.items()
            if config not in listed
        ]
        added = [_added(rows[config]) for config in listed]
        sites.append(
            SiteReport(each.live.kernel, each.site.line, tuple(added), passed_over=tuple(over))
        )
    every = [one for tried in field.values() for one in tried]
    timed = sum(any(one.times_us) for one in every)
    where = acceptance.machine.gpu if acceptance.machine else wanted.gpu.name
    return Report(
        acceptance.candidate.question.file.name,
        wanted.gpu,
        acceptance.candidate.inputs,
        False,
        tuple(sites),
        acceptance.verdict.accepted,
        f"{acceptance.verdict.reason}; {timed} of {len(every)} candidates timed on the {where}",
        acceptance.notes,
    )


def _added(row: Row) -> Row:
    return replace(row, status="added")
