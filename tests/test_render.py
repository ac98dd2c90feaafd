"""Problems as data, specs as records, and the way from one to a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from codegen.config import Config
from codegen.float32_grade import resolved_precision
from codegen.gpu import find_gpu
from codegen.order import check
from codegen.outcome import BadInput, Refused
from codegen.problem import Problem, Step
from codegen.record import Record, file_stem
from codegen.render import MAX_CONFIGS, MIN_CONFIGS, choose, render, template_dir
from codegen.render_command import render as render_command
from codegen.spec import Spec

GENERATED = Path(__file__).resolve().parent.parent / "generated"
SHAPE = {"m": 2, "n": 3, "k": 5}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(
            {"family": "gemm", "layout": "nn", "dtype": "float32", "shape": SHAPE}, id="the least"
        ),
        pytest.param(
            {
                "family": "gemm",
                "layout": "tn",
                "dtype": "bfloat16",
                "out_dtype": "float32",
                "batch": [4, 1],
                "batched": "ab",
                "epilogue": ["bias", "scale=0.5", "gelu"],
                "shape": SHAPE,
            },
            id="a batch and an epilogue",
        ),
        pytest.param(
            {
                "family": "trimm",
                "triangle": "lower",
                "layout": "nn",
                "dtype": "float32",
                "precision": "tf32",
                "shape": {"n": 7},
            },
            id="a triangle has one size",
        ),
    ],
)
def test_a_problem_survives_json(data: dict[str, Any]) -> None:
    problem = Problem.from_json(json.loads(json.dumps(data)))
    assert problem.to_json() == data
    assert Problem.from_json(problem.to_json()) == problem


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"layout": "nx"}, "layout 'nx' is not one of nn, nt, tn, tt"),
        ({"dtype": "int8"}, "dtype 'int8' is not one of float32"),
        ({"dtype": 4}, "dtype must be a string, and is 4"),
        ({"out_dtype": "float8_e5m2"}, "out_dtype 'float8_e5m2' is not one of"),
        ({"precision": "tf64"}, "precision 'tf64' is not one of ieee, tf32"),
        ({"dtype": "float16", "precision": "tf32"}, "precision is for float32 operands"),
        ({"shape": {"m": 1, "n": 2}}, "shape lacks 'k'"),
        ({"shape": {"m": 1, "n": 2, "k": 3, "l": 4}}, "shape has an unknown field 'l'"),
        (
            {"shape": {"m": -1, "n": 2, "k": 3}},
            "m must be a whole number from 0 up to 2^63, and is -1",
        ),
        ({"shape": {"m": True, "n": 2, "k": 3}}, "m must be a whole number"),
        ({"shape": None}, "shape must be an object, and is null"),
        ({"batch": 3}, "batch must be a list, and is 3"),
        ({"batch": ["x"]}, 'batch must be a whole number from 0 up to 2^63, and is "x"'),
        ({"batched": "c"}, "batched 'c' is not one of ab, a, b"),
        ({"triangle": "left"}, "triangle 'left' is not one of lower, upper"),
        ({"triangle": "lower"}, "triangular matrices are square: m=2, n=3, k=5 differ"),
        ({"epilogue": ["tanh"]}, "epilogue step 'tanh' is not one of bias"),
        ({"epilogue": [1]}, "an epilogue step must be a string, and is 1"),
        ({"epilogue": ["scale"]}, "epilogue step scale needs a finite factor"),
        ({"epilogue": ["scale=nan"]}, "epilogue step scale needs a finite factor"),
        ({"epilogue": ["scale=x"]}, "'x' is no number"),
        ({"epilogue": ["relu=1"]}, "epilogue step relu takes no value"),
        ({"epilogue": ["bias", "bias"]}, "epilogue step bias may be given once"),
        ({"colour": "red"}, "problem has an unknown field 'colour'"),
    ],
    ids=lambda value: value if isinstance(value, str) else json.dumps(value),
)
def test_a_problem_that_makes_no_sense_is_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadInput) as refusal:
        Problem.from_json({"family": "gemm", "shape": SHAPE} | change)
    assert complaint in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("problem", "flops", "moved"),
    [
        pytest.param(Problem("gemm", 2, 3, 5), 60, 4 * (10 + 15 + 6), id="a product"),
        pytest.param(
            Problem("gemm", 2, 3, 5, dtype="float16", batch=(4,), batched="a"),
            240,
            2 * (40 + 15 + 24),
            id="one B for a batch is read once",
        ),
        pytest.param(
            Problem(
                "gemm", 2, 3, 5, dtype="float8_e5m2", epilogue=(Step("bias"), Step("residual"))
            ),
            60,
            10 + 15 + 2 * (6 + 3 + 6),
            id="an epilogue reads in the result's type",
        ),
        # By hand: of a 3x3 lower triangle, entries have 1, 2, 1, 3, 2, 1 terms: 10 multiply-adds.
        pytest.param(
            Problem("trimm", 3, 3, 3, triangle="lower"), 20, 4 * (6 + 6 + 9), id="a triangle"
        ),
        pytest.param(Problem("trimm", 0, 0, 0, triangle="upper"), 0, 0, id="nothing"),
    ],
)
def test_work_and_traffic(problem: Problem, flops: int, moved: int) -> None:
    assert (problem.flops(), problem.bytes_moved()) == (flops, moved)


@pytest.mark.parametrize(
    ("problem", "formula"),
    [
        (Problem("gemm", 2, 3, 5, layout="tt"), "A.T @ B.T"),
        (Problem("gemm", 2, 3, 5, layout="tt", batch=(2,), batched="a"), "A.mT @ B.T"),
        (
            Problem("gemm", 2, 3, 5, epilogue=(Step("bias"), Step("gelu"), Step("scale", 0.5))),
            "0.5 * (gelu(A @ B + bias))",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_problem_is_written_as_pytorch_would(problem: Problem, formula: str) -> None:
    assert problem.formula == formula


@pytest.mark.parametrize(
    ("gpu", "precision"),
    [("rtx-4090", "ieee"), ("l4", "ieee"), ("a100-sxm-80gb", "tf32x3"), ("h200", "fp16x3")],
)
def test_float32_grade_takes_the_faster_way(gpu: str, precision: str) -> None:
    assert resolved_precision(Problem("gemm", 2048, 2048, 2048), find_gpu(gpu)) == precision


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param((512, 512, 512), id="launches would take longest"),
        pytest.param((8192, 16, 8192), id="few columns to use one operand's parts"),
        pytest.param((16, 8192, 8192), id="few rows to use the other operand's parts"),
    ],
)
def test_operands_are_split_beforehand_only_if_that_pays(sizes: tuple[int, int, int]) -> None:
    assert resolved_precision(Problem("gemm", *sizes), find_gpu("h200")) == "tf32x3"


def spec(gpu: str = "rtx-4090", **fields: Any) -> Spec:
    problem = Problem("gemm", 512, 512, 512, **fields)
    return Spec(problem, find_gpu(gpu), choose(problem, find_gpu(gpu)))


@pytest.mark.parametrize(
    ("dtype", "out_dtype", "reference", "stem"),
    [
        ("float16", "", "A @ B", "gemm_nn_float16_h200"),
        ("float16", "float32", "A @ B", "gemm_nn_float16_to_float32_h200"),
        ("float32", "float16", "(A @ B).to(torch.float16)", "gemm_nn_float32_to_float16_h200"),
        ("float16", "bfloat16", "(A @ B).to(torch.bfloat16)", "gemm_nn_float16_to_bfloat16_h200"),
        ("float8_e4m3fn", "", "A @ B", "gemm_nn_float8_e4m3fn_h200"),
        ("float8_e4m3fn", "float16", "A @ B", "gemm_nn_float8_e4m3fn_to_float16_h200"),
    ],
)
def test_what_is_right_is_rounded_where_the_result_holds_less_than_the_operands(
    dtype: str, out_dtype: str, reference: str, stem: str
) -> None:
    problem = Problem("gemm", 64, 64, 64, dtype=dtype, out_dtype=out_dtype)
    assert problem.reference == reference
    assert file_stem(Spec(problem, find_gpu("h200"), {})) == stem


# What file names must tell apart, and what they call it.
NAMES: dict[str, dict[str, Any]] = {
    "batched": {"batch": (2,)},
    "batched_a": {"batch": (2,), "batched": "a"},
    "batched_b": {"batch": (2,), "batched": "b"},
    "scale_0_5": {"epilogue": (Step("scale", 0.5),)},
    "scale_2": {"epilogue": (Step("scale", 2.0),)},
    "scale_minus2": {"epilogue": (Step("scale", -2.0),)},
    "scale_1e20": {"epilogue": (Step("scale", 1e20),)},
    "scale_1eminus20_relu": {"epilogue": (Step("scale", 1e-20), Step("relu"))},
}


@pytest.mark.parametrize("words", NAMES)
def test_files_that_differ_in_a_word_have_other_names(words: str) -> None:
    stem = file_stem(spec(**NAMES[words]))
    assert stem == f"gemm_nn_float32_{words}_rtx_4090"
    assert stem.isidentifier()


def test_the_same_spec_gives_the_same_bytes() -> None:
    one, two = spec(layout="tn"), spec(layout="tn")
    assert Record(one).source() == Record(two).source()
    assert check(Record(one).source().encode()) == ()


def test_a_spec_survives_json() -> None:
    record = Record(spec(dtype="float16", epilogue=(Step("bias"),)))
    assert Spec.from_json(json.loads(record.text())) == record.spec


def test_a_list_of_configs_has_three_to_six_different_ones() -> None:
    for configs in spec("h200", dtype="bfloat16").configs.values():
        assert MIN_CONFIGS <= len(configs) == len(set(configs)) <= MAX_CONFIGS


def test_a_config_that_does_not_fit_makes_room_for_the_next() -> None:
    problem, gpu = Problem("gemm", 512, 512, 512, dtype="float16"), find_gpu("rtx-4090")
    (kernel, first), *_ = [(k, c[0]) for k, c in choose(problem, gpu).items()]
    assert first not in choose(problem, gpu, without={(kernel, first)})[kernel]


def test_too_few_configs_are_refused() -> None:
    problem, gpu = Problem("gemm", 512, 512, 512, dtype="float16"), find_gpu("rtx-4090")

    class Everything:
        def __contains__(self, _key: object) -> bool:
            return True

    with pytest.raises(
        Refused, match=r"gemm_kernel: 0 of \d+ configs fit the NVIDIA GeForce RTX 4090"
    ):
        choose(problem, gpu, without=Everything())


@pytest.mark.parametrize(
    ("problem", "gpu", "complaint"),
    [
        (Problem("conv", 1, 1, 1), "h200", "there is no family 'conv'; there are gemm"),
        (
            Problem("gemm", 1, 1, 1, triangle="lower"),
            "h200",
            "triangular ones are for the family trimm",
        ),
        (
            Problem("gemm", 1, 1, 1, dtype="float8_e5m2"),
            "rtx-3090",
            "float8_e5m2 needs sm_89 or later",
        ),
    ],
    ids=["no such family", "a triangle", "float8 before Ada"],
)
def test_what_cannot_be_computed_is_refused(problem: Problem, gpu: str, complaint: str) -> None:
    with pytest.raises(BadInput, match=complaint):
        choose(problem, find_gpu(gpu))


@pytest.mark.parametrize(
    ("configs", "complaint"),
    [
        ({}, "configs lack gemm_kernel"),
        ({"gemm_kernel": (Config((("BLOCK_M", 16),)),), "other": ()}, "configs name other"),
    ],
    ids=["missing", "unknown"],
)
def test_configs_must_be_those_of_the_files_kernels(configs: Any, complaint: str) -> None:
    with pytest.raises(BadInput, match=complaint):
        render(Problem("gemm", 1, 1, 1), find_gpu("rtx-4090"), configs)


def test_templates_are_found_beside_the_package_or_in_it() -> None:
    assert (template_dir() / "base.py.jinja").is_file()


# Files keep the names that they are imported by: this one has none of its factor.
NAMED_BEFORE = ["gemm_nn_bfloat16_batched_scale_residual_h200"]


@pytest.mark.parametrize("path", sorted(GENERATED.glob("*.json")), ids=lambda path: path.stem)
def test_a_kept_file_is_what_its_record_renders_to(path: Path) -> None:
    record = Record.read(path)
    assert path.with_suffix(".py").read_text("utf-8") == record.source()
    assert path.read_text("utf-8") == record.text()
    assert path.stem == file_stem(record.spec) or path.stem in NAMED_BEFORE
    assert check(path.with_suffix(".py").read_bytes()) == ()


def invoke(*arguments: str) -> Any:
    """The command's result; `codegen`'s own errors are left to its caller."""
    return CliRunner().invoke(render_command, arguments, standalone_mode=False)


def invoke_raising(*arguments: str) -> None:
    result = invoke(*arguments)
    assert result.exception is not None
    raise result.exception


def test_the_command_prints_a_file() -> None:
    result = invoke("gemm", "--gpu", "rtx-4090", "--layout", "tt", "--no-verify")
    assert result.return_value == 0
    assert result.stdout.startswith("# C = A.T @ B.T\n")
    assert check(result.stdout.encode()) == ()


def test_the_command_writes_a_file_and_its_record(tmp_path: Path) -> None:
    arguments = ["gemm", "--gpu", "h200", "--dtype", "float16", "--batch", "2,3", "--epilogue"]
    result = invoke(*arguments, "bias,scale=0.5", "--no-verify", "-o", str(tmp_path))
    assert result.return_value == 0
    path = tmp_path / "gemm_nn_float16_batched_bias_scale_0_5_h200.json"
    record = Record.read(path)
    assert record.spec.problem.batch == (2, 3)
    assert record.spec.problem.epilogue == (Step("bias"), Step("scale", 0.5))
    assert record.findings == {"verdict": None, "provenance": None}
    # And a record renders to the same file again.
    again = invoke(str(path))
    assert again.stdout == path.with_suffix(".py").read_text("utf-8")


SMALL = ["gemm", "--gpu", "rtx-4090", "--no-verify", "--shape", "m=64,n=64,k=64"]

# What is there, and what is said of it.
THERE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file for other sizes": (
        lambda path: invoke(*SMALL[:4], "-o", str(path.parent)),
        "gemm_nn_float32_rtx_4090.py is there, for another shape, "
        '{"m": 4096, "n": 4096, "k": 4096}; name another folder, or --force to replace it',
    ),
    "a file of one's own": (
        lambda path: path.write_text("import torch\n"),
        "is there, and no record beside it says of what; name another",
    ),
    "some other JSON": (
        lambda path: path.with_suffix(".json").write_text("[]"),
        "gemm_nn_float32_rtx_4090.json: a record is an object with problem, gpu and configs; name",
    ),
}


@pytest.mark.parametrize(("make", "said"), THERE.values(), ids=list(THERE))
def test_a_file_of_another_spec_is_replaced_only_if_that_is_asked_for(
    make: Callable[[Path], object], said: str, tmp_path: Path
) -> None:
    make(tmp_path / "gemm_nn_float32_rtx_4090.py")
    held = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(BadInput) as refused:
        invoke_raising(*SMALL, "-o", str(tmp_path))
    assert said in str(refused.value)
    assert held == {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert invoke(*SMALL, "-o", str(tmp_path), "--force").return_value == 0
    (record,) = tmp_path.glob("*.json")
    assert Record.read(record).spec.problem.m == 64
    # The same spec, though its configs are others by now.
    fewer = Record.read(record)
    record.write_text(replace(fewer, spec=replace(fewer.spec, configs={"gemm_kernel": ()})).text())
    assert invoke(*SMALL, "-o", str(tmp_path)).return_value == 0
    assert invoke("--check", str(tmp_path)).return_value == 0


def test_a_record_does_not_replace_a_file_of_another_one(tmp_path: Path) -> None:
    assert invoke(*SMALL, "-o", str(tmp_path / "a")).return_value == 0
    assert invoke(*SMALL[:4], "-o", str(tmp_path / "b")).return_value == 0
    (record,) = (tmp_path / "a").glob("*.json")
    with pytest.raises(BadInput, match="for another shape"):
        invoke_raising(str(record), "-o", str(tmp_path / "b"))
    assert invoke(str(record), "-o", str(tmp_path / "b"), "--force").return_value == 0
    assert (tmp_path / "b" / record.name).read_bytes() == record.read_bytes()


def test_check_finds_what_differs_and_what_is_missing(tmp_path: Path) -> None:
    result = invoke("gemm", "--gpu", "rtx-4090", "--no-verify", "-o", str(tmp_path))
    assert invoke("--check", str(tmp_path)).return_value == 0
    (path,) = tmp_path.glob("*.py")
    path.write_text(path.read_text("utf-8").replace("tl.dot", "tl.bot"), "utf-8")
    result = invoke("--check", str(tmp_path))
    assert result.return_value == 1
    assert f"{path}: differs from what its record renders to" in result.stdout
    path.unlink()
    result = invoke("--check", str(tmp_path))
    assert result.return_value == 1
    assert f"{path}: missing" in result.stdout


def test_the_list_names_families_and_options() -> None:
    result = invoke("--list")
    assert result.return_value == 0
    for word in ("gemm: ", "tf32x3", "float8_e4m3fn", "scale=X", "lower"):
        assert word in result.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["gemm"], "name the GPU to render for"),
        (["gemm", "--gpu", "h200", "--shape", "m=1"], "shape lacks 'n'"),
        (["gemm", "--gpu", "h200", "--shape", "m=x,n=1,k=1"], "--shape m: 'x' is no whole number"),
        (["gemm", "--gpu", "h200", "--shape", "12"], "--shape: '12' is no NAME=SIZE"),
        (["gemm", "--gpu", "h200", "--batch", "2,x"], "--batch: 'x' is no whole number"),
        (["gemm", "--gpu", "h200", "--epilogue", "tanh"], "epilogue step 'tanh' is not one of"),
        (["conv", "--gpu", "h200"], "there is no family 'conv'"),
        (["nowhere.json"], "nowhere.json: can't be read: No such file or directory"),
        (["spec.json", "--gpu", "h200"], "spec.json is a whole spec: --gpu cannot be added to it"),
        (["--check", "nowhere"], "nowhere.json: no such file or folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_command_refuses_in_one_line(arguments: list[str], complaint: str) -> None:
    result = invoke(*arguments)
    assert isinstance(result.exception, BadInput)
    assert complaint in str(result.exception)
    assert "\n" not in str(result.exception)


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        ([], "model must be an object with arguments, operands and perhaps init"),
        ({"arguments": ["x"]}, "model must be an object"),
        ({"arguments": ["x"], "operands": "x"}, 'operands must be a list of strings, and is "x"'),
        ({"arguments": ["x-y"], "operands": ["x", "x"]}, "argument 'x-y' of forward is no name"),
        ({"arguments": ["x", "x"], "operands": ["x", "x"]}, "two arguments of forward have one"),
        ({"arguments": ["x"], "operands": ["x", "y"]}, "operand 'y' is neither an argument"),
        ({"arguments": ["x"], "operands": ["x", "self.a()"]}, "operand 'self.a()' is neither"),
        (
            {"arguments": ["x"], "operands": ["x"]},
            "model gives 1 operands, and the kernel takes A, B",
        ),
        (
            {"arguments": ["gemm"], "operands": ["gemm", "gemm"]},
            "forward's argument gemm has the name of a function of the file",
        ),
        (
            {"arguments": ["x"], "operands": ["x", "x"], "returned": [0, 2]},
            "returned must be an order",
        ),
        (
            {"arguments": ["x"], "operands": ["x", "x"], "init": ["x = 1"]},
            "init must be the source",
        ),
        ({"arguments": ["x"], "operands": ["x", "x"], "name": []}, "unknown field 'name'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_model_that_makes_no_sense_is_refused(tmp_path: Path, model: Any, complaint: str) -> None:
    (path := tmp_path / "record.json").write_text(json.dumps(spec().to_json() | {"model": model}))
    result = invoke(str(path))
    assert isinstance(result.exception, BadInput)
    assert complaint in str(result.exception)
    assert "record.json: " in str(result.exception)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "not JSON"),
        ("[]", "a record is an object with problem, gpu and configs"),
        ("{}", "a spec lacks 'problem'"),
        ('{"problem": {}, "gpu": 3, "configs": {}}', "gpu must be a name, and is 3"),
        ('{"problem": {}, "gpu": "h200", "configs": [1]}', "configs must map each kernel"),
        ('{"problem": {}, "gpu": "h200", "configs": {"k": [{"meta": 3}]}}', "configs must map"),
        (
            '{"problem": {}, "gpu": "h200", "configs": {"k": [{"meta": {"B": "x"}, '
            '"num_warps": 4, "num_stages": 3}]}}',
            "configs must map",
        ),
        (
            '{"problem": {"family": "gemm", "shape": {"m": 1, "n": 1, "k": 1}}, '
            '"gpu": "h2000", "configs": {}}',
            "h2000",
        ),
        ('{"problem": {}, "gpu": "h200", "configs": {}}', "shape must be an object"),
    ],
)
def test_a_broken_record_is_refused_by_name(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(BadInput) as refusal:
        Record.read(path)
    assert str(refusal.value).startswith(f"{path}: ")
    assert complaint in str(refusal.value)


def test_nothing_to_render_is_a_usage_error() -> None:
    assert isinstance(invoke().exception, click.UsageError)
