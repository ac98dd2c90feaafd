"""Nsight Compute metrics: each file of cases/ncu is a profile and what is to be read in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from codegen.gpu import find_gpu
from codegen.ncu import KernelMetrics, find_kernel, read_metrics
from codegen.occupancy import occupancy, waves
from codegen.outcome import BadInput

CASES = sorted((Path(__file__).parent / "cases" / "ncu").glob("*.txt"))


def _case(path: Path) -> tuple[str, dict[str, Any]]:
    text, _, expected = path.read_text("utf-8").partition("\n----- expected -----\n")
    return text + "\n", json.loads(expected)


def test_there_are_cases() -> None:
    assert len(CASES) > 10


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
@pytest.mark.parametrize("dress", ["{}", "\ufeff{}", "\n\n{}"], ids=["plain", "BOM", "blank lines"])
def test_a_profile_is_read(path: Path, dress: str) -> None:
    plain, expected = _case(path)
    text = dress.replace("{}", plain)
    if "error" in expected:
        with pytest.raises(BadInput) as caught:
            read_metrics(text, first_line=1 - dress.count("\n"))
        assert str(caught.value) == expected["error"]
        return
    metrics = read_metrics(text)
    assert list(metrics) == list(expected["kernels"])
    for kernel, fields in expected["kernels"].items():
        assert metrics[kernel].kernel == kernel
        for field, value in fields.items():
            assert getattr(metrics[kernel], field) == pytest.approx(value), field


@pytest.mark.parametrize(
    "path", [p for p in CASES if p.stem.startswith("nsight_compute")], ids=lambda path: path.stem
)
def test_nsight_compute_s_own_occupancy_is_ours(path: Path) -> None:
    (metrics,) = read_metrics(_case(path)[0]).values()
    shared = metrics.shared_bytes
    assert None not in (metrics.registers_per_thread, metrics.block_size, shared)
    fits = occupancy(
        find_gpu("h200"),
        registers=metrics.registers_per_thread or 0,
        threads_per_block=metrics.block_size,
        shared_bytes=int(shared or 0),
    )
    limits = {
        "registers": "registers",
        "shared memory": "shared_mem",
        "warps": "warps",
        "blocks": "blocks",
    }
    theirs = {
        name: metrics.values[f"launch__occupancy_limit_{limit}"] for name, limit in limits.items()
    }
    assert fits.blocks_per_sm == min(theirs.values())
    assert list(fits.limited_by) == [
        name for name, limit in theirs.items() if limit == fits.blocks_per_sm
    ]
    assert fits.percent == metrics.theoretical_occupancy_pct
    assert waves(metrics.grid_size or 0, find_gpu("h200"), fits.blocks_per_sm) == pytest.approx(
        metrics.waves, abs=0.005
    )


def test_windows_line_endings_change_nothing() -> None:
    for path in CASES:
        text, expected = _case(path)
        if "error" not in expected:
            assert read_metrics(text.replace("\n", "\r\n")) == read_metrics(text)


def test_the_longest_stall_comes_first_and_issuing_is_none() -> None:
    name = "smsp__average_warps_issue_stalled_{}_per_issue_active.ratio"
    values = {name.format("wait"): 0.5, name.format("selected"): 1.0, name.format("barrier"): 2.0}
    assert list(KernelMetrics("k", 1, values).stalls.items()) == [("barrier", 2.0), ("wait", 0.5)]


def test_an_error_is_placed_in_the_file_that_holds_the_metrics() -> None:
    with pytest.raises(BadInput, match="at line 41, column 8"):
        read_metrics('{\n  "a": nope\n}', first_line=40)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        '{"a": ' + "[" * 100_000,
        '{"a": {"b": ' + "9" * 5000 + "}}",
        '"Kernel Name"\n"' + "x" * 200_000,
    ],
    ids=["empty", "blank", "deep", "a very long number", "a very long cell"],
)
def test_hopeless_input_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_metrics(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("profiled", "found"),
    [
        ("tril_matmul_kernel", True),
        ("tril_matmul_kernel_0d1d", True),
        ("tril_matmul_kernel_0d1d2d3de4c", True),
        ("void tril_matmul_kernel(float*, int)", True),
        ("void ns::tril_matmul_kernel<64, 64>(float*)", True),
        ("_Z18tril_matmul_kernelPfS_i", True),
        ("matmul_kernel", False),
        ("tril_matmul_kernel_persistent", False),
        ("my_tril_matmul_kernel", False),
        ("_Z21my_tril_matmul_kernelPf", False),
        ("", True),
    ],
)
def test_a_kernel_is_found_under_the_names_compilers_make_of_it(profiled: str, found: bool) -> None:
    metrics = {profiled: KernelMetrics(profiled, 1, {})}
    assert (find_kernel(metrics, "tril_matmul_kernel") is not None) is found


def test_a_kernel_s_own_name_comes_before_derived_ones() -> None:
    metrics = {name: KernelMetrics(name, 1, {}) for name in ("k_0d1d", "k", "k_0d1", "other", "")}
    assert find_kernel(metrics, "k") == metrics["k"]
    del metrics["k"]
    assert find_kernel(metrics, "k") == metrics["k_0d1"]
    assert find_kernel(metrics, "elsewhere") == metrics[""]
