"""The command line: options in, named steps, an exit status out.

Exit status: 0 done and accepted; 1 looked at and refused; 2 the input can't be used; 129, 130, 143
stopped by SIGHUP, Ctrl-C, SIGTERM; 141 the reader of the output left. Code and data go to standard output, all else to standard
error. A command imports what it needs in its body, so that `codegen check` and `codegen --help` start
without PyTorch and Triton.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

import click
from click.core import ParameterSource

from codegen import __version__
from codegen.outcome import BadInput, Refused

ACCEPTED, REFUSED, BAD_INPUT = 0, 1, 2
INTERRUPTED = 128 + 2  # as a shell reports SIGINT
READER_LEFT = 128 + 13  # as a shell reports SIGPIPE
_OUTPUT_IS_GONE = (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EFBIG)


class _Commands(click.Group):
    """The commands of this module, and those of others, which are imported when they are asked for."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted([*super().list_commands(context), "accept", "bench", "profile", "render"])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name == "accept":
            from codegen.accept_command import accept

            return accept
        if name == "profile":
            from codegen.profile_command import profile

            return profile
        if name == "render":
            from codegen.render_command import render

            return render
        if name == "bench":
            from codegen.bench_command import bench

            return bench
        return super().get_command(context, name)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="codegen")
def cli() -> None:
    """Makes and tunes Triton kernels without guessing."""


@cli.command()
@click.argument("paths", nargs=-1, metavar="PATH...")
@click.option(
    "--select", multiple=True, metavar="CODES", help="Only these rules: CG001,CG003 or CG01."
)
@click.option("--ignore", multiple=True, metavar="CODES", help="Not these rules.")
@click.option(
    "--output-format",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    show_default=True,
)
@click.option("-q", "--quiet", is_flag=True, help="Findings only, no summary.")
@click.option("--explain", metavar="CODE", help="Print one rule, with examples, and stop.")
def check(
    paths: tuple[str, ...],
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    output_format: str,
    quiet: bool,
    explain: str | None,
) -> int:
    """Check kernel files for the required order.

    Imports, kernels, wrappers, class ModelNew, and nothing else. PATH is a file, a folder, of which every
    *.py is checked, or - for standard input. Findings print as path:line:col: CODE message; `# noqa: CODE`
    on the line silences one.
    """
    from codegen import lint, rules

    if explain:
        click.echo(rules.explain(lint.find_rule(explain)), nl=False)
        return ACCEPTED
    if not paths:
        raise click.UsageError("Name at least one file or folder, or - for standard input.")
    report = lint.lint(lint.files_of(paths), lint.rules_for(select, ignore))
    click.echo(lint.FORMATS[output_format](report.findings), nl=False)
    for line in report.unreadable:
        click.echo(f"codegen: {line}", err=True)
    if not quiet:
        click.echo(report, err=True)
    if report.unreadable:
        return BAD_INPUT
    return REFUSED if report.findings else ACCEPTED


@cli.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--sources", is_flag=True, help="Where each figure comes from.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, every figure.")
def gpus(names: tuple[str, ...], sources: bool, as_json: bool) -> int:
    """List the known GPUs and their limits, or those named."""
    from codegen import gpu, gpu_table

    chosen = tuple(map(gpu.find_gpu, names)) or gpu.known_gpus()
    if as_json:
        click.echo(gpu_table.as_json(chosen, sources), nl=False)
    elif sources:
        click.echo(gpu_table.sources_as_text(chosen), nl=False)
    elif sys.stdout.isatty():
        from rich.console import Console

        Console().print(gpu_table.as_table(chosen))
    else:
        click.echo(gpu_table.as_text(chosen), nl=False)
    return ACCEPTED


def _tuning_options(command: Callable[..., int]) -> Callable[..., int]:
    """The options that `retune` and `inspect` share."""
    for option in reversed(
        [
            click.option(
                "--inputs",
                multiple=True,
                metavar="SPEC",
                help="What forward is called with: 'float32[8192,2048] tril bfloat16[4096,4096] 0.5'. "
                "Repeat for several sets.",
            ),
            click.option(
                "--problem",
                metavar="FILE",
                help="A file with Model, get_inputs and get_init_inputs.",
            ),
            click.option(
                "--launch",
                metavar="COMMAND",
                help="Record a run of your own instead: 'pytest tests/test_it.py -k small', 'script.py'.",
            ),
            click.option(
                "--ncu",
                metavar="FILE",
                help="An Nsight Compute profile: JSON, or ncu --csv --page raw.",
            ),
        ]
    ):
        command = option(command)
    return command


@cli.command()
@click.argument("paths", nargs=-1, metavar="PATH...")
@_tuning_options
@click.option(
    "--gpu",
    metavar="NAME",
    help="The target; it need not be in this machine. [default: the prompt's, or the one that is]",
)
@click.option(
    "--measure/--no-measure",
    default=None,
    help="Time every allowed config on the GPU. [default: if the target is in this machine]",
)
@click.option(
    "--reference",
    metavar="EXPR",
    help="What is right, in the names of forward's parameters: 'A.T @ B'.",
)
@click.option(
    "--num-warps",
    metavar="N,N",
    help="Allowed in configs that are added. [default: the prompt's, 2,4,8,16]",
)
@click.option("--num-stages", metavar="N,N", help="Likewise. [default: the prompt's, 2,3,4]")
@click.option(
    "--max-configs",
    metavar="N",
    type=click.IntRange(1, 100),
    help="Keep at most so many, originals too.",
)
@click.option(
    "--set",
    "set_path",
    metavar="FILE",
    help="Write these configs instead (`codegen configs --json`).",
)
@click.option(
    "--at",
    type=click.Choice(["site", "definition"]),
    default="site",
    show_default=True,
    help="Where configs that are made elsewhere in the file are replaced.",
)
@click.option("-w", "--write", is_flag=True, help="Edit the file in place (in a prompt: its code).")
@click.option("-o", "--output", metavar="FILE", help="Write the code there.")
@click.option("--diff", is_flag=True, help="Print the change only.")
@click.option(
    "--json", "json_path", metavar="FILE", help="Write the report as JSON (- for standard output)."
)
def retune(
    paths: tuple[str, ...],
    inputs: tuple[str, ...],
    problem: str | None,
    launch: str | None,
    ncu: str | None,
    gpu: str | None,
    measure: bool | None,
    reference: str | None,
    num_warps: str | None,
    num_stages: str | None,
    max_configs: int | None,
    set_path: str | None,
    at: str,
    write: bool,
    output: str | None,
    diff: bool,
    json_path: str | None,
) -> int:
    """Rewrite the autotune configs of files, for a GPU that need not be here.

    PATH is a .py file, an optimization prompt (.txt, .md) with the code in it, or - for standard input. Every
    config is compiled for the GPU and run in Triton's interpreter; those that cannot launch or are wrong go,
    neighbours within the stage's rules come. Nothing else in the file changes.

    With the GPU here, every neighbour is compiled, checked and timed on it, the fastest come, and nothing is
    written that does not beat the file as it was.
    """
    from codegen import tune
    from codegen.job import Options

    if write + bool(output) + diff > 1:
        raise click.UsageError("-w, -o and --diff exclude each other.")
    if len(paths) > 1 and not (write or diff):
        raise click.UsageError("Several files need -w or --diff.")
    where = tune.Output(write, output, diff, json_path)
    if set_path is not None:
        if unused := _given_besides(
            "paths", "set_path", "at", "write", "output", "diff", "json_path"
        ):
            raise click.UsageError(
                f"--set writes configs as they are, compiles nothing and has no use for {', '.join(unused)}."
            )
        tune.set_configs(set_path, paths, where, at == "definition")
        return ACCEPTED
    if not paths:
        raise click.UsageError("Name at least one file, or - for standard input.")
    tune.retune(
        [
            Options(
                path=path,
                gpu=gpu,
                inputs=inputs[0] if inputs else None,
                more_inputs=inputs[1:],
                problem=problem,
                reference=reference,
                ncu=ncu,
                num_warps=num_warps,
                num_stages=num_stages,
                max_configs=max_configs,
                launch=launch,
                at_definition=at == "definition",
                measure=measure,
            )
            for path in paths
        ],
        where,
    )
    return ACCEPTED


def _given_besides(*names: str) -> list[str]:
    """The options on the command line other than these, as they are spelled."""
    context = click.get_current_context()
    return [
        max(parameter.opts, key=len)
        for parameter in context.command.params
        if parameter.name not in names
        and context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
    ]


@cli.command()
@click.argument("path", metavar="PATH")
@_tuning_options
@click.option(
    "--gpu", "gpu_names", multiple=True, metavar="NAME", help="A target; repeat to compare several."
)
@click.option(
    "--json", "json_path", metavar="FILE", help="Write the reports as JSON (- for standard output)."
)
def inspect(
    path: str,
    inputs: tuple[str, ...],
    problem: str | None,
    launch: str | None,
    ncu: str | None,
    gpu_names: tuple[str, ...],
    json_path: str | None,
) -> int:
    """Show what a file's configs would do on a GPU: resources, occupancy, waves. Changes nothing."""
    from codegen import tune
    from codegen.job import Options

    options = Options(
        path=path,
        inputs=inputs[0] if inputs else None,
        more_inputs=inputs[1:],
        problem=problem,
        launch=launch,
        ncu=ncu,
    )
    tune.inspect(options, gpu_names, json_path)
    return ACCEPTED


@cli.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--static",
    is_flag=True,
    help="Never import a file: what its source does not settle stays unknown.",
)
@click.option(
    "--gpu",
    default="h200",
    show_default=True,
    metavar="NAME",
    help="The GPU that imported files believe is here.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="As JSON; `codegen retune --set` takes it back."
)
def configs(paths: tuple[str, ...], static: bool, gpu: str, as_json: bool) -> int:
    """List every autotune site: its kernel, key, how its configs are written, and the configs.

    PATH is a file or a folder. What the syntax tree settles is read from the source; for the rest the file
    is imported in a child process and the live Autotuner is read.
    """
    import json

    from codegen import lint, listing, present
    from codegen.gpu import find_gpu

    with present.progress(present.console()) as show:
        target = None if static else find_gpu(gpu)
        files = listing.list_files(lint.files_of(paths), target, show, lint.files_named(paths))
    if as_json:
        click.echo(json.dumps(listing.as_json(files), indent=2))
    else:
        for line in listing.as_lines(files):
            click.echo(line)
    unreadable = [file for file in files if file.unreadable]
    for file in unreadable:
        click.echo(f"codegen: {file.path}: {file.unreadable}", err=True)
    click.echo(listing.summary(files), err=True)
    return BAD_INPUT if unreadable else ACCEPTED


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; `argv` defaults to the process's arguments."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        with cli.make_context("codegen", arguments) as context:
            status: int = cli.invoke(context)
            return status
    except click.exceptions.Exit as stop:  # --help, --version
        return stop.exit_code
    except click.exceptions.NoArgsIsHelpError as error:  # `codegen` alone
        error.show()
        return BAD_INPUT
    except click.ClickException as error:
        inner: click.Context | None = getattr(error, "ctx", None)
        command = inner.command_path if inner else "codegen"
        message = " ".join(error.format_message().split()).rstrip(".")
        click.echo(f"codegen: {message} (see {command} --help)", err=True)
        return BAD_INPUT
    except BadInput as error:
        click.echo(f"codegen: {error}", err=True)
        return BAD_INPUT
    except Refused as error:
        click.echo(f"codegen: {error}", err=True)
        return REFUSED
    except (KeyboardInterrupt, click.Abort):
        click.echo("codegen: interrupted", err=True)
        return INTERRUPTED


def _stop(number: int, frame: object) -> NoReturn:
    """Ends the program from where it is, so that what it started and its temporary files go with it."""
    raise SystemExit(128 + number)


def run() -> NoReturn:
    """The console entry point."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup has the second ignored
            signal.signal(number, _stop)
    if sys.stdout is None or sys.stderr is None:  # closed by the caller: `codegen ... >&-`
        raise SystemExit(BAD_INPUT)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A path may hold bytes the output's encoding has no character for.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = main()
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in _OUTPUT_IS_GONE:
            raise
        # The interpreter flushes both streams once more on its way out; that must not fail again.
        if error.errno == errno.EPIPE:
            status = READER_LEFT
        else:
            click.echo(f"codegen: can't write to standard output: {error.strerror}", err=True)
            status = BAD_INPUT
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
    raise SystemExit(status)
