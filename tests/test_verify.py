"""Verification in the interpreter: what is called right, what wrong, and on which inputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from codegen.gpu import find_gpu
from codegen.inputs import block_sides, parse_inputs
from codegen.outcome import Accuracy, BadInput, Refused, Rejected
from codegen.toolchain import Compiler, UserFile
from codegen.verify import Against, Trial, verify

GPU = find_gpu("rtx-4090")
SCALE = (Path(__file__).parent / "cases" / "files" / "scale.py").read_text()


def check(tmp_path, code, inputs, *, reference=None, problem=None):
    """Every config of the first launched kernel, verified."""
    path = tmp_path / "kernel.py"
    path.write_text(code)
    problem_path = None
    if problem is not None:
        problem_path = tmp_path / "problem.py"
        problem_path.write_text(problem)
    file = UserFile("kernel.py", path)
    with Compiler(file, GPU) as compiler:
        launches = compiler.launches(problem_path, parse_inputs(inputs) if inputs else None)
    (site,) = launches.sites
    trials = [Trial(site, index) for index in range(len(site.configs))]
    against = Against(problem_path, reference)
    return verify(file, GPU, trials, launches.inputs, block_sides(site.configs), against)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int32"])
def test_right_in_every_dtype(tmp_path, dtype):
    results = check(tmp_path, SCALE, f"{dtype}[100000]", reference="3 * x")
    assert all(isinstance(result, Accuracy) for result in results)
    assert results[0].against == "float64 3 * x"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_one_wrong_element_is_seen(tmp_path, dtype):
    # The config with BLOCK 256 leaves the last element of every tile as it finds it.
    code = SCALE.replace(
        "x * 2 + x, mask=i < n", "x * 2 + x, mask=(i < n) & ((i % 256 != 255) | (BLOCK != 256))"
    )
    right, wrong, also_right = check(tmp_path, code, f"{dtype}[100000]", reference="3 * x")
    assert isinstance(right, Accuracy) and isinstance(also_right, Accuracy)
    assert (
        isinstance(wrong, Rejected) and "never written, or memory read that nobody" in wrong.reason
    )


def test_a_result_of_fewer_bits_than_the_librarys_is_refused_though_it_is_near(tmp_path):
    """Within what TF32 loses; `accept` has the same rule."""
    code = SCALE.replace("empty_like(x)", "empty_like(x, dtype=torch.float16)")
    said = (
        r"no config gives a right result.*: returns float16 where the library returns float32 \(on"
    )
    with pytest.raises(Refused, match=said):
        check(tmp_path, code, "float32[100000]", reference="3 * x")
    results = check(tmp_path, code, "float32[100000]", reference="(3 * x).half()")
    assert all(isinstance(result, Accuracy) for result in results)


def test_rounding_to_fewer_bits_on_the_way_is_seen_where_the_library_does_not(tmp_path):
    """bfloat16 in, float32 out: the bound is that of float32."""
    wide = SCALE.replace("empty_like(x)", "empty_like(x, dtype=torch.float32)")
    rounding = wide.replace("x * 2 + x", "x * 2 + x.to(tl.bfloat16)")
    exact = wide.replace("x * 2 + x", "x.to(tl.float32) * 3")
    results = check(tmp_path, exact, "bfloat16[100000]", reference="3 * x.float()")
    assert all(isinstance(result, Accuracy) for result in results)
    with pytest.raises(Refused, match=r"wrong: relative error 0\.00\d+ against float64 3 \* x"):
        check(tmp_path, rounding, "bfloat16[100000]", reference="3 * x.float()")


PRODUCTS = Path(__file__).parent / "cases" / "accept"
CAST_UP = {
    "an expression": {"reference": "A.float() @ B.float()"},
    "a Model": {"problem": """
import torch


class Model(torch.nn.Module):
    def forward(self, A, B):
        return torch.matmul(A.to(torch.float32), B.to(torch.float32))


def get_inputs():
    return [torch.rand(512, 256).bfloat16(), torch.rand(256, 768).bfloat16()]


def get_init_inputs():
    return []
"""},
}


HALVES = "bfloat16[512,256] bfloat16[256,768]"


@pytest.mark.parametrize("says", CAST_UP.values(), ids=CAST_UP)
def test_a_reference_that_casts_up_allows_what_float32_loses(tmp_path, says):
    """Its own sums are in float32 too: those of another order are as right."""
    code = (PRODUCTS / "good" / "halves_summed_in_float32.py").read_text()
    for result in check(tmp_path, code, None if "problem" in says else HALVES, **says):
        assert isinstance(result, Accuracy) and 1e-8 < result.relative_error < 1e-6


def test_a_reference_that_casts_up_allows_no_rounding_to_the_operands_type(tmp_path):
    code = (PRODUCTS / "bad" / "rounds_on_the_way_to_float32.py").read_text()
    with pytest.raises(Refused, match=r"no config gives a right result.*: relative error 0\.00"):
        check(tmp_path, code, HALVES, **CAST_UP["an expression"])


@pytest.mark.parametrize("reference", ["3 * x", None])
def test_a_read_beyond_an_inputs_end_is_called_one_too(tmp_path, reference):
    """Every element is written: the last one from memory that nobody wrote."""
    code = SCALE.replace("x_ptr + i,", "x_ptr + i + ((i == n - 1) & (BLOCK == 256)),")
    _, wrong, _ = check(tmp_path, code, "float32[100000]", reference=reference)
    said = "elements never written, or memory read that nobody wrote"
    assert isinstance(wrong, Rejected) and wrong.reason.endswith(said)


def test_without_a_reference_the_minority_is_named(tmp_path):
    code = SCALE.replace("x * 2 + x", "x * (3 + (BLOCK == 512))")
    right, also_right, wrong = check(tmp_path, code, "float32[100000]")
    assert isinstance(right, Accuracy) and isinstance(also_right, Accuracy)
    assert right.against == "the other configs"
    assert isinstance(wrong, Rejected) and "against the 2 configs that agree" in wrong.reason


def test_without_a_reference_and_a_majority_it_refuses(tmp_path):
    with pytest.raises(Refused, match=r"disagree .* --reference"):
        check(tmp_path, SCALE.replace("x * 2 + x", "x * BLOCK"), "float32[100000]")


def test_a_lone_config_without_a_reference_is_run_and_not_called_right(tmp_path):
    code = "\n".join(
        line
        for line in SCALE.split("\n")
        if '"BLOCK": 256' not in line and '"BLOCK": 512' not in line
    )
    assert check(tmp_path, code, "float32[100000]") == [None]


def test_a_config_that_fails_in_the_interpreter_costs_only_itself(tmp_path):
    code = SCALE.replace(
        "    i = tl.program_id", "    tl.static_assert(BLOCK != 256)\n    i = tl.program_id"
    )
    right, failed, also_right = check(tmp_path, code, "float32[100000]", reference="3 * x")
    assert isinstance(right, Accuracy) and isinstance(also_right, Accuracy)
    assert isinstance(failed, Rejected) and "\n" not in failed.reason


def test_a_config_that_takes_the_interpreter_down_costs_only_itself(tmp_path):
    code = SCALE.replace("tl.load(x_ptr + i,", "tl.load(x_ptr + i + (BLOCK == 256) * (1 << 40),")
    right, crashed, also_right = check(tmp_path, code, "float32[100000]", reference="3 * x")
    assert isinstance(right, Accuracy) and isinstance(also_right, Accuracy)
    assert isinstance(crashed, Rejected) and "SIGSEGV" in crashed.reason


def test_a_config_that_never_ends_costs_only_itself(tmp_path, monkeypatch):
    monkeypatch.setattr("codegen.verify.RUN_SECONDS", 3)
    code = SCALE.replace(
        "    x = tl.load", "    while BLOCK == 256:\n        pass\n    x = tl.load"
    )
    right, endless, also_right = check(tmp_path, code, "float32[100000]", reference="3 * x")
    assert isinstance(right, Accuracy) and isinstance(also_right, Accuracy)
    assert isinstance(endless, Rejected) and "ran longer than 3 s" in endless.reason


def test_a_wrapper_that_wants_whole_tiles_gets_them_and_the_report_says_so(tmp_path):
    code = SCALE.replace(
        "    y = torch", "    assert x.numel() % 512 == 0, 'whole tiles only'\n    y = torch"
    )
    results = check(tmp_path, code, "float32[65536]", reference="3 * x")
    assert [result.inputs for result in results] == ["float32[1024]"] * 3


def test_a_wrapper_that_refuses_all_small_inputs_is_reported(tmp_path):
    code = SCALE.replace(
        "    y = torch", "    assert x.numel() == 65536 * 4096, 'this size only'\n    y = torch"
    )
    with pytest.raises(BadInput, match="this size only") as caught:
        check(tmp_path, code, "float32[65536,4096]", reference="3 * x")
    assert "\n" not in str(caught.value)


def test_every_config_wrong_is_reported_in_one_line(tmp_path):
    with pytest.raises(Refused, match=r"no config gives a right result.*relative error 0\.33"):
        check(tmp_path, SCALE, "float32[65536]", reference="4.5 * x")


@pytest.mark.parametrize(
    ("reference", "said"),
    [("x @ y", "name 'y' is not defined"), ("x[:5]", "returns shapes"), ("3", "returns no tensor")],
)
def test_a_reference_that_fails_is_reported(tmp_path, reference, said):
    with pytest.raises(BadInput, match=said):
        check(tmp_path, SCALE, "float32[65536]", reference=reference)


PROBLEM = """
import torch, torch.nn as nn
N = 4096
class Model(nn.Module):
    def __init__(self, rows):
        super().__init__()
        self.rows = rows
    def forward(self, x):
        assert x.shape[0] == self.rows
        return 3 * torch.tril(x)
def get_inputs():
    return [torch.tril(torch.rand(N, N))]
def get_init_inputs():
    return [N]
"""


# Small blocks: for two dimensions the small sizes are two of the largest, squared.
OF_ROWS = (
    SCALE.replace("512", "64")
    .replace("256", "32")
    .replace("128", "16")
    .replace(
        "nn.Module):", "nn.Module):\n    def __init__(self, rows):\n        super().__init__()\n"
    )
)


def test_a_problem_file_gives_inputs_init_inputs_and_what_is_right(tmp_path):
    results = check(tmp_path, OF_ROWS, None, problem=PROBLEM)
    assert all(isinstance(result, Accuracy) for result in results)
    assert results[0].against == "float64 Model of problem.py"


def test_a_problem_without_named_sizes_is_cut_to_small_ones(tmp_path):
    problem = PROBLEM.replace("torch.rand(N, N)", "torch.rand(4096, 4096)").replace(
        "return [N]", "return [4096]"
    )
    results = check(tmp_path, OF_ROWS, None, problem=problem)
    assert all(isinstance(result, Accuracy) and "4096" not in result.inputs for result in results)


def test_what_is_wrapped_in_torch_compile_runs_as_it_is(tmp_path):
    code = SCALE.replace(
        "def scale(x)", "@torch.compile\ndef twice(x):\n    return x + x\n\n\ndef scale(x)"
    ).replace("return y", "return twice(y)")
    results = check(tmp_path, code, "float32[100000]", reference="6 * x")
    assert all(isinstance(result, Accuracy) for result in results)


def test_weights_are_the_problems(tmp_path):
    layer = "    def __init__(self):\n        super().__init__()\n        self.w = nn.Parameter(torch.randn(1))\n"
    problem = PROBLEM.replace("[N]", "[]").split("class Model")[0]
    problem += f"class Model(nn.Module):\n{layer}    def forward(self, x):\n        return 3 * x + self.w\n"
    problem += (
        "def get_inputs():\n    return [torch.rand(N)]\ndef get_init_inputs():\n    return []\n"
    )
    code = SCALE.replace("nn.Module):\n", f"nn.Module):\n{layer}").replace(
        "return scale(x)", "return scale(x) + self.w"
    )
    assert all(
        isinstance(result, Accuracy) for result in check(tmp_path, code, None, problem=problem)
    )


def test_whole_tiles_do_not_excuse_what_is_wrong_at_the_given_ragged_size(tmp_path):
    code = SCALE.replace("x * 2 + x, mask=i < n", "x * 2 + x, mask=i < n // 512 * 512")
    with pytest.raises(Refused, match="no config gives a right result"):
        check(tmp_path, code, "float32[100000]", reference="3 * x")
    results = check(tmp_path, code, "float32[65536]", reference="3 * x")
    assert [result.inputs for result in results] == ["float32[1024]"] * 3


def test_a_tie_on_ragged_sizes_is_refused_and_not_settled_elsewhere(tmp_path):
    lines = [line for line in SCALE.split("\n") if '"BLOCK": 512' not in line]
    code = "\n".join(lines).replace(
        "x * 2 + x", "tl.where((i < n // 256 * 256) | (BLOCK != 256), 3 * x, x)"
    )
    with pytest.raises(Refused, match="disagree"):
        check(tmp_path, code, "float32[65536]")


def test_elements_that_most_configs_leave_unwritten_are_wrong_all_the_same(tmp_path):
    code = SCALE.replace(
        "x * 2 + x, mask=i < n", "x * 2 + x, mask=(i < n) & ((i != 5) | (BLOCK == 512))"
    )
    one, two, complete = check(tmp_path, code, "float32[100000]")
    assert isinstance(one, Rejected) and "never written" in one.reason
    assert isinstance(two, Rejected) and "never written" in two.reason
    assert complete is None  # it ran, and there is nothing left to compare it with


def test_a_wrong_first_config_of_another_kernel_does_not_condemn_this_one(tmp_path):
    start, end = SCALE.index("@triton.autotune"), SCALE.index("def scale(x)")
    second = (
        SCALE[start:end]
        .replace("scale_kernel", "add_kernel")
        .replace("x * 2 + x", "x + (BLOCK > 128)")
    )
    code = (
        SCALE[:end]
        + second
        + SCALE[end:].replace(
            "    return y",
            '    z = torch.empty_like(x)\n    add_kernel[lambda meta: (triton.cdiv(x.numel(), meta["BLOCK"]),)]'
            "(y, z, x.numel())\n    return z",
            1,
        )
    )
    path = tmp_path / "kernel.py"
    path.write_text(code)
    file = UserFile("kernel.py", path)
    with Compiler(file, GPU) as compiler:
        launches = compiler.launches(None, parse_inputs("float32[65536]"))
    trials = [Trial(site, index) for site in launches.sites for index in range(3)]
    results = verify(file, GPU, trials, launches.inputs, (512,), Against(None, "3 * x + 1"))
    assert [isinstance(result, Accuracy) for result in results] == [
        True,
        True,
        True,
        False,
        True,
        True,
    ]
