"""`codegen accept`: whether a file is right everywhere and, with a GPU, as fast as what it replaces."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import click

from codegen.accept import Acceptance, accept_unmeasured, compiled
from codegen.accept import accept as accept_measured
from codegen.benches import awake, interpreted, is_to_be_measured, on_this_gpu, remark
from codegen.contest import Terms
from codegen.dossier import Dossier
from codegen.fitting import model_inputs
from codegen.inputs import describe
from codegen.job import STDIN, Job, Options, open_job
from codegen.judge import MARGIN
from codegen.keep import dossier_of, keep, put_findings
from codegen.outcome import ACCEPTED, REFUSED, BadInput
from codegen.page import page
from codegen.precision import PROMISES, promise_of
from codegen.present import console, print_report, progress
from codegen.question import Question
from codegen.record import Record
from codegen.report import Report, SiteReport
from codegen.spec import Spec
from codegen.sweep import row_with
from codegen.verify import Against
from codegen.write import write_whole


class _Share(click.ParamType[float]):
    """`1%`, `0.5%` or `0.01`."""

    name = "share"

    def convert(
        self, value: object, param: click.Parameter | None, context: click.Context | None
    ) -> float:
        text = str(value).strip()
        try:
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            share = -1.0
        if not 0 <= share < 1:
            self.fail(f"{text!r} is no share: write 1% or 0.01", param, context)
        return share


@click.command("accept")
@click.argument("file", metavar="FILE")
@click.option("--against", metavar="ORIGINAL", help="The file that this one is to replace.")
@click.option(
    "--inputs", multiple=True, metavar="SPEC", help="What forward is called with; repeat."
)
@click.option("--problem", metavar="P", help="A file with Model, get_inputs and get_init_inputs.")
@click.option(
    "--reference", metavar="EXPR", help="What is right, in the names of forward's parameters."
)
@click.option(
    "--precision",
    type=click.Choice(PROMISES),
    help="How products are meant to be computed: of float32 in float32 (ieee) or in TF32, of 16 bits for a result "
    "that holds more (wide). [default: ieee, or as the record beside FILE says]",
)
@click.option(
    "--margin",
    type=_Share(),
    default=MARGIN,
    help="Of the original's speed that may be lost. [default: 1%]",
)
@click.option("--gpu", metavar="NAME", help="The target. [default: the one in this machine]")
@click.option(
    "--measure/--no-measure",
    default=None,
    help="Check and time on the GPU. [default: if the target is in this machine]",
)
@click.option("--json", "json_path", metavar="FILE", help="Write the evidence there.")
@click.option("--html", "html_path", metavar="FILE", help="Write it as a page there.")
def accept(
    file: str,
    against: str | None,
    inputs: tuple[str, ...],
    problem: str | None,
    reference: str | None,
    precision: str | None,
    margin: float,
    gpu: str | None,
    measure: bool | None,
    json_path: str | None,
    html_path: str | None,
) -> int:
    """Accept a kernel file on evidence, or refuse it.

    Every config must be right on given, ragged, small and special inputs and, where there is an ORIGINAL, the
    file's fastest must be as fast as the original's fastest right one; without one, how fast it is beside the
    library is said and binds nobody. The evidence is kept beside FILE, as JSON and as a page, or where --json
    and --html say, and in the record of a rendered file.
    """
    screen = console()
    spec = recorded(Path(file))
    by_record = (
        spec is not None
        and not (inputs or problem or reference or precision)
        and gpu in (None, spec.gpu.key)
    )
    if spec:
        gpu = gpu or spec.gpu.key
    if spec and not (inputs or problem or reference):
        inputs, reference = _by_record(file, spec)
        precision = precision or promise_of(spec.problem)
    options = Options(
        path=file,
        gpu=gpu,
        inputs=inputs[0] if inputs else None,
        more_inputs=inputs[1:],
        problem=problem,
        reference=reference,
        measure=measure,
    )
    with contextlib.ExitStack() as stack:
        job = stack.enter_context(open_job(options))
        question = job.question
        if not (question.problem or question.reference):
            raise BadInput(f"{file}: what is right is not said: give --reference or --problem")
        original = _original(against, options, question, stack)
        terms = Terms(Against(question.problem, question.reference), precision or PROMISES[0])
        measuring = is_to_be_measured(question, measure)
        show = stack.enter_context(progress(screen))
        if measuring:
            ready = stack.enter_context(awake(stack.enter_context(on_this_gpu())))
            candidate = compiled(question, show)
            replaced = compiled(original.question, show) if original else None
            done = accept_measured(candidate, replaced, terms, ready(), show, margin)
        else:
            ready = stack.enter_context(awake(stack.enter_context(interpreted(question.gpu))))
            done = accept_unmeasured(compiled(question, show), terms, ready(), show)
    done = replace(done, notes=(*remark(question, measure), *done.notes))
    print_report(report_on(done), screen)
    dossier = dossier_of(done)
    if by_record:  # what is found in other terms is none of the record's
        put_findings(Path(file).with_suffix(".json"), dossier)
    _write(dossier, Path(file), json_path, html_path)
    return ACCEPTED if done.verdict.accepted else REFUSED


def _by_record(file: str, spec: Spec) -> tuple[tuple[str, ...], str]:
    """Inputs and reference of a rendered file. Raises BadInput where its record does not hold them."""
    try:
        return (" ".join(describe(model_inputs(spec))),), spec.reference
    except BadInput as error:
        raise BadInput(f"{file}: {error}") from None


def recorded(path: Path) -> Spec | None:
    """The spec of a rendered file, from the record beside it; None: there is no such record."""
    beside = path.with_suffix(".json")
    try:
        return Record.read(beside).spec if beside.is_file() else None
    except BadInput:  # some other JSON
        return None


def _original(
    path: str | None, options: Options, question: Question, stack: contextlib.ExitStack
) -> Job | None:
    if path is None:
        return None
    return stack.enter_context(open_job(replace(options, path=path, gpu=question.gpu.key)))


def report_on(done: Acceptance) -> Report:
    """The acceptance as the table that `retune` prints."""
    candidate = done.candidate
    standings = iter(done.standings)
    sites = []
    for each in candidate.launched:
        rows = []
        for row in candidate.rows[each.index]:
            standing = next(standings)
            rows.append(row_with(row, standing, done.terms) if standing.checkup.findings else row)
        sites.append(SiteReport(each.site.kernel, each.site.line, tuple(rows)))
    return Report(
        candidate.question.file.name,
        candidate.question.gpu,
        candidate.inputs,
        candidate.question.guessed,
        tuple(sites),
        done.verdict.accepted,
        f"{'accepted' if done.verdict.accepted else 'refused'}: {done.verdict.reason}",
        done.notes,
    )


def _write(dossier: Dossier, path: Path, json_path: str | None, html_path: str | None) -> None:
    if json_path is None and html_path is None:
        if str(path) != STDIN:
            keep(dossier, path)
        return
    for target, text in ((json_path, dossier.text), (html_path, lambda: page(dossier))):
        if target == "-":
            click.echo(text(), nl=False)
        elif target:
            write_whole(Path(target), text().encode())
