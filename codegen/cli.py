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
from collections.abc import Sequence
from typing import NoReturn

import click

from codegen import __version__
from codegen.outcome import ACCEPTED, BAD_INPUT, REFUSED, BadInput, Refused

INTERRUPTED = 128 + 2  # as a shell reports SIGINT
READER_LEFT = 128 + 13  # as a shell reports SIGPIPE
_OUTPUT_IS_GONE = (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EFBIG)


class _Commands(click.Group):
    """The commands of this module, and those of others, which are imported when they are asked for."""

    def list_commands(self, context: click.Context) -> list[str]:
        elsewhere = ["accept", "bench", "inspect", "profile", "render", "retune"]
        return sorted([*super().list_commands(context), *elsewhere])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name == "accept":
            from codegen.accept_command import accept

            return accept
        if name == "retune":
            from codegen.tune_command import retune

            return retune
        if name == "inspect":
            from codegen.tune_command import inspect

            return inspect
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
