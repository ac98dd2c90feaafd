"""The gemm family: which form a problem takes, how its configs are ranked, and what its wrapper takes and refuses."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from gemm_children import Child, checked, compile_for, interpret, rendered
from gemm_operands import WAYS, load
from scipy.special import erf, ndtr

from codegen import fitting
from codegen.config import Config
from codegen.families import find_family
from codegen.gpu import find_gpu
from codegen.outcome import Resources
from codegen.pretend import PretendCuda
from codegen.problem import Problem, Step
from codegen.rank import seconds
from codegen.render import choose, render
from codegen.toolchain import Built

BIG = {"m": 4096, "n": 4096, "k": 4096}


def gemm(**fields: Any) -> Problem:
    return Problem("gemm", **({**BIG, **fields}))


@pytest.mark.parametrize(
    ("problem", "gpu", "template", "packed"),
    [
        pytest.param(gemm(dtype="bfloat16"), "rtx-4090", "pointer", "", id="no TMA before Hopper"),
        pytest.param(
            gemm(dtype="bfloat16"), "rtx-5090", "pointer", "", id="operands from registers"
        ),
        pytest.param(gemm(dtype="bfloat16"), "h200", "descriptor", "", id="16 bits in any layout"),
        pytest.param(
            gemm(dtype="float16", layout="tn"), "b200", "descriptor", "", id="transposed too"
        ),
        pytest.param(gemm(), "h200", "split", "", id="float32 grade from parts"),
        pytest.param(gemm(n=16), "h200", "pointer", "", id="parts would serve too few columns"),
        pytest.param(gemm(precision="fp16"), "b200", "split", "", id="TF32 grade from one part"),
        pytest.param(gemm(precision="ieee"), "h200", "pointer", "", id="no tensor cores"),
        pytest.param(
            gemm(precision="tf32", layout="nt"), "h200", "descriptor", "", id="both K-major"
        ),
        pytest.param(
            gemm(precision="tf32", layout="nn"), "h200", "packed", "b", id="B is not K-major"
        ),
        pytest.param(
            gemm(precision="tf32", layout="tt"), "h200", "packed", "a", id="A is not K-major"
        ),
        pytest.param(
            gemm(dtype="float8_e4m3fn", layout="tn"),
            "h200",
            "packed",
            "ab",
            id="neither is K-major",
        ),
        pytest.param(
            gemm(precision="tf32", layout="tt", m=16384, n=64),
            "h200",
            "pointer",
            "",
            id="A is used too little",
        ),
        pytest.param(
            gemm(precision="tf32", layout="nn", batch=(4,)),
            "h200",
            "pointer",
            "",
            id="batches stay",
        ),
        pytest.param(
            gemm(precision="tf32", layout="nn", m=64, batch=(64,), batched="a"),
            "h200",
            "packed",
            "b",
            id="rows of all batches use B",
        ),
        pytest.param(
            gemm(dtype="bfloat16", n=4095), "h200", "descriptor", "", id="rows of odd bytes, copied"
        ),
        pytest.param(
            gemm(dtype="bfloat16", n=65535, m=200), "h200", "pointer", "", id="too few rows to copy"
        ),
        pytest.param(
            gemm(dtype="bfloat16", m=513, n=513, k=513), "h200", "pointer", "", id="too small"
        ),
        pytest.param(
            gemm(dtype="bfloat16", n=4095, batch=(2,)),
            "h200",
            "pointer",
            "",
            id="batches of odd bytes",
        ),
        pytest.param(gemm(dtype="bfloat16", k=0), "h200", "pointer", "", id="nothing to sum"),
        pytest.param(
            gemm(dtype="bfloat16", batch=(2, 2, 2)), "h200", "descriptor", "", id="five dimensions"
        ),
        pytest.param(
            gemm(dtype="bfloat16", batch=(2, 2, 2, 2)), "h200", "pointer", "", id="six dimensions"
        ),
    ],
)
def test_the_form_of_a_problem(problem: Problem, gpu: str, template: str, packed: str) -> None:
    form = find_family("gemm").form(problem, find_gpu(gpu))
    assert form.template == f"gemm/{template}.py.jinja"
    assert form.view.packed == packed  # type: ignore[attr-defined]


def config(m: int, n: int, k: int = 32) -> Config:
    return Config((("BLOCK_M", m), ("BLOCK_N", n), ("BLOCK_K", k)), 8, 3)


@pytest.mark.parametrize(
    ("sizes", "better", "worse"),
    [
        pytest.param((8192, 8192, 8192), (128, 256), (64, 64), id="large tiles for large products"),
        pytest.param((512, 512, 4096), (64, 64), (128, 256), id="enough tiles to fill the GPU"),
        pytest.param((16, 8192, 4096), (16, 128), (128, 128), id="no rows beyond the result"),
        pytest.param((8192, 16, 4096), (128, 16), (128, 128), id="no columns beyond it"),
        # 132 multiprocessors: 128 tiles are one wave, 144 are two.
        pytest.param((2048, 1024, 4096), (128, 128), (128, 112), id="no nearly empty wave"),
    ],
)
def test_the_model_prefers(
    sizes: tuple[int, int, int], better: tuple[int, int], worse: tuple[int, int]
) -> None:
    problem, gpu = gemm(**dict(zip("mnk", sizes, strict=True)), dtype="bfloat16"), find_gpu("h200")
    times = [seconds(problem, gpu, config(*tile), 989.4) for tile in (better, worse)]
    assert times[0] < times[1]


def test_candidates_come_best_first() -> None:
    problem, gpu = gemm(m=16, dtype="bfloat16"), find_gpu("rtx-4090")
    candidates = find_family("gemm").form(problem, gpu).kernels["gemm_kernel"]
    assert dict(candidates[0].config.meta)["BLOCK_M"] == 16
    assert all(candidate.reason for candidate in candidates)


@pytest.fixture(scope="module")
def interpreter() -> Iterator[Child]:
    child = Child("gemm_child.py")
    yield child
    child.close()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("layout", "gpu", "dtype"),
    [("nn", "rtx-4090", "float16"), ("tt", "h200", "bfloat16"), ("nn", "h200", "float32")],
)
def test_operands_may_lie_in_memory_in_any_way(
    layout: str, gpu: str, dtype: str, way: str, interpreter: Child, tmp_path: Path
) -> None:
    precision = "tf32" if dtype == "float32" else None
    path = rendered(gemm(layout=layout, dtype=dtype, precision=precision), gpu, tmp_path)
    side = 3 if way.startswith("rows") else 40
    small = gemm(m=side, n=side, k=side, layout=layout, dtype=dtype, precision=precision)
    interpret(interpreter, path, gpu, small, way)


@pytest.mark.parametrize(
    "way", ["contiguous", "transposed in memory", "expanded", "not all finite"]
)
@pytest.mark.parametrize(
    ("layout", "dtype", "epilogue"),
    [
        ("nn", "float16", ()),
        ("tt", "bfloat16", (Step("bias"), Step("residual"))),
        ("nt", "float32", ()),
    ],
)
def test_operands_that_descriptors_cannot_address_are_copied_for_them(
    layout: str,
    dtype: str,
    epilogue: tuple[Step, ...],
    way: str,
    interpreter: Child,
    tmp_path: Path,
) -> None:
    fields: dict[str, Any] = {"layout": layout, "dtype": dtype, "epilogue": epilogue}
    fields["precision"] = "tf32" if dtype == "float32" else None
    path = rendered(gemm(**fields), "h200", tmp_path)
    for n in (75, 80):  # of C's rows, too, whole 16 bytes or not
        small = gemm(m=131, n=n, k=77, **fields)
        ran = checked(interpreter, path, "h200", small, way, copying=True)
        assert {result["kernel"] for result in ran} == {"gemm_tma_kernel"}


def test_large_products_are_copied_and_no_others(tmp_path: Path) -> None:
    module = load(rendered(gemm(dtype="bfloat16"), "h200", tmp_path))
    assert module.copying_pays(646, 646, 646)
    assert module.copying_pays(256, 8193, 129)
    for sizes in [
        (645, 645, 645),
        (255, 65537, 1 << 20),
        (65537, 255, 1 << 20),
        (2**31, 256, 8),
    ]:
        assert not module.copying_pays(*sizes)
    with mock.patch.object(torch.compiler, "is_compiling", return_value=True):
        assert not module.copying_pays(4096, 4096, 4096)


def test_a_packed_form_is_tuned_for_operands_it_does_not_copy(tmp_path: Path) -> None:
    packed, h200 = gemm(precision="tf32", layout="tt"), find_gpu("h200")
    assert fitting.odd_sizes(packed, h200).n == packed.n | 1
    assert fitting.odd_sizes(gemm(dtype="bfloat16"), h200).n == 255


def test_copied_operands_fit_the_gpu(tmp_path: Path) -> None:
    path = rendered(gemm(dtype="bfloat16", layout="nt"), "h200", tmp_path)
    compiler = Child("gemm_compile_child.py")
    try:
        call = gemm(dtype="bfloat16", layout="nt", m=8205, n=2949, k=5921)
        assert compile_for(compiler, path, "h200", [call]) == {"gemm_tma_kernel"}
    finally:
        compiler.close()


@pytest.mark.parametrize(
    ("gpu", "side"), [("rtx-4090", 40), ("h200", 40), ("h200", 41)], ids=["Ada", "packed", "odd"]
)
def test_nan_and_infinity_come_out_where_they_should(
    gpu: str, side: int, interpreter: Child, tmp_path: Path
) -> None:
    """Through rounding to TF32, masks, padding and relu."""
    fields: dict[str, Any] = {"layout": "tt", "precision": "tf32", "epilogue": (Step("relu"),)}
    path = rendered(gemm(**fields), gpu, tmp_path)
    small = gemm(m=side, n=side, k=side, **fields)
    interpret(interpreter, path, gpu, small, "not all finite")


def test_nan_and_infinity_come_out_of_gelu_as_by_its_formula(
    interpreter: Child, tmp_path: Path
) -> None:
    """In float64, that is: PyTorch's own float32 gelu has something else for minus infinity."""
    fields: dict[str, Any] = {"layout": "nt", "precision": "ieee", "epilogue": (Step("gelu"),)}
    path = rendered(gemm(**fields), "rtx-4090", tmp_path)
    small = gemm(m=40, n=40, k=40, **fields).to_json()
    question = {"problem": small, "way": "not all finite", "backwards": False, "copying": False}
    for result in interpreter.ask(path=str(path), gpu="rtx-4090", **question):
        assert (
            result["error"] < 3e-7
        ), result  # False for NaN, where the two differ in what is not finite


def test_infinities_come_out_of_parts_too(interpreter: Child, tmp_path: Path) -> None:
    path = rendered(gemm(precision="fp16x3"), "h200", tmp_path)
    small = gemm(m=41, n=40, k=70, precision="fp16x3")
    interpret(interpreter, path, "h200", small, "not all finite")


@pytest.mark.parametrize("gpu", ["rtx-4090", "h200"])
@pytest.mark.parametrize(
    "sizes",
    [(1, 1, 1), (1, 40, 1), (40, 1, 24), (1, 24, 40), (8, 8, 0), (0, 8, 8), (8, 0, 8), (0, 0, 0)],
    ids=lambda sizes: "x".join(map(str, sizes)),
)
def test_any_size_is_taken(
    sizes: tuple[int, int, int], gpu: str, interpreter: Child, tmp_path: Path
) -> None:
    fields: dict[str, Any] = {"layout": "nt", "dtype": "float16", "epilogue": (Step("bias"),)}
    path = rendered(gemm(**fields), gpu, tmp_path)
    small = gemm(**dict(zip("mnk", sizes, strict=True)), **fields)
    interpret(interpreter, path, gpu, small)


@pytest.mark.parametrize("gpu", ["rtx-4090", "h200"])
@pytest.mark.parametrize("batch", [(2, 3), (1, 1), (0, 3)], ids=str)
def test_batches_broadcast(
    batch: tuple[int, ...], gpu: str, interpreter: Child, tmp_path: Path
) -> None:
    fields: dict[str, Any] = {"dtype": "float16", "batch": (2,) * len(batch)}
    path = rendered(gemm(**fields), gpu, tmp_path)
    small = gemm(**fields | {"batch": batch, "m": 8, "n": 24, "k": 40})
    interpret(interpreter, path, gpu, small, "batches of one")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"A": torch.ones(5)}, "A must have 2 dimensions, and has shape (5,)"),
        ({"B": torch.ones(1, 4, 5)}, "B must have 2 dimensions, and has shape (1, 4, 5)"),
        ({"A": torch.ones(3, 5).half()}, "A must be torch.float32, and is torch.float16"),
        ({"bias": torch.ones(4).double()}, "bias must be torch.float32, and is torch.float64"),
        ({"B": torch.ones(4, 6)}, "A has K = 5, and B has K = 6: shapes (3, 5), (4, 6)"),
        ({"bias": torch.ones(3)}, "bias must have 4 elements, and has 3"),
        ({"residual": torch.ones(4, 3)}, "residual must have shape (3, 4), and has (4, 3)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_operands_that_do_not_fit_are_refused(
    change: dict[str, torch.Tensor], complaint: str, tmp_path: Path
) -> None:
    given = {"A": torch.ones(3, 5), "B": torch.ones(4, 5), "bias": torch.ones(4)}
    given |= {"residual": torch.ones(3, 4)} | change
    problem = gemm(layout="nt", epilogue=(Step("bias"), Step("residual")))
    model = load(rendered(problem, "rtx-4090", tmp_path)).ModelNew()
    with PretendCuda("cpu"), pytest.raises(ValueError) as refusal:
        model(**given)
    assert str(refusal.value) == complaint


def test_batches_that_do_not_match_are_refused(tmp_path: Path) -> None:
    model = load(rendered(gemm(batch=(2,)), "rtx-4090", tmp_path)).ModelNew()
    with PretendCuda("cpu"), pytest.raises(ValueError, match="do not match"):
        model(torch.ones(2, 4, 5), torch.ones(3, 5, 6))


def test_operands_off_the_gpu_are_refused(tmp_path: Path) -> None:
    model = load(rendered(gemm(), "rtx-4090", tmp_path)).ModelNew()
    with pytest.raises(ValueError, match="A must be on a CUDA device, and is on cpu"):
        model(torch.ones(4, 5), torch.ones(5, 6))


def test_any_number_of_leading_dimensions_folds_into_rows(
    interpreter: Child, tmp_path: Path
) -> None:
    fields: dict[str, Any] = {"layout": "nt", "dtype": "float16", "batched": "a"}
    fields["epilogue"] = (Step("bias"), Step("residual"))
    path = rendered(gemm(**fields, batch=(8,)), "h200", tmp_path)
    for batch in [(), (3,), (2, 3), (2, 0), (2, 1, 2)]:
        small = replace(gemm(**fields, batch=batch or (1,)), m=8, n=24, k=40)
        interpret(interpreter, path, "h200", replace(small, batch=batch))


def test_configs_are_chosen_with_the_compilers_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not fit makes room: here the first is said to be over the limit."""
    problem, gpu = gemm(layout="nt", dtype="float16"), find_gpu("rtx-4090")
    first, *others = choose(problem, gpu)["gemm_kernel"]
    needs = Resources(shared_bytes=1, registers=64, spill_bytes=0, num_warps=4, binary="")
    asked: list[int] = []

    def compile_configs(_problem: Any, _gpu: Any, configs: Any, _on_done: Any) -> Any:
        asked.append(len(configs["gemm_kernel"]))
        over = replace(needs, shared_bytes=gpu.shared_per_block + 1)
        return {
            ("gemm_kernel", c): Built(over if c == first else needs, 1)
            for c in configs["gemm_kernel"]
        }

    monkeypatch.setattr(fitting, "compile_configs", compile_configs)
    configs, compiled = fitting.choose_compiled(problem, gpu)
    assert first not in configs["gemm_kernel"]
    assert configs["gemm_kernel"][: len(others)] == tuple(others)
    assert asked == [6, 6]
    assert "shared memory" in str(fitting.why_not(gpu, compiled["gemm_kernel", first]))


def test_a_form_is_compiled_for_a_gpu_that_is_not_there() -> None:
    problem, gpu = gemm(precision="tf32", layout="nt"), find_gpu("h200")
    configs = {name: entries[-1:] for name, entries in choose(problem, gpu).items()}
    compiled = fitting.compile_configs(problem, gpu, configs)
    assert compiled.keys() == {(name, entries[0]) for name, entries in configs.items()}
    assert not any(fitting.why_not(gpu, result) for result in compiled.values())


def test_gelu_is_nearer_to_the_truth_than_erf_in_float32() -> None:
    """The rendered function, in NumPy's float32, beside erf's formula: by the largest error, and in mean square."""
    spec = gemm(epilogue=(Step("gelu"),))
    source = render(spec, find_gpu("h200"), choose(spec, find_gpu("h200")))
    (function,) = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name == "gelu"
    ]
    function.decorator_list = []
    single = np.float32
    tl = SimpleNamespace(
        minimum=lambda a, b: np.minimum(a, single(b)),
        abs=np.abs,
        fma=lambda a, b, c: (np.float64(a) * single(b) + single(c)).astype(single),  # rounded once
        exp2=np.exp2,
        where=lambda condition, a, b: np.where(condition, single(a), b),
    )
    names: dict[str, Any] = {"tl": tl}
    exec(compile(ast.Module([function], []), "gelu", "exec"), names)
    x = np.linspace(-14, 14, 500_001).astype(single)
    exact = x.astype(np.float64) * ndtr(x.astype(np.float64))
    by_erf = single(0.5) * x * (1 + erf(x * single(0.5**0.5)))
    ours, theirs = np.abs(names["gelu"](x) - exact), np.abs(by_erf - exact)
    normal = np.exp(-x.astype(np.float64) ** 2 / 2)
    assert ours.max() < theirs.max() < 1e-6
    assert np.average(ours**2, weights=normal) < np.average(theirs**2, weights=normal)
    with np.errstate(invalid="ignore"):  # infinity times 0
        special = names["gelu"](np.array([np.nan, np.inf, -np.inf, 0], single))
    # As the formula has it in float64: minus infinity times no share at all is not a number.
    assert np.isnan(special[[0, 2]]).all() and special[1] == np.inf and special[3] == 0
    assert (names["gelu"](np.array([-5.5, -6, -1e30], single)) == 0).all()
