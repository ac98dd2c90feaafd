"""The trimm family at a glance: what is rendered, for which GPU, and that every config of it is right and fits.

In the interpreter each config multiplies matrices of two tiles a side and a ragged rest, whose memory outside the
triangles is NaN, into memory that is NaN. Compiled are the first and the last candidate of each kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from trimm_asking import Ask, asking

from codegen import trimm
from codegen.float32_grade import resolved_precision
from codegen.gpu import find_gpu
from codegen.inputs import TensorSpec
from codegen.outcome import Rejected
from codegen.precision import MEASURED_ERROR
from codegen.problem import Problem
from codegen.render import render
from codegen.toolchain import Compilation, Compiler, UserFile
from codegen.trimm_configs import shared_bound

# Triangle, dtype, precision, GPU, kernel, how the operands lie in memory, rest of N past two tiles, and more
# of the problem. Rows for descriptors have a rest of 8 and more, so that rows are whole 16 bytes.
INTERPRETED = [
    ("lower", "float32", "tf32", "rtx-4090", "pointer", "in a larger matrix", 37, {}),
    ("lower", "float32", "tf32", "h200", "pointer", "in a larger matrix", 5, {}),
    ("lower", "float32", "tf32", "h200", "descriptor", "column by column", 40, {}),
    ("lower", "float32", "tf32", "b200", "descriptor", "contiguous", 8, {}),
    ("lower", "float32", "ieee", "rtx-4090", "pointer", "every other row and column", 37, {}),
    ("lower", "float32", "tf32x3", "a100-sxm-80gb", "pointer", "contiguous", 16, {}),
    ("lower", "float32", "bf16x3", "h200", "pointer", "contiguous", 24, {}),
    ("lower", "float16", None, "h200", "descriptor", "contiguous", 8, {}),
    ("lower", "float16", None, "rtx-4090", "pointer", "contiguous", 64, {}),
    ("lower", "bfloat16", None, "h200", "pointer", "column by column", 13, {}),
    ("upper", "float32", "tf32", "rtx-4090", "pointer", "column by column", 19, {}),
    ("upper", "float32", "tf32", "h200", "descriptor", "every other row and column", 40, {}),
    ("upper", "float32", "tf32", "h200", "descriptor", "contiguous", 8, {"layout": "tn"}),
    (
        "upper",
        "float32",
        "tf32",
        "h200",
        "pointer",
        "contiguous",
        8,
        {"layout": "tn", "batch": [1]},
    ),
    ("upper", "float32", "ieee", "h200", "pointer", "contiguous", 1, {}),
    ("upper", "float32", "tf32x3", "h200", "pointer", "contiguous", 40, {}),
    ("upper", "float16", None, "b200", "descriptor", "contiguous", 24, {}),
    ("upper", "bfloat16", None, "rtx-4090", "pointer", "in a larger matrix", 37, {}),
    ("upper", "bfloat16", None, "h200", "descriptor", "contiguous", 40, {}),
    # Split into float16 parts.
    ("lower", "float32", "fp16", "h200", "parts", "contiguous", 40, {}),
    ("upper", "float32", "fp16", "h200", "parts", "column by column", 37, {"layout": "tn"}),
    ("lower", "float32", "fp16x3", "h200", "parts", "every other row and column", 37, {}),
    ("upper", "float32", "fp16x3", "h200", "parts", "in a larger matrix", 8, {"batch": [2]}),
    # Operands stored transposed, batches, another type of result.
    ("lower", "float32", "ieee", "h200", "pointer", "contiguous", 37, {"layout": "tn"}),
    ("upper", "float16", None, "a100-sxm-80gb", "pointer", "contiguous", 8, {"layout": "nt"}),
    ("lower", "float16", None, "h200", "pointer", "contiguous", 8, {"layout": "tt"}),
    ("lower", "float32", "ieee", "rtx-4090", "pointer", "in a larger matrix", 5, {"batch": [2]}),
    ("upper", "float16", None, "h200", "pointer", "contiguous", 5, {"batch": [1, 2]}),
    ("upper", "bfloat16", None, "h200", "descriptor", "contiguous", 8, {"out_dtype": "float32"}),
]

# N of its own: one element, less than a tile, one more than a tile's side.
SMALL = [
    ("lower", "float32", "tf32", "rtx-4090", "pointer", 1),
    ("upper", "bfloat16", None, "rtx-4090", "pointer", 17),
    ("lower", "float32", "tf32x3", "h200", "pointer", 4),
    ("upper", "float16", None, "h200", "pointer", 65),
    ("lower", "float16", None, "h200", "descriptor", 136),
]

# In the interpreter a right kernel is as near as PyTorch's own product, but for the order of summation and for
# the interpreter's rounding to bfloat16, which truncates and so errs twice as much.
SLACK = 3

COMPILED = [
    ("lower", "float32", None, "a100-sxm-80gb"),
    ("lower", "float32", "tf32", "rtx-4090"),
    ("lower", "float32", None, "h200"),
    ("upper", "float32", "tf32", "h200"),
    ("lower", "bfloat16", None, "h200"),
    ("upper", "float16", None, "b200"),
]


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    with asking() as ask:
        yield ask


def problem(
    triangle: str, dtype: str, precision: str | None, n: int = 4096, **more: Any
) -> Problem:
    data = {"family": "trimm", "triangle": triangle, "dtype": dtype, "shape": {"n": n}, **more}
    return Problem.from_json(data if precision is None else data | {"precision": precision})


def sentence(row: tuple[Any, ...]) -> str:
    return " ".join(str(cell) for cell in row if cell not in (None, {}))


def kernel_name(triangle: str, kernel: str) -> str:
    function = "tril_matmul" if triangle == "lower" else "triu_matmul"
    return f"{function}_kernel" if kernel == "pointer" else f"{function}_{kernel}_kernel"


@pytest.mark.parametrize("row", INTERPRETED, ids=sentence)
def test_every_config_is_right(row: tuple[Any, ...], ask: Ask) -> None:
    triangle, dtype, precision, gpu, kernel, place, rest, more = row
    spec = problem(triangle, dtype, precision, **more)
    check(ask, spec, gpu, kernel_name(triangle, kernel), place=place, rest=rest, n=None)


@pytest.mark.parametrize("row", SMALL, ids=sentence)
def test_every_config_is_right_at_small_sizes(row: tuple[Any, ...], ask: Ask) -> None:
    triangle, dtype, precision, gpu, kernel, n = row
    name = kernel_name(triangle, kernel)
    check(ask, problem(triangle, dtype, precision), gpu, name, place="contiguous", rest=0, n=n)


def check(ask: Ask, spec: Problem, gpu: str, kernel: str, **how: Any) -> None:
    results = ask(ask="errors", problem=spec.to_json(), gpu=gpu, kernel=kernel, **how)
    assert len(results) == len(trimm.form(spec, find_gpu(gpu)).kernels[kernel])
    for result in results:
        assert result["launched"] == [kernel], result
        assert result["shape"] and result["dtype"] == spec.out_dtype, result
        least = MEASURED_ERROR["fp16"] if spec.precision == "fp16" else 1e-7
        bound = SLACK * max(result["library_error"], least)
        assert result["error"] <= bound, result  # False for NaN
        assert result["zeros"], result


@pytest.mark.parametrize("row", COMPILED, ids=sentence)
def test_candidates_compile_within_the_limits(row: tuple[Any, ...], tmp_path: Path) -> None:
    *fields, gpu_key = row
    gpu, spec = find_gpu(gpu_key), problem(*fields)
    kernels = trimm.form(spec, gpu).kernels
    configs = {name: (found[0].config, found[-1].config) for name, found in kernels.items()}
    bounds = {
        (name, candidate.config): candidate.shared_bound
        for name, found in kernels.items()
        for candidate in found
    }
    file = tmp_path / "rendered.py"
    file.write_text(render(spec, gpu, configs))
    with Compiler(UserFile(file.name, file), gpu) as compiler:
        # A ragged N leads to the pointer kernel in files that have a descriptor kernel too.
        for n in (4096, 4097):
            sites = compiler.launches(None, [TensorSpec(spec.dtype, (n, n))] * 2).sites
        assert {site.kernel for site in sites} == set(kernels)
        jobs = [
            (site.kernel, Compilation(site.index, index, config.warps or 0, config.stages or 0))
            for site in sites
            for index, config in enumerate(configs[site.kernel])
        ]
        for (name, job), built in zip(
            jobs, compiler.compile([job for _, job in jobs]), strict=True
        ):
            config = configs[name][job.config]
            assert not isinstance(built, Rejected), (config, built)
            bound = bounds[name, config] or shared_bound(
                spec, resolved_precision(spec, gpu), config
            )
            assert built.resources.shared_bytes <= bound <= gpu.shared_per_block, config
            assert built.resources.num_warps == config.warps, config
            # Four warps with 128 sums a thread: Triton 3.9's assembler makes these wait, 3.6's does not.
            assert config.warps == 4 or not built.resources.serialised, config
