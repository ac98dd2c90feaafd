"""Rendered files run before they are written: what is wrong is found in whichever kernel it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from codegen import trial
from codegen.cli import main
from codegen.gpu import find_gpu
from codegen.interface import Interface
from codegen.outcome import BadInput, Refused
from codegen.precision import promise_of
from codegen.problem import Problem, Step
from codegen.render import choose, render
from codegen.spec import Spec
from codegen.tracing import read_problem

PROBLEMS = Path(__file__).parent / "cases" / "problems"

HALF = Problem("gemm", 4096, 4096, 4096, layout="nt", dtype="float16")


@pytest.mark.parametrize(
    ("right", "wrong", "kernel"),
    [
        pytest.param(
            "first_k = step * BLOCK_K", "first_k = 0", "gemm_tma_kernel", id="on descriptors"
        ),
        pytest.param(
            "in_k = offs_k < K % BLOCK_K", "in_k = offs_k < 1", "gemm_kernel", id="on pointers"
        ),
    ],
)
def test_a_wrong_kernel_is_refused(
    right: str, wrong: str, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = find_gpu("h200")
    configs = {name: found[-1:] for name, found in choose(HALF, gpu).items()}

    def broken(*arguments: Any) -> str:
        source = render(*arguments)
        assert right in source
        return source.replace(right, wrong)

    monkeypatch.setattr(trial, "render", broken)
    with pytest.raises(Refused, match=f"^{kernel} .*: wrong: relative error"):
        trial.run_rendered(Spec(HALF, gpu, configs), None)


WIDE = Problem("gemm", 512, 512, 512, layout="nt", dtype="bfloat16", out_dtype="float32")


def test_a_wide_result_is_not_rounded_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """float32 of bfloat16: what bfloat16 loses is far from right."""
    spec = one_config(WIDE, None)
    (accuracy,) = trial.run_rendered(spec, None).accuracies.values()
    assert accuracy.relative_error < 1e-6

    def rounding(*arguments: Any) -> str:
        source = render(*arguments)
        assert "acc.to(c_ptr.dtype.element_ty)" in source
        return source.replace("acc.to(c_ptr", "acc.to(a_ptr")

    monkeypatch.setattr(trial, "render", rounding)
    with pytest.raises(Refused, match=r"gemm_kernel .*: wrong: relative error 0\.001"):
        trial.run_rendered(spec, None)


@pytest.mark.parametrize(
    ("dtype", "out_dtype", "promise"),
    [
        ("bfloat16", "float32", "wide"),
        ("float16", "float32", "wide"),
        ("bfloat16", "float16", "wide"),
        ("float16", "bfloat16", "ieee"),
        ("bfloat16", "", "ieee"),
        ("float8_e4m3fn", "float32", "ieee"),
        ("float32", "float16", "ieee"),
    ],
)
def test_a_result_that_holds_more_than_the_operands_is_due_in_full(
    dtype: str, out_dtype: str, promise: str
) -> None:
    assert promise_of(Problem("gemm", 1, 1, 1, dtype=dtype, out_dtype=out_dtype)) == promise


def one_config(problem: Problem, interface: Interface | None) -> Spec:
    gpu = find_gpu("rtx-4090")
    configs = {name: found[-1:] for name, found in choose(problem, gpu).items()}
    return Spec(problem, gpu, configs, interface)


def model_file(folder: Path, a: str, b: str, result: str) -> Path:
    path = folder / "model.py"
    path.write_text(
        "import torch\nclass Model(torch.nn.Module):\n"
        f"    def forward(self, A, B):\n        return {result}\n"
        f"def get_inputs():\n    return [torch.randn({a}), torch.randn({b})]\n"
        "def get_init_inputs():\n    return []\n"
    )
    return path


# The sizes of A and B, forward's result, and what is said of a Model that is another one on small inputs.
OTHERS = {
    "its factor follows from its sizes": (
        "64, 1024", "1024, 32", "A @ B / A.shape[-1] ** 0.5",
        r"model\.py: its factors follow from its sizes: 0\.03125, and 0\.\d+ on small ones: the configs ran",
    ),
    "a size is written into it": (
        "5, 64, 32", "32, 32", "torch.bmm(A, B.expand(5, -1, -1))",
        r"computing float64 Model of model\.py on float32\[2,.*: RuntimeError: .*: the configs ran",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("a", "b", "result", "said"), OTHERS.values(), ids=list(OTHERS))
def test_where_the_formula_stands_in_for_the_model_it_is_said(
    a: str, b: str, result: str, said: str, tmp_path: Path
) -> None:
    path = model_file(tmp_path, a, b, result)
    ran = trial.run_rendered(one_config(*read_problem(path)), path)
    assert ran.untried is not None and re.search(said, ran.untried)
    assert "\n" not in ran.untried
    assert all("Model" not in accuracy.against for accuracy in ran.accuracies.values())


def test_a_factor_that_stays_excuses_no_wrong_result(tmp_path: Path) -> None:
    """The kernel is right, and fed the operands the other way round."""
    path = model_file(tmp_path, "64, 64", "64, 64", "A @ B * 0.5")
    problem, _ = read_problem(path)
    turned = Interface(("A", "B"), ("B", "A"))
    with pytest.raises(
        Refused, match=r"gemm_kernel .*: wrong: relative error 1\.\d against float64 Model"
    ):
        trial.run_rendered(one_config(problem, turned), path)


def test_a_model_new_that_cannot_be_called_as_the_problem_says_is_not_passed_over(
    tmp_path: Path,
) -> None:
    path = model_file(tmp_path, "64, 64", "64, 64", "A @ B")
    problem, _ = read_problem(path)
    with pytest.raises(BadInput, match=r"calling ModelNew failed: .*missing .* argument: 'C'"):
        trial.run_rendered(one_config(problem, Interface(("A", "B", "C"), ("A", "B"))), path)


@pytest.mark.parametrize(
    ("problem", "expression"),
    [
        (Problem("gemm", 1, 1, 1, layout="tn"), "A.T @ B"),
        (
            Problem("trimm", 1, 1, 1, layout="nt", triangle="upper"),
            "torch.triu(A @ B.T)",
        ),
        (
            Problem(
                "gemm", 1, 1, 1, epilogue=(Step("bias"), Step("gelu_tanh"), Step("scale", 2.0))
            ),
            "(F.gelu((A @ B + bias), approximate='tanh')) * 2.0",
        ),
        (
            Problem("gemm", 1, 1, 1, epilogue=(Step("relu"), Step("residual"))),
            "(F.relu(A @ B) + residual)",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_problem_as_an_expression(problem: Problem, expression: str) -> None:
    assert problem.reference == expression


def test_a_problem_file_becomes_a_verified_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "1_linear-relu.py"
    text = (PROBLEMS / "linear_scaled_and_added_to_itself.py").read_text()
    path.write_text(text.replace("56, 56, 0.5", "1024, 1024, 0.5").replace("96, 56", "128, 1024"))
    command = ["render", "--problem", str(path), "--gpu", "rtx-4090", "-o", str(tmp_path / "out")]
    assert main(command) == 0
    said = capsys.readouterr().err
    assert "configs compiled for the NVIDIA GeForce RTX 4090 and right in the interpreter" in said
    assert f"against float64 Model of {path.name} on float32[128," in said
    assert "float32[128,1024]" not in said  # on smaller inputs
    written = tmp_path / "out" / "problem_1_linear_relu_rtx_4090.py"
    assert "self.matmul = nn.Linear(in_features, out_features)" in written.read_text()
    assert main(["render", "--check", str(written.parent)]) == 0
    assert main(["render", str(written.with_suffix(".json"))]) == 0
    assert capsys.readouterr().out == written.read_text()


def test_what_no_family_has_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    path = PROBLEMS / "softmax.py"
    assert main(["render", "--problem", str(path), "--gpu", "h200"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"codegen: {path}:9: softmax: no family has it")
