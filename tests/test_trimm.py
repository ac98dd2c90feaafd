"""The trimm family: what it takes and refuses, the order of the tiles, and what its wrappers say."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from trimm_asking import Ask, asking

from codegen import gemm, trimm
from codegen.fitting import forward_inputs
from codegen.gemm_configs import peak_tflops
from codegen.gpu import find_gpu
from codegen.order import check
from codegen.outcome import BadInput
from codegen.problem import Problem
from codegen.render import choose, render
from codegen.trimm_configs import seconds, shared_bound

POINTER_KERNELS = ("tril_matmul_kernel", "gemm_kernel")


def problem(triangle: str | None = "lower", n: int = 4096, **fields: Any) -> Problem:
    return Problem("trimm", n, n, n, triangle=triangle, **fields)


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    with asking() as ask:
        yield ask


@pytest.mark.parametrize(
    ("gpu", "fields", "template"),
    [
        ("rtx-4090", {}, "pointer"),
        ("a100-sxm-80gb", {"dtype": "bfloat16"}, "pointer"),
        ("h200", {}, "split"),
        ("h200", {"precision": "tf32x3"}, "pointer"),
        ("h200", {"precision": "tf32"}, "packed"),
        pytest.param(
            "h200", {"precision": "tf32", "layout": "tt"}, "packed", id="whatever the layout"
        ),
        pytest.param(
            "h200", {"precision": "tf32", "n": 4097}, "pointer", id="odd rows of the result"
        ),
        ("b200", {"dtype": "float16"}, "descriptor"),
        pytest.param("h200", {"precision": "ieee"}, "pointer", id="no tensor cores"),
        pytest.param(
            "h200", {"layout": "tn", "dtype": "float16"}, "pointer", id="A stored transposed"
        ),
        pytest.param("h200", {"batch": (8,), "dtype": "float16"}, "pointer", id="batched"),
        pytest.param("h200", {"n": 1024, "dtype": "float16"}, "pointer", id="small"),
        pytest.param(
            "h200", {"n": 512, "precision": "tf32"}, "pointer", id="small, nothing packed"
        ),
        pytest.param(
            "h200", {"n": 1000, "dtype": "float16"}, "descriptor", id="small, rows ragged"
        ),
        pytest.param("h200", {"n": 512}, "pointer", id="small, no parts"),
        pytest.param(
            "h200", {"n": 4098, "precision": "tf32"}, "pointer", id="rows of half 16 bytes"
        ),
        pytest.param("h200", {"n": 4100, "dtype": "float16"}, "pointer", id="and in 16 bits"),
    ],
)
def test_the_form_follows_gpu_and_problem(gpu: str, fields: dict[str, Any], template: str) -> None:
    assert trimm.form(problem(**fields), find_gpu(gpu)).template == f"trimm/{template}.py.jinja"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"triangle": None}, "which triangle"),
        ({"dtype": "float8_e4m3fn"}, "float8_e4m3fn"),
        ({"batch": (4,), "batched": "a"}, "batches of both"),
    ],
)
def test_what_the_family_cannot_compute_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        trimm.form(problem(**fields), find_gpu("h200"))


@pytest.mark.parametrize(
    ("gpu", "precision", "layout", "rounded"),
    [
        ("rtx-4090", "tf32", "nn", ("a", "b")),
        ("h200", "tf32", "nn", ("b",)),
        ("h200", "tf32", "nt", ()),
        ("h200", "tf32", "tn", ("a", "b")),
        ("b200", "tf32", "nn", ("b",)),
        ("rtx-5090", "tf32", "nn", ("a", "b")),
        ("h200", "tf32x3", "nn", ()),
        ("rtx-4090", "ieee", "nn", ()),
    ],
)
def test_tf32_operands_are_rounded_where_they_pass_through_registers(
    gpu: str, precision: str, layout: str, rounded: tuple[str, ...]
) -> None:
    view = trimm.form(problem(precision=precision, layout=layout), find_gpu(gpu)).view
    assert isinstance(view, trimm.View)
    assert view.rounded == rounded


@pytest.mark.parametrize("layout", ["tn", "tt"])
def test_tf32_on_hopper_is_by_mma_sync_where_wgmma_would_read_registers(layout: str) -> None:
    """wgmma takes four warps and 64 rows; without them Triton uses mma.sync."""
    for family in (trimm, gemm):
        fields = {"triangle": "lower"} if family is trimm else {"triangle": None}
        spec = Problem(family.FAMILY.name, 512, 512, 512, layout=layout, precision="tf32", **fields)
        kernels = family.form(spec, find_gpu("h200")).kernels
        pointer = next(found for name, found in kernels.items() if name in POINTER_KERNELS)
        for config in (candidate.config for candidate in pointer):
            assert config.warps == 2 or dict(config.meta)["BLOCK_M"] < 64, config


@pytest.mark.parametrize("triangle", ["lower", "upper"])
@pytest.mark.parametrize(
    ("n", "block_m", "block_n"),
    [(1, 16, 16), (512, 64, 64), (500, 64, 128), (500, 128, 64), (1000, 32, 256), (1023, 256, 32)],
)
def test_the_queue_holds_each_tile_once_and_the_most_work_first(
    triangle: str, n: int, block_m: int, block_n: int, ask: Ask
) -> None:
    tiles = [
        tuple(tile)
        for tile in ask(ask="queue", triangle=triangle, n=n, block_m=block_m, block_n=block_n)
    ]
    rows, columns = -(-n // block_m), -(-n // block_n)
    assert sorted(tiles) == [(row, column) for row in range(rows) for column in range(columns)]

    def work(row: int, column: int) -> int:
        begin, end = (column * block_n, row * block_m + block_m)
        if triangle == "upper":
            begin, end = (row * block_m, column * block_n + block_n)
        return end - begin

    busy = [amount for amount in (work(*tile) for tile in tiles) if amount > 0]
    # Within a diagonal of squares as large as the larger side, tiles of the other side follow as they come.
    assert all(later - earlier < max(block_m, block_n) for earlier, later in pairwise(busy))
    assert max(busy) - busy[0] < max(block_m, block_n)


DEALT = {"BLOCK_M": 64, "BLOCK_N": 128, "BLOCK_K": 64, "SPAN": 256, "PROGRAMS": 12}


@pytest.mark.parametrize("triangle", ["lower", "upper"])
@pytest.mark.parametrize("n", [64, 1000, 2048])
def test_persistent_programs_get_each_tile_of_the_triangle_once(
    triangle: str, n: int, ask: Ask
) -> None:
    shares = ask(ask="dealt", triangle=triangle, n=n, meta=DEALT)
    expected = {}
    for row in range(0, n, 64):
        for col in range(0, n, 128):
            begin, end = (col, row + 64) if triangle == "lower" else (row, col + 128)
            if begin < min(end, n):
                expected[row, col] = -(-(min(end, n) - begin) // 64)
    tiles = [(row, col, steps) for share in shares for row, col, steps in share]
    assert sorted(tiles) == sorted((*place, steps) for place, steps in expected.items())


def test_persistent_programs_get_even_shares_heaviest_first(ask: Ask) -> None:
    shares = ask(ask="dealt", triangle="lower", n=2048, meta=DEALT)
    work = [sum(steps for _, _, steps in share) for share in shares]
    assert max(work) < 1.1 * sum(work) / len(work)
    for share in shares:  # within a square of SPAN they come as they lie
        steps = [steps for _, _, steps in share]
        assert all(later - earlier <= 2 * 256 // 64 for earlier, later in pairwise(steps))


@pytest.mark.parametrize(
    ("gpu", "n", "larger", "smaller"),
    [
        pytest.param("b200", 8192, (128, 256), (64, 64), id="large matrices take large tiles"),
        pytest.param("b200", 1040, (64, 64), (128, 256), id="small matrices take small ones"),
        pytest.param("rtx-4090", 512, (32, 32), (128, 128), id="smaller matrices, smaller tiles"),
    ],
)
def test_the_model_prefers(
    gpu: str, n: int, larger: tuple[int, int], smaller: tuple[int, int]
) -> None:
    spec, target = problem(n=n, precision="tf32"), find_gpu(gpu)
    configs = [c.config for found in trimm.form(spec, target).kernels.values() for c in found]

    def time(blocks: tuple[int, int]) -> float:
        config = next(c for c in configs if tuple(v for _, v in c.meta[:2]) == blocks)
        return seconds(spec, target, config, peak_tflops(spec, target, "tf32"))

    assert time(larger) < time(smaller)


@pytest.mark.parametrize("triangle", ["lower", "upper"])
def test_the_model_s_work_is_that_of_the_triangle(triangle: str) -> None:
    """With small tiles and no start-up, N = 4096 takes a sixth of the dense product's multiply-adds."""
    spec, target = problem(triangle, precision="tf32"), find_gpu("h200")
    configs = [
        c.config for c in trimm.form(spec, target).kernels[f"tri{triangle[0]}_matmul_kernel"]
    ]
    small = min(configs, key=lambda c: [int(str(v)) for _, v in c.meta])
    fast_memory = peak_tflops(spec, target, "tf32") / 1e6  # arithmetic so slow that only it counts
    dense = 2 * 4096**3 / (fast_memory * 1e12)
    assert seconds(spec, target, small, fast_memory) == pytest.approx(dense / 6, rel=0.05)


@pytest.mark.parametrize("gpu", ["rtx-4090", "a100-sxm-80gb", "h200", "b200", "rtx-5090"])
@pytest.mark.parametrize(
    "fields",
    [
        {"precision": "tf32"},
        {"precision": "ieee"},
        {"precision": "tf32x3"},
        {"precision": "bf16x3"},
        {"dtype": "float16"},
        {"dtype": "bfloat16"},
    ],
    ids=str,
)
def test_every_gpu_has_configs_that_fit(gpu: str, fields: dict[str, Any]) -> None:
    target, spec = find_gpu(gpu), problem(**fields)
    for configs in choose(spec, target).values():
        assert len(set(configs)) == len(configs) >= 5
        for config in configs:
            bound = shared_bound(spec, fields.get("precision"), config)
            assert bound <= target.shared_per_block


def test_the_wrapper_says_why_operands_do_not_fit(ask: Ask) -> None:
    for gpu in ("rtx-4090", "h200"):
        said = ask(ask="refusals", problem=problem().to_json(), gpu=gpu)
        shape = "must have one shape [N, N]"
        expected = {
            "not square": shape,
            "sizes differ": shape,
            "a vector": shape,
            "a batch": shape,
            "another type": "must be torch.float32",
            "types differ": "torch.float16",
            "on the CPU": "on one CUDA device",
        }
        assert said.keys() == expected.keys()
        for case, words in expected.items():
            assert words in said[case], case


def test_an_empty_matrix_launches_nothing(ask: Ask) -> None:
    answer = ask(ask="empty", problem=problem().to_json(), gpu="h200")
    assert answer == {"launched": [], "shape": [0, 0]}


@pytest.mark.parametrize("triangle", ["lower", "upper"])
@pytest.mark.parametrize(
    "fields", [{}, {"precision": "tf32"}, {"batch": (2,), "layout": "tt"}], ids=str
)
@pytest.mark.parametrize("gpu", ["rtx-4090", "h200"])
def test_rendered_files_keep_the_required_order(
    triangle: str, fields: dict[str, Any], gpu: str
) -> None:
    spec, target = problem(triangle, **fields), find_gpu(gpu)
    source = render(spec, target, choose(spec, target))
    assert check(source.encode()) == ()
    assert max(map(len, source.splitlines())) <= 110  # black leaves comments and texts alone


def test_the_same_spec_gives_the_same_bytes() -> None:
    spec, target = problem(precision="tf32"), find_gpu("h200")
    assert render(spec, target, choose(spec, target)) == render(spec, target, choose(spec, target))


@pytest.mark.parametrize(
    ("triangle", "layout", "stored"),
    [
        ("lower", "nn", ("tril", "tril")),
        ("lower", "nt", ("tril", "triu")),
        ("lower", "tn", ("triu", "tril")),
        ("upper", "nt", ("triu", "tril")),
        ("upper", "tt", ("tril", "tril")),
    ],
)
def test_a_triangle_that_is_stored_transposed_is_the_other_one(
    triangle: str, layout: str, stored: tuple[str, str]
) -> None:
    inputs = forward_inputs(problem(triangle, layout=layout))
    assert tuple(each.structure for each in inputs) == stored  # type: ignore[union-attr]
