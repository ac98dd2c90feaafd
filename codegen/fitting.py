"""Choosing configs with the compiler's word that they fit; the GPU need not be in this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from codegen.config import Config
from codegen.families import find_family
from codegen.gpu import GpuSpec
from codegen.inputs import InputSpec, TensorSpec
from codegen.interface import unpermuted
from codegen.occupancy import occupancy
from codegen.outcome import BadInput, Rejected
from codegen.problem import Problem
from codegen.render import choose, render
from codegen.spec import Configs, Spec
from codegen.toolchain import Built, Compiler, UserFile

Compiled = dict[tuple[str, Config], Built | Rejected]  # by kernel and config


def choose_compiled(
    problem: Problem, gpu: GpuSpec, on_done: Callable[[int], None] | None = None
) -> tuple[Configs, Compiled]:
    """The best candidates that fit the GPU, each compiled for it, and what the compiler said of each.

    Raises BadInput and Refused as `choose` does.
    """
    return settle(problem, gpu, lambda configs, _: compile_configs(problem, gpu, configs, on_done))


def settle(
    problem: Problem,
    gpu: GpuSpec,
    compile_all: Callable[[Configs, Compiled], Compiled],
    kernels: Sequence[str] | None = None,
) -> tuple[Configs, Compiled]:
    """The best candidates of the given kernels (None: of all) that fit, and all others as `choose` gives them.

    A config that does not fit makes room for the next, until all do. `compile_all` is given a choice and what is
    known already, and answers for what is not. Raises BadInput and Refused as `choose` does.
    """
    compiled: Compiled = {}
    while True:
        unfit = {key for key, result in compiled.items() if why_not(gpu, result)}
        configs = choose(problem, gpu, without=unfit)
        if all(
            (kernel, config) in compiled
            for kernel in kernels or configs
            for config in configs[kernel]
        ):
            return configs, compiled
        compiled |= compile_all(configs, compiled)


def why_not(gpu: GpuSpec, result: Built | Rejected) -> str | None:
    """Why a config cannot run on the GPU; None where it can."""
    if isinstance(result, Rejected):
        return result.reason
    if result.unsafe:
        return f"unsafe: {result.unsafe}"
    needs = result.resources
    return occupancy(
        gpu,
        registers=needs.registers,
        shared_bytes=needs.shared_bytes,
        num_warps=needs.num_warps,
    ).reason


def compile_configs(
    problem: Problem,
    gpu: GpuSpec,
    configs: Configs,
    on_done: Callable[[int], None] | None = None,
) -> Compiled:
    """Every config of the rendered file, compiled as the problem's sizes launch it, and ragged ones."""
    with tempfile.TemporaryDirectory(prefix="codegen-") as folder:
        path = Path(folder) / "rendered.py"
        path.write_text(render(problem, gpu, configs), "utf-8")
        with Compiler(UserFile(f"{problem.family} for the {gpu.name}", path), gpu) as compiler:
            compiler.launches(None, forward_inputs(problem))
            # Sizes of odd bytes lead to the kernel that takes any.
            sites = compiler.launches(None, forward_inputs(odd_sizes(problem, gpu))).sites
            jobs = [job for site in sites for job in site.compilations]
            results = compiler.compile(jobs, on_done)
    return {
        (sites[job.site].kernel, configs[sites[job.site].kernel][job.config]): result
        for job, result in zip(jobs, results, strict=True)
    }


def odd_sizes(problem: Problem, gpu: GpuSpec) -> Problem:
    """The problem in sizes near its own whose operands the last kernel of its form takes."""
    return find_family(problem.family).form(problem, gpu).ragged(problem)


def forward_inputs(problem: Problem) -> tuple[InputSpec, ...]:
    """What the rendered model's `forward` takes, at the problem's sizes."""
    a = (problem.m, problem.k) if problem.layout[0] == "n" else (problem.k, problem.m)
    b = (problem.k, problem.n) if problem.layout[1] == "n" else (problem.n, problem.k)
    inputs = []
    for name, shape, stored in (("a", a, problem.layout[0]), ("b", b, problem.layout[1])):
        batch = problem.batch if name in problem.batched else ()
        half = None
        if problem.triangle:  # a lower one that is stored transposed is an upper one
            half = "tril" if (problem.triangle == "lower") == (stored == "n") else "triu"
        inputs.append(TensorSpec(problem.dtype, (*batch, *shape), half))
    for step in problem.epilogue:
        if step.op == "bias":
            inputs.append(TensorSpec(problem.out_dtype, (problem.n,)))
        elif step.op == "residual":
            inputs.append(TensorSpec(problem.out_dtype, (*problem.batch, problem.m, problem.n)))
    return tuple(inputs)


def model_inputs(spec: Spec) -> tuple[InputSpec, ...]:
    """What the rendered ModelNew's `forward` takes, where its parameters have other names or dimensions in another order.

    Raises BadInput for a parameter that no operand is made of.
    """
    found = {}
    for operand, tensor in zip(spec.model.operands, forward_inputs(spec.problem), strict=True):
        name, order = unpermuted(operand)
        assert isinstance(tensor, TensorSpec)
        if order is not None:
            shape = [tensor.shape[order.index(place)] for place in range(len(order))]
            turned = order[-2] > order[-1] and tensor.structure in ("tril", "triu")
            other = "triu" if tensor.structure == "tril" else "tril"
            tensor = replace(
                tensor, shape=tuple(shape), structure=other if turned else tensor.structure
            )
        found[name] = tensor
    for name in spec.model.arguments:
        if name not in found:
            raise BadInput(
                f"nothing is known of forward's {name}: say what it is, with --inputs or --problem"
            )
    return tuple(found[name] for name in spec.model.arguments)
