"""`--max-error`: which precision it leads to, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codegen.cli import main
from codegen.gemm_configs import peak_tflops
from codegen.gpu import find_gpu, known_gpus
from codegen.outcome import BadInput
from codegen.precision import MEASURED_ERROR, MEASURED_FLOPS
from codegen.problem import PRECISIONS, Problem
from codegen.tolerance import documented_error, precision_within, seconds

# GPU, family, M, N, K, the error asked for, what it leads to.
LEADS_TO = [
    ("h200", "gemm", 4096, 4096, 8192, 1e-2, "fp16"),
    ("h200", "gemm", 4096, 4096, 8192, 3e-4, "fp16"),
    ("h200", "gemm", 4096, 4096, 8192, 2e-4, "fp16x3"),
    ("h200", "gemm", 4096, 4096, 8192, 1e-6, "fp16x3"),
    ("h200", "gemm", 4096, 4096, 8192, 5e-7, "tf32x3"),
    ("b200", "gemm", 4096, 4096, 8192, 1e-6, "fp16x3"),
    ("a100-sxm-80gb", "gemm", 4096, 4096, 8192, 1e-2, "tf32"),
    ("a100-sxm-80gb", "gemm", 4096, 4096, 8192, 1e-5, "bf16x3"),
    ("a100-sxm-80gb", "gemm", 4096, 4096, 8192, 1e-6, "tf32x3"),
    # Ada's rates are equal in TF32 and float32: the nearer of two that are as fast.
    ("rtx-4090", "gemm", 4096, 4096, 8192, 1e-2, "ieee"),
    ("rtx-4090", "gemm", 4096, 4096, 8192, 1e-6, "tf32x3"),
    ("h200", "trimm", 4096, 4096, 4096, 1e-6, "fp16x3"),
    ("a100-sxm-80gb", "trimm", 4096, 4096, 4096, 1e-2, "tf32"),
    # Long sums: what 1e-6 allows at 8192 it does not at 32768.
    ("h200", "gemm", 256, 256, 32768, 1e-6, "tf32x3"),
    # Bound by reading one operand: splitting it into parts costs more than it gains, and all others are as fast.
    ("h200", "gemm", 1, 16384, 16384, 1e-2, "tf32x3"),
]


def of(family: str, m: int, n: int, k: int, **fields: str) -> Problem:
    return Problem(family, m, n, k, triangle="lower" if family == "trimm" else None, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("row", LEADS_TO, ids=lambda row: " ".join(map(str, row)))
def test_the_fastest_that_is_near_enough(row) -> None:
    gpu, family, m, n, k, error, precision = row
    assert precision_within(of(family, m, n, k), find_gpu(gpu), error) == precision


def test_whatever_it_leads_to_is_near_enough_and_nothing_near_enough_is_faster() -> None:
    for gpu in known_gpus():
        for k in (64, 8192, 100_000):
            problem = of("gemm", 4096, 4096, k)
            for error in (1e-2, 1e-4, 3e-6, 2e-6):
                found = precision_within(problem, gpu, error)
                assert documented_error(found, k) <= error
                for other in ("ieee", "tf32", "bf16x3", "tf32x3"):
                    if documented_error(other, k) <= error:
                        assert seconds(problem, gpu, found) <= seconds(problem, gpu, other)


def test_every_precision_has_its_figures() -> None:
    assert set(MEASURED_ERROR) == set(MEASURED_FLOPS) == set(PRECISIONS)
    h200, square = find_gpu("h200"), of("gemm", 4096, 4096, 4096)
    assert all(rate < peak_tflops(square, h200, p) * 1e12 for p, rate in MEASURED_FLOPS.items())


def test_errors_grow_with_long_sums_alone() -> None:
    assert documented_error("fp16x3", 64) == MEASURED_ERROR["fp16x3"]
    assert documented_error("fp16x3", 4 * 8192) == 2 * MEASURED_ERROR["fp16x3"]


@pytest.mark.parametrize("gpu", ["h200", "a100-sxm-80gb", "rtx-4090"])
def test_none_that_is_near_enough_is_said_with_the_nearest(gpu: str) -> None:
    with pytest.raises(BadInput, match=r"K=4096: the nearest is tf32x3, .* error of 3\.2e-07"):
        precision_within(of("gemm", 64, 64, 4096), find_gpu(gpu), 1e-9)


def test_what_cannot_be_rendered_at_all_is_refused_for_its_own_reason() -> None:
    batch = Problem("trimm", 64, 64, 64, triangle="lower", batch=(2,), batched="a")
    with pytest.raises(BadInput, match="trimm takes batches of both operands"):
        precision_within(batch, find_gpu("h200"), 1e-2)


REFUSED = {
    "no number": (["--max-error", "small"], "'small' is no positive number"),
    "zero": (["--max-error", "0"], "'0' is no positive number"),
    "negative": (["--max-error=-1e-6"], "no positive number"),
    "not finite": (["--max-error", "inf"], "no positive number"),
    "nan": (["--max-error", "nan"], "no positive number"),
    "beside a precision": (
        ["--max-error", "1e-6", "--precision", "tf32"],
        "leave --precision out",
    ),
    "of other operands": (["--max-error", "1e-3", "--dtype", "float16"], "is for float32"),
    "too near": (["--max-error", "1e-9"], "the nearest is tf32x3"),
}


@pytest.mark.parametrize(("options", "said"), REFUSED.values(), ids=list(REFUSED))
def test_what_is_refused_is_one_line(options, said, capsys) -> None:
    assert main(["render", "gemm", "--gpu", "h200", "--no-verify", *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert said in err


def test_the_record_holds_what_it_led_to(tmp_path: Path, capsys) -> None:
    options = ["--gpu", "h200", "--no-verify", "-o", str(tmp_path)]
    assert main(["render", "gemm", *options, "--max-error", "3e-4"]) == 0
    (path,) = tmp_path.glob("*.json")
    assert json.loads(path.read_text())["problem"]["precision"] == "fp16"
    assert "--max-error 0.0003 leads to --precision fp16: documented error 2.9e-04 with K=4096" in (
        capsys.readouterr().err
    )
    assert main(["render", str(path), "--max-error", "1e-6"]) == 2
    assert "--max-error cannot be added" in capsys.readouterr().err


def test_a_models_precision_is_chosen_too(tmp_path: Path, capsys) -> None:
    model = tmp_path / "model.py"
    model.write_text(
        "import torch\nclass Model(torch.nn.Module):\n"
        "    def forward(self, A, B):\n        return A @ B\n"
        "def get_inputs():\n    return [torch.rand(256, 512), torch.rand(512, 128)]\n"
        "def get_init_inputs():\n    return []\n"
    )
    options = ["--gpu", "a100-sxm-80gb", "--no-verify", "-o", str(tmp_path)]
    assert main(["render", "--problem", str(model), *options, "--max-error", "1e-6"]) == 0
    assert "tf32x3" in capsys.readouterr().err
