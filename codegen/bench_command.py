"""`codegen bench`: the whole table of docs/performance.md, measured on the machine at hand."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from codegen.outcome import ACCEPTED, REFUSED, BadInput

QUICK_ROUNDS = 7


@click.command("bench")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--quick", is_flag=True, help="A case or two of each row, and fewer rounds.")
@click.option("--list", "listing", is_flag=True, help="Show the cases, and measure none.")
@click.option(
    "--json",
    "json_path",
    metavar="FILE",
    help="Write every figure (- for standard output). Cases that FILE holds already, of this machine and with "
    "these kernels, are not measured again.",
)
@click.option(
    "--markdown", metavar="FILE", help="Write the table there. [default: standard output]"
)
@click.option("--svg", metavar="FILE", help="Draw speed-ups and a roofline.")
@click.option("--keep", metavar="DIR", help="Keep the rendered files there.")
def bench(
    names: tuple[str, ...],
    quick: bool,
    listing: bool,
    json_path: str | None,
    markdown: str | None,
    svg: str | None,
    keep: str | None,
) -> int:
    """Measure rendered kernels side by side with PyTorch and other generators, on the GPU of this machine.

    NAME is a case, a row, or how their names begin: gemm-tf32, trimm. Every config is checked against float64
    first; the fastest right one is timed with its opponents in interleaved rounds. Exit status 1 where a
    case misses its target. The files are written anew after every case: a run that is cut off keeps what it
    measured, and the same command goes on from there.
    """
    from codegen.benchmark import chosen

    cases = chosen(names, quick)
    if not cases:
        raise BadInput(f"no case is named {' or '.join(names)}; `codegen bench --list` shows them")
    if listing:
        for case in cases:
            click.echo(f"{case.name:40} {case.reference}")
        return ACCEPTED
    from codegen import present, side_by_side
    from codegen.here import name_here
    from codegen.measure import Device
    from codegen.results import STDOUT, Files, Results
    from codegen.scoreboard import in_one_line

    if name_here() is None:
        raise BadInput("bench needs a GPU, and the CUDA driver of this machine shows none")
    rounds = QUICK_ROUNDS if quick else side_by_side.ROUNDS
    to = present.console()
    with Device() as device, present.progress(to) as show, _folder(keep) as folder:
        machine = device.machine()
        gpu = side_by_side.target_of(machine)
        results = Results(machine, Files(json_path, markdown, svg))
        results.write()  # a place that can't be written to is found out before an hour has passed
        left = results.left(cases, rounds, lambda case: side_by_side.fingerprint(case, gpu))
        done = len(cases) - len(left)
        show("measuring", done, len(cases))
        for outcome in side_by_side.measure(left, device, folder, rounds=rounds):
            results.add(outcome)
            done += 1
            to.print(in_one_line(outcome), soft_wrap=True)
            show("measuring", done, len(cases))
    results.write()
    if json_path == STDOUT:
        click.echo(results.json(), nl=False)
    elif not markdown:
        click.echo(results.markdown(), nl=False)
    return ACCEPTED if results.met(cases) else REFUSED


class _folder:
    """The folder given, made if need be; or one that goes with the block."""

    def __init__(self, path: str | None) -> None:
        self._kept = Path(path) if path else None
        self._passing: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Path:
        if self._kept is not None:
            self._kept.mkdir(parents=True, exist_ok=True)
            return self._kept
        self._passing = tempfile.TemporaryDirectory(prefix="codegen-bench-")
        return Path(self._passing.name)

    def __exit__(self, *_error: object) -> None:
        if self._passing is not None:
            self._passing.cleanup()
