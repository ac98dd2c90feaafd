"""`codegen render`: kernel files from templates."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from codegen.families import FAMILIES
from codegen.gpu import GpuSpec, find_gpu
from codegen.outcome import ACCEPTED, BadInput, Refused
from codegen.problem import (
    BATCHED,
    ITEM_BYTES,
    LAYOUTS,
    PRECISIONS,
    STEPS,
    TRIANGLES,
    Problem,
    Step,
)
from codegen.record import Record, file_stem, refuse_another
from codegen.render import choose
from codegen.render_check import check_all, source_of
from codegen.spec import Spec, Wanted

DEFAULT_SHAPE = "m=4096,n=4096,k=4096"


@click.command("render")
@click.argument("what", nargs=-1, metavar="FAMILY | SPEC.json...")
@click.option("--gpu", metavar="NAME", help="The target; it need not be in this machine.")
@click.option(
    "--shape",
    metavar="m=..,n=..,k=..",
    multiple=True,
    help=f"Sizes to choose configs for; the kernel takes any. Repeat for several, to be weighed by timing. "
    f"[default: {DEFAULT_SHAPE}]",
)
@click.option(
    "--layout", type=click.Choice(LAYOUTS), help="n as it enters the product, t transposed."
)
@click.option("--dtype", type=click.Choice(list(ITEM_BYTES)), help="Of the operands.")
@click.option(
    "--out-dtype",
    metavar="DTYPE",
    help="Of the result. [default: the operands', of float8 bfloat16]",
)
@click.option(
    "--precision", type=click.Choice(PRECISIONS), help="Of float32. [default: float32 grade]"
)
@click.option(
    "--max-error",
    metavar="E",
    help="Instead of --precision: the fastest whose documented relative error on normal inputs is at most E.",
)
@click.option("--triangle", type=click.Choice(TRIANGLES), help="Of the operands, for trimm.")
@click.option("--batch", metavar="N,N", help="Leading sizes of the result.")
@click.option("--batched", type=click.Choice(BATCHED), help="Which operands have them.")
@click.option(
    "--epilogue",
    metavar="STEP,STEP",
    help="After the product, in order: bias,gelu,scale=0.5,residual.",
)
@click.option(
    "--problem",
    metavar="FILE",
    help="Instead of FAMILY: a PyTorch file with Model, get_inputs and get_init_inputs.",
)
@click.option("-o", "--output", metavar="DIR", help="Write the file there, and its record.")
@click.option("--force", is_flag=True, help="There replace a file of another spec too.")
@click.option(
    "--measure/--no-measure",
    default=None,
    help="Time every candidate on the GPU. [default: if the target is in this machine; for a record, no]",
)
@click.option(
    "--no-verify", is_flag=True, help="Neither compile the configs for the GPU nor run them."
)
@click.option(
    "--check", is_flag=True, help="Render records anew and compare with the files beside them."
)
@click.option("--list", "listing", is_flag=True, help="Show families and options.")
def render(
    what: tuple[str, ...],
    gpu: str | None,
    problem: str | None,
    output: str | None,
    force: bool,
    measure: bool | None,
    no_verify: bool,
    check: bool,
    listing: bool,
    shape: tuple[str, ...],
    **fields: str | None,
) -> int:
    """Render a kernel file for a problem and a GPU.

    The problem is FAMILY (gemm or trimm) with the options, or what the Model of --problem computes, or
    SPEC.json, a record as kept in generated/. For the first two, configs are chosen, compiled for the GPU,
    and run in Triton's interpreter. With the GPU here, every candidate is checked and timed on it instead, and
    the fastest are chosen. The code goes to standard output, or with -o into a folder, its record beside it,
    and where it was measured the evidence.

    With --check, the arguments are records, the files beside them, or folders (default: generated), and
    the exit status is 1 where a file is not what its record renders to.
    """
    if listing:
        click.echo(_listing(), nl=False)
        return ACCEPTED
    if check:
        return check_all(what or ("generated",))
    if no_verify and measure:
        raise click.UsageError("--no-verify and --measure exclude each other.")
    how = _How(False if no_verify else measure, not no_verify, output, force)
    if problem:
        if what:
            raise click.UsageError("--problem says what to render: name no family, no record.")
        model = Path(problem)
        _put(*_of_model(model, gpu, shape, fields), how)
        return ACCEPTED
    if not what:
        raise click.UsageError("Name a family, a record, or --problem: gemm, generated/NAME.json.")
    if len(what) > 1 and not output:
        raise click.UsageError("Several need -o DIR.")
    for name in what:
        if name.endswith(".json"):
            _put_record(name, gpu, shape, fields, how)
        else:
            _put(*_of_family(name, gpu, shape, fields), how)
    return ACCEPTED


@dataclass(frozen=True)
class _How:
    """What is done with a file before it is written, and where it goes."""

    measure: bool | None  # None: where it can be
    verify: bool
    output: str | None
    force: bool  # also over a file of another spec


def _put_record(
    name: str, gpu: str | None, shape: Sequence[str], fields: Mapping[str, str | None], how: _How
) -> None:
    """The file that a record describes; with --measure, its configs found anew."""
    path = Path(name)
    given = [f"--{field.replace('_', '-')}" for field, text in fields.items() if text]
    given += ["--shape"] if shape else []
    if given or gpu:
        raise BadInput(f"{name} is a whole spec: {(given or ['--gpu'])[0]} cannot be added to it")
    record = Record.read(path)
    if not how.measure:
        _refuse_another(path.stem, record.spec, how)
        _write(record, path.stem, how.output)
        return
    if record.spec.interface:
        raise BadInput(f"{name}: --measure: it is of a model: give that with --problem instead")
    _put(Wanted(record.spec.problem, record.spec.gpu), path.stem, how)


def _of_family(
    name: str, gpu: str | None, shape: Sequence[str], fields: Mapping[str, str | None]
) -> tuple[Wanted, str]:
    """What the options ask for, and what to call the file: after what is in it."""
    target = _target(gpu)
    asked, fields = fields["max_error"], {**fields, "max_error": None}
    problem, *more = (
        _problem(name, {**fields, "shape": sizes}) for sizes in shape or (DEFAULT_SHAPE,)
    )
    problem = _within(asked, problem, target)
    more = [replace(each, precision=problem.precision) for each in more]
    return Wanted(problem, target, more_shapes=tuple(more)), file_stem(Spec(problem, target, {}))


def _of_model(
    path: Path, gpu: str | None, shape: Sequence[str], fields: Mapping[str, str | None]
) -> tuple[Wanted, str]:
    """What a problem file's model asks for, and what to call the file: as that one, and the GPU."""
    given = [f"--{name.replace('_', '-')}" for name, text in fields.items() if text]
    given += ["--shape"] if shape else []
    for option in given:
        if option not in ("--precision", "--max-error"):
            raise BadInput(f"{path} says what to compute: {option} cannot be added to it")
    target = _target(gpu)
    from codegen.tracing import read_problem

    problem, interface = read_problem(path)
    problem = _within(fields["max_error"], replace(problem, precision=fields["precision"]), target)
    words = re.sub(r"\W+", "_", f"{path.stem}_{target.key}", flags=re.ASCII)
    stem = words if words.isidentifier() else f"problem_{words}"
    return Wanted(problem, target, interface, path), stem


def _target(gpu: str | None) -> GpuSpec:
    if gpu is None:
        raise BadInput("name the GPU to render for: --gpu rtx-4090 (`codegen gpus` lists them)")
    return find_gpu(gpu)


def _within(max_error: str | None, problem: Problem, gpu: GpuSpec) -> Problem:
    """The problem at the precision that --max-error leads to, where it is given."""
    if max_error is None:
        return problem
    if problem.precision is not None:
        raise BadInput("--max-error chooses the precision: leave --precision out")
    try:
        bound = float(max_error)
    except ValueError:
        bound = math.nan
    if not 0 < bound < math.inf:
        raise BadInput(f"--max-error: {max_error[:40]!r} is no positive number")
    from codegen.tolerance import documented_error, precision_within

    precision = precision_within(problem, gpu, bound)
    error = documented_error(precision, problem.k)
    click.echo(
        f"codegen: --max-error {bound:g} leads to --precision {precision}: documented error {error:.1e} "
        f"with K={problem.k}",
        err=True,
    )
    return replace(problem, precision=precision)


def _put(wanted: Wanted, stem: str, how: _How) -> None:
    """The file with configs chosen for what is wanted: by timing, by the compiler's word, or by the model alone."""
    _refuse_another(stem, wanted.spec({}), how)
    why_not = _why_not_measured(wanted, how.measure)
    if why_not is None:
        _write_measured(wanted, stem, how.output)
        return
    if wanted.more_shapes:
        raise BadInput(f"several --shape can only be weighed by timing: {why_not}")
    spec = _verified(wanted) if how.verify else wanted.spec(choose(wanted.problem, wanted.gpu))
    _write(Record(spec), stem, how.output)


def _refuse_another(stem: str, spec: Spec, how: _How) -> None:
    """Before the minutes of work that end in writing there."""
    if how.output is not None and not how.force:
        refuse_another(Path(how.output) / f"{stem}.py", spec)


def _why_not_measured(wanted: Wanted, asked: bool | None) -> str | None:
    """Why the file is not measured, as a clause; None: it is. Raises BadInput when it is asked for and can't be."""
    if asked is False:
        return "leave --no-measure and --no-verify out"
    from codegen.benches import is_to_be_measured, why_not_measured
    from codegen.search import question_of

    question = question_of(wanted)
    return None if is_to_be_measured(question, asked) else why_not_measured(question)


def _write_measured(wanted: Wanted, stem: str, output: str | None) -> None:
    from codegen.benches import on_this_gpu
    from codegen.keep import dossier_of, keep, with_findings
    from codegen.present import console, print_report, progress
    from codegen.search import search

    screen = console()
    with on_this_gpu() as bench, progress(screen) as show:
        found = search(wanted, bench, show)
    dossier = dossier_of(found.acceptance)
    path = _write(with_findings(Record(found.spec), dossier), stem, output)
    print_report(found.report, screen)
    if path:
        for kept in keep(dossier, path):
            click.echo(f"codegen: wrote {kept}", err=True)


def _verified(wanted: Wanted) -> Spec:
    """The problem with configs that fit the GPU and are right. Raises Refused where one is wrong."""
    from codegen.fitting import choose_compiled, why_not
    from codegen.trial import run_rendered

    gpu = wanted.gpu
    configs, compiled = choose_compiled(wanted.problem, gpu)
    for (kernel, config), result in compiled.items():
        refusal = why_not(gpu, result)
        if refusal:
            click.echo(f"codegen: {kernel} {config} left out: {refusal}", err=True)
    spec = wanted.spec(configs)
    ran = run_rendered(spec, wanted.model)
    if ran.untried:
        click.echo(f"codegen: {ran.untried}", err=True)
    worst = max(ran.accuracies.values(), key=lambda accuracy: accuracy.relative_error)
    click.echo(
        f"codegen: {len(ran.accuracies)} configs compiled for the {gpu.name} and right in the interpreter: "
        f"error at most {worst.relative_error:.1g} against {worst.against} on {worst.inputs}; not measured",
        err=True,
    )
    return spec


def _problem(family: str, given: Mapping[str, str | None]) -> Problem:
    """The problem that the options describe, through the same checks as one read from JSON."""
    fields = dict(given)
    data: dict[str, object] = {"family": family, "shape": _sizes(fields.pop("shape") or "")}
    batch, epilogue = fields.pop("batch"), fields.pop("epilogue")
    if batch:
        data["batch"] = [_number("--batch", size) for size in batch.split(",")]
    if epilogue:
        data["epilogue"] = [str(Step.parse(step)) for step in epilogue.split(",")]
    data |= {name: text for name, text in fields.items() if text is not None}
    return Problem.from_json(data)


def _sizes(text: str) -> dict[str, int]:
    pairs = [pair.partition("=") for pair in text.split(",")]
    for name, equals, _ in pairs:
        if not equals:
            raise BadInput(f"--shape: {name.strip()!r} is no NAME=SIZE, as in m=2048,n=4096,k=8192")
    return {name.strip(): _number(f"--shape {name.strip()}", size) for name, _, size in pairs}


def _number(where: str, text: str) -> int:
    if not text.strip().isdecimal():
        raise BadInput(f"{where}: {text.strip()!r} is no whole number")
    if int(text) == 0:
        raise BadInput(
            f"{where}: configs are chosen for sizes from 1 on, and the file takes empty operands all the same"
        )
    return int(text)


def _write(record: Record, stem: str, output: str | None) -> Path | None:
    """The file to standard output, or with its record into a folder; only if it keeps the required order.

    Returns where it is.
    """
    source = source_of(f"{stem}.json", record)
    _refuse_findings(stem, source)
    if output is None:
        click.echo(source, nl=False)
        return None
    from codegen.write import write_whole

    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"-o {output}: can't be made a folder: {error.strerror}") from None
    path = folder / f"{stem}.py"
    write_whole(path, source.encode())
    write_whole(path.with_suffix(".json"), record.about(source).text().encode())
    click.echo(f"codegen: wrote {path} and its record", err=True)
    return path


def _refuse_findings(stem: str, source: str) -> None:
    from codegen.order import check

    for finding in check(source.encode()):
        raise Refused(f"{stem}.py:{finding.line}: {finding.code} {finding.message}")


def _listing() -> str:
    rows = {
        "families": "\n             ".join(f"{f.name}: {f.summary}" for f in FAMILIES.values()),
        "layouts": ", ".join(LAYOUTS),
        "dtypes": f"{', '.join(ITEM_BYTES)} (float8: gemm, for sm_89 and later)",
        "precisions": ", ".join(PRECISIONS) + " (of float32; the default is float32 grade)",
        "triangles": ", ".join(TRIANGLES) + " (trimm)",
        "epilogue": ", ".join(op if op != "scale" else "scale=X" for op in STEPS) + " (gemm)",
    }
    return "".join(f"{name:12} {text}\n" for name, text in rows.items())
