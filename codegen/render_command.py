"""`codegen render`: kernel files from templates."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import click

from codegen.families import FAMILIES
from codegen.gpu import GpuSpec, find_gpu
from codegen.interface import Interface
from codegen.outcome import BadInput, Refused
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
from codegen.record import Record, file_stem
from codegen.render import choose
from codegen.spec import Spec

ACCEPTED, REFUSED = 0, 1
DEFAULT_SHAPE = "m=4096,n=4096,k=4096"


@click.command("render")
@click.argument("what", nargs=-1, metavar="FAMILY | SPEC.json...")
@click.option("--gpu", metavar="NAME", help="The target; it need not be in this machine.")
@click.option(
    "--shape",
    metavar="m=..,n=..,k=..",
    help=f"Sizes to choose configs for; the kernel takes any. [default: {DEFAULT_SHAPE}]",
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
    no_verify: bool,
    check: bool,
    listing: bool,
    **fields: str | None,
) -> int:
    """Render a kernel file for a problem and a GPU.

    The problem is FAMILY (gemm or trimm) with the options, or what the Model of --problem computes, or
    SPEC.json, a record as kept in generated/. For the first two, configs are chosen, compiled for the GPU,
    and run in Triton's interpreter. The code goes to standard output, or with -o into a folder, its record
    beside it.

    With --check, the arguments are records, the files beside them, or folders (default: generated), and
    the exit status is 1 where a file is not what its record renders to.
    """
    if listing:
        click.echo(_listing(), nl=False)
        return ACCEPTED
    if check:
        return _check(what or ("generated",))
    if problem:
        if what:
            raise click.UsageError("--problem says what to render: name no family, no record.")
        _put(*_of_model(Path(problem), gpu, no_verify, fields), output)
        return ACCEPTED
    if not what:
        raise click.UsageError("Name a family, a record, or --problem: gemm, generated/NAME.json.")
    if len(what) > 1 and not output:
        raise click.UsageError("Several need -o DIR.")
    for name in what:
        record = _record(name, gpu, no_verify, fields)
        _put(record, _stem(name, record), output)
    return ACCEPTED


def _record(name: str, gpu: str | None, no_verify: bool, fields: dict[str, str | None]) -> Record:
    """A record read from a file, or made for a family with configs chosen for the GPU."""
    if name.endswith(".json"):
        given = [f"--{field.replace('_', '-')}" for field, text in fields.items() if text]
        if given or gpu:
            raise BadInput(
                f"{name} is a whole spec: {(given or ['--gpu'])[0]} cannot be added to it"
            )
        return Record.read(Path(name))
    target = _target(gpu)
    asked, fields = fields["max_error"], {**fields, "max_error": None}
    problem = _within(asked, _problem(name, fields), target)
    if no_verify:
        return Record(Spec(problem, target, choose(problem, target)))
    return Record(_verified(problem, target, None, None))


def _stem(name: str, record: Record) -> str:
    """What to call the file: as its record is called, or after what is in it."""
    return Path(name).stem if name.endswith(".json") else file_stem(record.spec)


def _of_model(
    path: Path, gpu: str | None, no_verify: bool, fields: dict[str, str | None]
) -> tuple[Record, str]:
    """The record of a problem file's model, and what to call it."""
    given = [f"--{name.replace('_', '-')}" for name, text in fields.items() if text]
    for option in given:
        if option not in ("--precision", "--max-error"):
            raise BadInput(f"{path} says what to compute: {option} cannot be added to it")
    target = _target(gpu)
    from codegen.tracing import read_problem

    problem, interface = read_problem(path)
    problem = _within(fields["max_error"], replace(problem, precision=fields["precision"]), target)
    if no_verify:
        spec = Spec(problem, target, choose(problem, target), interface)
    else:
        spec = _verified(problem, target, interface, path)
    words = re.sub(r"\W+", "_", f"{path.stem}_{target.key}", flags=re.ASCII)
    return Record(spec), words if words.isidentifier() else f"problem_{words}"


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


def _verified(
    problem: Problem, gpu: GpuSpec, interface: Interface | None, model: Path | None
) -> Spec:
    """The problem with configs that fit the GPU and are right. Raises Refused where one is wrong."""
    from codegen.fitting import choose_compiled, why_not
    from codegen.trial import run_rendered

    configs, compiled = choose_compiled(problem, gpu)
    for (kernel, config), result in compiled.items():
        refusal = why_not(gpu, result)
        if refusal:
            click.echo(f"codegen: {kernel} {config} left out: {refusal}", err=True)
    spec = Spec(problem, gpu, configs, interface)
    accuracies = run_rendered(spec, model)
    worst = max(accuracies.values(), key=lambda accuracy: accuracy.relative_error)
    click.echo(
        f"codegen: {len(accuracies)} configs compiled for the {gpu.name} and right in the interpreter: "
        f"error at most {worst.relative_error:.1g} against {worst.against} on {worst.inputs}; not measured",
        err=True,
    )
    return spec


def _problem(family: str, fields: dict[str, str | None]) -> Problem:
    """The problem that the options describe, through the same checks as one read from JSON."""
    data: dict[str, object] = {
        "family": family,
        "shape": _sizes(fields.pop("shape") or DEFAULT_SHAPE),
    }
    batch, epilogue = fields.pop("batch"), fields.pop("epilogue")
    if batch:
        data["batch"] = [_number("--batch", size) for size in batch.split(",")]
    if epilogue:
        data["epilogue"] = [str(Step.parse(step)) for step in epilogue.split(",")]
    data |= {name: text for name, text in fields.items() if text is not None}
    return Problem.from_json(data)


def _sizes(text: str) -> dict[str, int]:
    pairs = [pair.partition("=") for pair in text.split(",")]
    return {name.strip(): _number(f"--shape {name.strip()}", size) for name, _, size in pairs}


def _number(where: str, text: str) -> int:
    if not text.strip().isdecimal():
        raise BadInput(f"{where}: {text.strip()!r} is no whole number")
    return int(text)


def _put(record: Record, stem: str, output: str | None) -> None:
    """The file to standard output, or with its record into a folder; only if it keeps the required order."""
    source = _source(f"{stem}.json", record)
    _refuse_findings(stem, source)
    if output is None:
        click.echo(source, nl=False)
        return
    from codegen.write import write_whole

    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.py"
    write_whole(path, source.encode())
    write_whole(path.with_suffix(".json"), record.text().encode())
    click.echo(f"codegen: wrote {path} and its record", err=True)


def _source(name: str, record: Record) -> str:
    """What a record renders to. Raises BadInput, naming the record, where it contradicts itself."""
    try:
        return record.source()
    except BadInput as error:
        raise BadInput(f"{name}: {error}") from None


def _refuse_findings(stem: str, source: str) -> None:
    from codegen.order import check

    for finding in check(source.encode()):
        raise Refused(f"{stem}.py:{finding.line}: {finding.code} {finding.message}")


def _check(places: tuple[str, ...]) -> int:
    """Renders every record anew and compares with the file beside it."""
    different = 0
    paths = list(dict.fromkeys(path for place in places for path in _records(Path(place))))
    for path in paths:
        rendered, beside = _source(str(path), Record.read(path)), path.with_suffix(".py")
        if not beside.is_file():
            different += 1
            click.echo(f"{beside}: missing: codegen render {path} -o {path.parent}")
        elif beside.read_bytes() != rendered.encode():
            different += 1
            click.echo(
                f"{beside}: differs from what its record renders to: codegen render {path} -o {path.parent}"
            )
    click.echo(f"codegen: {len(paths)} rendered, {different} different", err=True)
    return REFUSED if different else ACCEPTED


def _records(place: Path) -> list[Path]:
    """The record at a path, or beside the file there; or all below a folder."""
    if place.is_dir():
        return [path for path in sorted(place.rglob("*.json")) if _is_record(path)]
    path = place.with_suffix(".json")
    if not path.exists():
        raise BadInput(f"{path}: no such file or folder")
    return [path]


def _is_record(path: Path) -> bool:
    """Whether a JSON file in a folder is one: it has a kernel file beside it, or says what to render."""
    if path.with_suffix(".py").exists():
        return True
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(data, dict) and {"problem", "gpu", "configs"} <= data.keys()


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
