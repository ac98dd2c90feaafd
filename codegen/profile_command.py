"""`codegen profile`: a chosen config under Nsight Compute, without the autotuner's launches."""

from __future__ import annotations

import datetime
import hashlib
import json
import sys
from pathlib import Path

import click

from codegen.gpu import GpuSpec, find_gpu
from codegen.outcome import ACCEPTED, BadInput


@click.command("profile")
@click.argument("path", metavar="PATH")
@click.option(
    "--config",
    metavar="N",
    type=click.IntRange(0),
    help="As `codegen inspect` numbers them. [default: the fastest right one]",
)
@click.option(
    "--kernel", metavar="NAME", help="Only this kernel. [default: all that are autotuned]"
)
@click.option(
    "--inputs",
    metavar="SPEC",
    help="What forward is called with: 'float32[8192,2048] tril bfloat16[4096,4096] 0.5'.",
)
@click.option(
    "--problem", metavar="FILE", help="A file with Model, get_inputs and get_init_inputs."
)
@click.option(
    "--reference",
    metavar="EXPR",
    help="What is right, in the names of forward's parameters: 'A.T @ B'.",
)
@click.option(
    "--gpu", metavar="NAME", help="The GPU in this machine, where its own name is not known."
)
@click.option(
    "--json",
    "json_path",
    metavar="FILE",
    help="Write the metrics and their origin there (- for standard output).",
)
def profile(
    path: str,
    config: int | None,
    kernel: str | None,
    inputs: str | None,
    problem: str | None,
    reference: str | None,
    gpu: str | None,
    json_path: str | None,
) -> int:
    """Profile a file's kernels with Nsight Compute, on the GPU of this machine.

    PATH is a .py file, an optimization prompt with the code in it, or - for standard input. One config is
    forced; warm-up and the autotuner's own launches are not seen. The metrics go to standard output in the
    form that prompts have them in and `codegen retune --ncu` reads, the diagnosis to standard error.
    """
    from codegen import profiling
    from codegen.job import STDIN, Options, open_job
    from codegen.local_gpu import LocalGpu
    from codegen.nsight import Nsight
    from codegen.present import console, progress
    from codegen.profile_text import as_lines
    from codegen.write import write_whole

    if json_path not in (None, STDIN) and not Path(json_path).absolute().parent.is_dir():
        raise BadInput(f"{json_path}: can't write there: no such folder")
    nsight = Nsight.find()
    with LocalGpu() as local:
        machine = local.machine()
        spec = _spec(gpu, machine.gpu, machine.compute_capability)
        options = Options(
            path,
            spec.key,
            inputs,
            problem=problem,
            reference=reference,
            read_profile=False,
        )
        with open_job(options) as job, progress(console()) as show:
            found = profiling.profile(
                job.question, profiling.Wanted(kernel, config), local, machine, nsight, show
            )
            source = hashlib.sha256(job.question.code).hexdigest()
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    whole = _text(profiling.to_json(found, source, date))
    if json_path == STDIN:
        sys.stdout.write(whole)
    else:
        sys.stdout.write(_text(profiling.metrics_of(found)))
    sys.stdout.flush()  # before the diagnosis, where both go to one place
    if json_path not in (None, STDIN):
        write_whole(Path(json_path), whole.encode())
    for line in as_lines(found):
        click.echo(line, err=True)
    return ACCEPTED


def _text(value: object) -> str:
    return json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _spec(given: str | None, name: str, capability: tuple[int, int]) -> GpuSpec:
    """The GPU in this machine, as the table has it. Raises BadInput when it does not, or has another."""
    try:
        spec = find_gpu(given or name)
    except BadInput as error:
        if given:
            raise
        raise BadInput(f"the GPU in this machine: {error}; name one like it with --gpu") from None
    if spec.compute_capability != capability:
        raise BadInput(
            f"--gpu: the GPU in this machine is the {name} ({'.'.join(map(str, capability))}), not a "
            f"{spec.name}: a profile is of the GPU it is made on"
        )
    return spec
