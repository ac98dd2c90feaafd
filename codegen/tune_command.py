"""`codegen retune` and `codegen inspect`: the options of both, and what they ask for."""

from __future__ import annotations

from collections.abc import Callable

import click
from click.core import ParameterSource

from codegen.outcome import ACCEPTED


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


@click.command("retune")
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


@click.command("inspect")
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
