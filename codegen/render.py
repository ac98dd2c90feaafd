"""Spec in, source out: the templates of a family, filled in and formatted."""

from __future__ import annotations

from collections.abc import Container
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from codegen.config import Config
from codegen.families import find_family
from codegen.gpu import GpuSpec
from codegen.interface import Interface
from codegen.outcome import BadInput, Refused
from codegen.problem import Problem
from codegen.spec import Configs, Spec

if TYPE_CHECKING:
    from jinja2 import Environment

# What an autotune list should hold: fewer leave a shape without a good config, more make tuning slow.
MIN_CONFIGS, MAX_CONFIGS = 3, 6


def render(
    problem: Problem, gpu: GpuSpec, configs: Configs, interface: Interface | None = None
) -> str:
    """The kernel file for a problem and a GPU, formatted by black: the same bytes for the same input.

    `configs` holds the autotune list of every kernel that the problem's form tunes.
    Raises BadInput where the family cannot compute the problem on the GPU, the configs are for others than
    the file's kernels, or the interface gives other operands than the problem takes.
    """
    import black  # here, as Jinja below: a tenth of a second that `codegen --help` need not wait for

    source = filled_in(problem, gpu, configs, interface)
    return black.format_str(source, mode=black.Mode(line_length=100))


def filled_in(
    problem: Problem, gpu: GpuSpec, configs: Configs, interface: Interface | None = None
) -> str:
    """The kernel file before it is formatted, which is what takes time."""
    form = find_family(problem.family).form(problem, gpu)
    for kernel in form.kernels:
        if not configs.get(kernel):
            raise BadInput(f"configs lack {kernel}, which {form.template} has for this problem")
    for kernel in configs:
        if kernel not in form.kernels:
            raise BadInput(f"configs name {kernel[:40]}, which {form.template} does not have")
    spec = Spec(problem, gpu, configs, interface)
    if len(spec.model.operands) != len(problem.operands):
        raise BadInput(
            f"model gives {len(spec.model.operands)} operands, and the kernel takes {', '.join(problem.operands)}"
        )
    source = environment().get_template(form.template).render(spec=spec, view=form.view)
    for name in spec.model.arguments:
        if f"\ndef {name}(" in source:
            raise BadInput(f"forward's argument {name} has the name of a function of the file")
    return source


def choose(problem: Problem, gpu: GpuSpec, without: Container[tuple[str, Config]] = ()) -> Configs:
    """The best candidates of each kernel that fit the GPU, at most six, best first.

    Nothing is compiled: the candidates' own bounds on shared memory decide, and `without` holds those, by
    kernel and config, that the compiler has said do not fit.

    Raises BadInput where the family cannot compute the problem, Refused where under three configs fit.
    """
    form = find_family(problem.family).form(problem, gpu)
    chosen = {}
    for kernel, candidates in form.kernels.items():
        fitting = [
            candidate.config
            for candidate in candidates
            if (candidate.shared_bound or 0) <= gpu.shared_per_block
            and (kernel, candidate.config) not in without
        ]
        if len(fitting) < MIN_CONFIGS:
            raise Refused(
                f"{kernel}: {len(fitting)} of {len(candidates)} configs fit the {gpu.name}, "
                f"and a list holds {MIN_CONFIGS} at least"
            )
        chosen[kernel] = tuple(fitting[:MAX_CONFIGS])
    return chosen


@cache
def environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(template_dir()),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


def template_dir() -> Path:
    """Where the templates are: in the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    packaged = package / "templates"
    return packaged if packaged.is_dir() else package.parent / "templates"
