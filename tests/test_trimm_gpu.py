"""Rendered trimm files on the GPU of this machine: every config against float64, graphs, torch.compile, big offsets.

Run by hand on a machine with one: `python -m pytest -n 0 -m gpu tests/test_trimm_gpu.py -s`. The rows are those
of the interpreter's matrix that were rendered for this GPU's architecture.
"""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest
import torch
from test_trimm_matrix import INTERPRETED, kernel_name, problem, sentence
from trimm_operands import operand, product, relative_error, triangle

from codegen import trimm
from codegen.float32_grade import resolved_precision
from codegen.gpu import GpuSpec, find_gpu
from codegen.load import import_file
from codegen.problem import Problem
from codegen.render import choose, render
from codegen.spec import Configs

pytestmark = pytest.mark.gpu

# Of the library's error in the same type on the same operands. Splitting in three must be as good as float32;
# Triton drops the bits that TF32 lacks where the library rounds.
BOUNDS = {None: 2.0, "ieee": 2.0, "tf32x3": 2.0, "bf16x3": 25.0, "tf32": 3.0}
KEYS = {(8, 0): "a100-sxm-80gb", (8, 9): "rtx-4090", (9, 0): "h200", (10, 0): "b200"}


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that nobody wrote is NaN. Not for torch.compile, which traces torch.empty."""
    empty = torch.empty

    def poisoned(*args: Any, **kwargs: Any) -> torch.Tensor:
        made = empty(*args, **kwargs)
        return made.fill_(float("nan")) if made.is_floating_point() else made

    monkeypatch.setattr(torch, "empty", poisoned)


def this_gpu() -> GpuSpec:
    capability = torch.cuda.get_device_capability()
    if capability not in KEYS:
        pytest.skip(f"no rows for compute capability {capability}")
    return find_gpu(KEYS[capability])


def load(spec: Problem, configs: Configs, folder: Path) -> types.ModuleType:
    path = folder / "rendered.py"
    path.write_text(render(spec, this_gpu(), configs))
    return import_file(str(path))


def best(spec: Problem, folder: Path) -> types.ModuleType:
    """The file as it is shipped, its first call tuning."""
    return load(spec, choose(spec, this_gpu()), folder)


@pytest.mark.usefixtures("poison")
@pytest.mark.parametrize("row", INTERPRETED, ids=sentence)
def test_every_config_is_right(row: tuple[Any, ...], tmp_path: Path) -> None:
    which, dtype, precision, key, kernel, place, rest, more = row
    if key != this_gpu().key:
        pytest.skip(f"rendered for {key}")
    spec = problem(which, dtype, precision, **more)
    form = trimm.form(spec, this_gpu())
    assert isinstance(form.view, trimm.View)
    configs = {name: tuple(c.config for c in found) for name, found in form.kernels.items()}
    module = load(spec, configs, tmp_path)
    tuner = getattr(module, kernel_name(which, kernel))
    n = 1024 + rest
    A, B = (operand(spec, name, n, place, "cuda") for name in "AB")
    exact = product(form.view, A, B, torch.float64)
    bound, theirs = BOUNDS[precision], library_error(spec, form.view, A, B, exact)
    wrong = []
    for config in list(tuner.configs):
        tuner.configs = [config]
        C = module.ModelNew()(A, B)
        error = relative_error(C, exact)
        zeros = bool((C[..., ~triangle(n, form.view.lower, "cuda")] == 0).all())
        print(f"{sentence(row)}: {config}: error {error:.2e}, library {theirs:.2e}")
        if not (error <= bound * theirs and zeros):
            wrong.append((str(config), error, zeros))
    assert not wrong, (wrong, theirs)


def library_error(
    spec: Problem, view: trimm.View, A: torch.Tensor, B: torch.Tensor, exact: torch.Tensor
) -> float:
    tf32 = resolved_precision(spec, this_gpu()) == "tf32"
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    try:
        theirs = product(view, A, B, getattr(torch, spec.dtype))
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed
    return relative_error(theirs.to(getattr(torch, spec.out_dtype)), exact)


@pytest.mark.usefixtures("poison")
@pytest.mark.parametrize("fields", [{}, {"dtype": "bfloat16"}], ids=str)
@pytest.mark.parametrize("n", [1024, 1001], ids=["even", "ragged"])
def test_a_graph_replays_on_new_operands(fields: dict[str, Any], n: int, tmp_path: Path) -> None:
    spec = problem("lower", fields.get("dtype", "float32"), None, n=n)
    model = best(spec, tmp_path).ModelNew()
    A, B = (operand(spec, name, n, "contiguous", "cuda") for name in "AB")
    model(A, B)  # tunes
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        C = model(A, B)
    for _ in range(3):
        A.mul_(2)
        C.fill_(float("nan"))
        graph.replay()
        assert torch.equal(C, model(A, B))


@pytest.mark.parametrize("n", [1024, 1001], ids=["even", "ragged"])
def test_torch_compile_gives_the_same(n: int, tmp_path: Path) -> None:
    spec = problem("upper", "float32", "tf32", n=n)
    model = best(spec, tmp_path).ModelNew()
    view = trimm.form(spec, this_gpu()).view
    assert isinstance(view, trimm.View)
    A, B = (operand(spec, name, n, "contiguous", "cuda") for name in "AB")
    exact = product(view, A, B, torch.float64)
    compiled = torch.compile(model)
    for _ in range(2):  # the second call finds everything compiled
        assert relative_error(compiled(A, B), exact) < 1e-3


@pytest.mark.usefixtures("poison")
def test_offsets_past_2_to_the_31(tmp_path: Path) -> None:
    """Rows so far apart that the last one starts 2^31 elements in."""
    spec = problem("lower", "float16", None, n=304)
    module = best(spec, tmp_path)
    view = trimm.form(spec, this_gpu()).view
    assert isinstance(view, trimm.View)
    A, B = (operand(spec, name, 304, "contiguous", "cuda") for name in "AB")
    stride = 2**31 // 303 + 1
    for odd in (0, 1):  # odd strides lead to the pointer kernel
        row = stride // 8 * 8 + 8 + odd
        far = torch.empty(303 * row + 304, dtype=A.dtype, device="cuda")
        wide = far.as_strided((304, 304), (row, 1)).copy_(A)
        exact = product(view, A, B, torch.float64)
        assert relative_error(module.ModelNew()(wide, B), exact) < 1e-3


@pytest.mark.usefixtures("poison")
def test_calls_on_several_streams_do_not_disturb_each_other(tmp_path: Path) -> None:
    spec = problem("lower", "bfloat16", None, n=2048)
    model = best(spec, tmp_path).ModelNew()
    A, B = (operand(spec, name, 2048, "contiguous", "cuda") for name in "AB")
    expected = model(A, B)
    torch.cuda.synchronize()
    streams = [torch.cuda.Stream() for _ in range(4)]
    results = []
    for _ in range(8):
        for stream in streams:
            with torch.cuda.stream(stream):
                results.append(model(A, B))
    torch.cuda.synchronize()
    assert all(torch.equal(result, expected) for result in results)
