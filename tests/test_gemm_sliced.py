"""Gemms of few tiles whose K is summed in slices: when that is chosen, that it is right, and that bits repeat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gemm_children import Child, checked
from gemm_matrix import starved

from codegen import fitting
from codegen.families import find_family
from codegen.gemm_sliced import TILE, most_slices
from codegen.gpu import find_gpu
from codegen.problem import Problem, Step
from codegen.rank import sizes, splits, tiles
from codegen.render import choose, render
from codegen.slices import LEAST_STEPS, STEP, TILE_M, TILE_N, slices_of


def gemm(m: int, n: int, k: int, **fields: Any) -> Problem:
    return Problem("gemm", m, n, k, **fields)


BF16 = {"dtype": "bfloat16"}


@pytest.mark.parametrize(
    ("problem", "gpu", "template"),
    [
        pytest.param(
            gemm(256, 256, 524288), "a100-sxm-80gb", "sliced", id="four tiles, K without end"
        ),
        pytest.param(
            gemm(256, 256, 524288), "rtx-4090", "sliced", id="the same without tensor cores"
        ),
        pytest.param(gemm(256, 256, 524288, **BF16), "h200", "sliced", id="the same in 16 bits"),
        pytest.param(gemm(256, 256, 8192), "h200", "sliced", id="too short for slices of parts"),
        pytest.param(gemm(16, 1024, 8192, **BF16), "h200", "sliced", id="thin, and not wide"),
        pytest.param(
            gemm(1, 256, 65536, **BF16, batch=(4,), batched="a"),
            "h200",
            "sliced",
            id="rows of all batches are one matrix",
        ),
        pytest.param(gemm(16, 8192, 8192, **BF16), "h200", "pointer", id="thin, wide enough"),
        pytest.param(gemm(8192, 16, 8192, **BF16), "h200", "pointer", id="narrow, tall enough"),
        pytest.param(gemm(1, 8192, 8192, **BF16), "h200", "pointer", id="a vector by a matrix"),
        pytest.param(gemm(512, 512, 512, **BF16), "h200", "pointer", id="small: one short launch"),
        pytest.param(gemm(128, 128, 128, **BF16), "h200", "pointer", id="smaller"),
        pytest.param(gemm(256, 256, 512), "a100-sxm-80gb", "pointer", id="K is too short"),
        pytest.param(gemm(256, 256, 0), "h200", "pointer", id="no K"),
        pytest.param(gemm(0, 256, 524288), "h200", "pointer", id="no rows"),
        pytest.param(
            gemm(256, 256, 8192, **BF16, batch=(128,)),
            "h200",
            "descriptor",
            id="batches fill the GPU",
        ),
        pytest.param(gemm(2048, 2048, 8192, **BF16), "h200", "descriptor", id="tiles enough"),
        pytest.param(
            gemm(1024, 2048, 4096, layout="nt", precision="tf32"),
            "h200",
            "descriptor",
            id="descriptors gain more than slices",
        ),
    ],
)
def test_k_is_sliced_where_tiles_are_few(problem: Problem, gpu: str, template: str) -> None:
    form = find_family("gemm").form(problem, find_gpu(gpu))
    assert form.template == f"gemm/{template}.py.jinja"


FP16X3 = {"precision": "fp16x3"}


@pytest.mark.parametrize(
    ("problem", "slices"),
    [
        pytest.param(gemm(256, 256, 524288), 66, id="four tiles, K without end"),
        pytest.param(gemm(256, 256, 524288, layout="nt", **FP16X3), 66, id="asked for, transposed"),
        pytest.param(gemm(512, 512, 131072), 16, id="sixteen tiles"),
        pytest.param(gemm(256, 256, 65536, batch=(4,)), 16, id="sixteen tiles in a batch"),
        pytest.param(
            gemm(64, 256, 524288, batch=(4,), batched="a", **FP16X3), 66, id="folded into two"
        ),
        pytest.param(gemm(512, 512, 8192, **FP16X3), 4, id="asked for"),
        pytest.param(gemm(512, 512, 1024, **FP16X3), None, id="asked for, and K too short"),
        pytest.param(gemm(2048, 4096, 524288), None, id="tiles enough"),
        pytest.param(gemm(1536, 1536, 65536), None, id="tiles for more than half of the GPU"),
        pytest.param(gemm(512, 512, 131072, precision="fp16"), None, id="of one part each"),
        pytest.param(gemm(512, 512, 131072, precision="tf32x3"), None, id="split in registers"),
        pytest.param(
            gemm(256, 256, 524288, layout="tt"), None, id="split in registers, not turned there"
        ),
        pytest.param(gemm(16, 1024, 131072), None, id="a few rows, too"),
    ],
)
def test_parts_are_multiplied_in_slices_where_that_pays(
    problem: Problem, slices: int | None
) -> None:
    form = find_family("gemm").form(problem, find_gpu("h200"))
    assert getattr(form.view, "sliced", False) == bool(slices)
    if slices:
        reasons = {each.reason.split("; ")[-1] for each in form.kernels["gemm_parts_kernel"]}
        assert reasons == {f"K in {slices} slices"}


@pytest.mark.parametrize("gpu", ["h200", "b200"])
@pytest.mark.parametrize("shape", [(256, 256, 524288), (300, 200, 70001), (64, 64, 1), (64, 64, 0)])
def test_slices_of_parts_cover_k_and_fill_the_gpu(gpu: str, shape: tuple[int, int, int]) -> None:
    problem, spec = gemm(*shape), find_gpu(gpu)
    slices, steps = slices_of(problem, spec), max(-(-problem.k // STEP), 1)
    assert (slices.count - 1) * slices.steps < steps <= slices.count * slices.steps
    assert slices.count == 1 or slices.steps >= LEAST_STEPS
    tiles = -(-problem.m // TILE_M) * -(-problem.n // TILE_N)
    assert slices.count * tiles <= spec.sms
    assert steps < 2 * LEAST_STEPS or slices.count > 1


@pytest.mark.parametrize("gpu", ["a100-sxm-80gb", "rtx-4090", "h200", "b200"])
@pytest.mark.parametrize("m", [16, 256, 512])
def test_slices_fill_the_gpu_and_have_room(gpu: str, m: int) -> None:
    problem, spec = gemm(m, 256, 65536, dtype="float16"), find_gpu(gpu)
    configs = choose(problem, spec)["gemm_sliced_kernel"]
    best = configs[0]
    assert spec.sms // 2 < tiles(problem, best) * splits(best) <= 2 * spec.sms
    for config in configs:
        assert splits(config) <= most_slices(problem, spec)
        assert problem.k // sizes(config)[2] // splits(config) >= (config.stages or 0)
    assert most_slices(problem, spec) * m * 256 <= 2 * spec.sms * TILE


def test_k_may_stay_whole() -> None:
    """For the autotuner to choose: nothing is stored then but the result."""
    candidates = find_family("gemm").form(gemm(256, 256, 524288, **BF16), find_gpu("h200")).kernels
    assert {splits(candidate.config) > 1 for candidate in candidates["gemm_sliced_kernel"]} == {
        True,
        False,
    }


@pytest.fixture(scope="module")
def interpreter() -> Iterator[Child]:
    child = Child("gemm_child.py")
    yield child
    child.close()


def bits(answer: list[dict[str, Any]]) -> list[str]:
    return [result["bits"] for result in answer]


def rendered_few(problem: Problem, gpu: str, folder: Path) -> Path:
    """The file with its first two configs alone: tests of the whole list are in test_gemm_matrix.py."""
    spec = find_gpu(gpu)
    configs = {name: entries[:2] for name, entries in choose(problem, spec).items()}
    path = folder / "rendered.py"
    path.write_text(render(problem, spec, configs), "utf-8")
    return path


# Rows of odd bytes, and slices of different lengths.
SMALL, SMALL_BATCH = {"m": 37, "n": 50, "k": 333}, {"m": 5, "n": 19, "k": 139}


@pytest.mark.parametrize(
    "problem", [pytest.param(problem, id=name) for name, problem in starved().items()]
)
def test_slices_add_up_to_the_same_bits_in_any_order(
    problem: Problem, interpreter: Child, tmp_path: Path
) -> None:
    path = rendered_few(problem, "h200", tmp_path)
    small = replace(problem, **(SMALL_BATCH if problem.batch else SMALL))
    forwards = checked(interpreter, path, "h200", small)
    kernel = "gemm_parts_kernel" if problem.precision == "fp16x3" else "gemm_sliced_kernel"
    assert {result["kernel"] for result in forwards} == {kernel}
    assert bits(checked(interpreter, path, "h200", small, backwards=True)) == bits(forwards)


FIELDS: dict[str, Any] = {
    "layout": "nt",
    "dtype": "float16",
    "epilogue": (Step("bias"), Step("relu")),
}


@pytest.mark.parametrize(
    "shape",
    [
        (1, 1, 1),
        (1, 1, 1500),
        (1, 40, 640),
        (40, 1, 641),
        (8, 8, 0),
        (0, 8, 8),
        (8, 0, 8),
        (140, 150, 130),
    ],
    ids=lambda shape: "x".join(map(str, shape)),
)
def test_any_size_is_taken(shape: tuple[int, int, int], interpreter: Child, tmp_path: Path) -> None:
    path = rendered_few(gemm(256, 256, 65536, **FIELDS), "rtx-4090", tmp_path)
    checked(interpreter, path, "rtx-4090", gemm(*shape, **FIELDS))


def test_a_large_result_is_not_sliced(interpreter: Child, tmp_path: Path) -> None:
    """There is no room for its sums, and tiles are enough."""
    path = rendered_few(gemm(256, 256, 65536, **FIELDS), "rtx-4090", tmp_path)
    path.write_text(path.read_text("utf-8").replace("PROGRAMS = 256", "PROGRAMS = 7"), "utf-8")
    assert "PROGRAMS = 7" in path.read_text("utf-8")
    for m in (120, 400):  # two tiles of 128x128, so three slices; and seven
        checked(interpreter, path, "rtx-4090", gemm(m, 250, 128, **FIELDS))


@pytest.mark.parametrize(
    "way", ["every second element", "one element in", "transposed in memory", "not all finite"]
)
def test_operands_may_lie_and_be_anyhow(way: str, interpreter: Child, tmp_path: Path) -> None:
    path = rendered_few(gemm(256, 256, 65536, **FIELDS), "h200", tmp_path)
    checked(interpreter, path, "h200", gemm(24, 40, 900, **FIELDS), way)


@pytest.mark.parametrize("gpu", ["a100-sxm-80gb", "rtx-4090", "h200", "b200"])
def test_slices_are_compiled_for_each_architecture(gpu: str) -> None:
    problem, spec = gemm(256, 256, 65536, layout="tn", dtype="float16"), find_gpu(gpu)
    configs = {name: entries[:1] for name, entries in choose(problem, spec).items()}
    compiled = fitting.compile_configs(problem, spec, configs)
    assert compiled.keys() == {("gemm_sliced_kernel", configs["gemm_sliced_kernel"][0])}
    assert not any(fitting.why_not(spec, result) for result in compiled.values())


def test_slices_of_parts_are_compiled_for_blackwell() -> None:
    """For Hopper a kept file is."""
    problem, spec = gemm(256, 256, 65536, layout="tn", **FP16X3), find_gpu("b200")
    configs = {name: entries[:1] for name, entries in choose(problem, spec).items()}
    compiled = fitting.compile_configs(problem, spec, configs)
    assert compiled.keys() == {("gemm_parts_kernel", configs["gemm_parts_kernel"][0])}
    assert not any(fitting.why_not(spec, result) for result in compiled.values())
