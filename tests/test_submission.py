"""Rendered files are submissions that KernelBench takes: nothing of what its static checker looks for is in them.

What it looks for, of a submission in Triton (github.com/ScalingIntelligence/KernelBench,
src/kernelbench/kernel_static_checker.py, at commit 0ba2054): it refuses a `try` or `except`, the word `pass`,
threads and processes, subclasses of Tensor, and clocks put in place of PyTorch's or Python's; it asks for
`@triton.jit` or `@triton.autotune`, for `tl.load` or `tl.store`, and for `tl.program_id` or the like. It warns of
layers of torch.nn by their full name, of PyTorch's own products, activations and norms, of CUDA streams, and,
in float32 problems, of what is made float16. Comments do not count; strings do.

Here the files are held to both, the warnings too, and by their syntax where the checker matches text.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from codegen.gpu import find_gpu
from codegen.problem import Problem
from codegen.record import Record
from codegen.render import choose
from codegen.spec import Spec
from codegen.tracing import Tracer

ROOT = Path(__file__).parent.parent
GENERATED = sorted((ROOT / "generated").glob("*.py"))
PROBLEMS = ROOT / "tests" / "cases" / "problems"

COMPUTES = re.compile(
    "mm|bmm|matmul|einsum|addmm|baddbmm|mv|dot|tensordot|linear|conv(_transpose)?[123]d"
    "|relu|gelu|silu|elu|selu|leaky_relu|softplus|(log_)?softmax|tanh|(hard)?sigmoid|mish|clamp"
    "|(batch|group|layer|instance|rms)_norm|normalize"
    "|cross_entropy|kl_div|mse_loss|cosine_similarity|logsumexp|dropout|functional"
)
CONTAINERS = {"Module", "Parameter", "ParameterList", "ParameterDict", "ModuleList", "ModuleDict"}
SPELLED = {
    "try, except or pass": r"\b(try\s*:|except\b|pass\b)",
    "threads": r"\bthreading\b|\bmultiprocessing\b|\bconcurrent\.futures\b|\w+PoolExecutor",
    "streams": r"\bcuda\.Stream\b|\bcuda\.stream\b|\b(wait|record)_stream\b",
    "tensors of another kind": r"_make_subclass|\(\s*(torch\.)?Tensor\s*\)\s*:|Tensor\.__new__",
    "a clock of its own": r"(cuda\.Event|cuda\.synchronize|elapsed_time|perf_counter|time\.time)\s*=",
    "a layer of torch.nn": rf"\btorch\.nn\.(?!({'|'.join(CONTAINERS)}|init|parameter)\b)",
}
MAKES_HALF = r"\.half\s*\(|\.float16\s*\(|\.to\s*\(\s*(dtype\s*=\s*)?torch\.(float16|half)\b"
NEEDS = [r"@triton\.(jit|autotune)", r"\btl\.(load|store)\s*\(", r"\btl\.program_id\s*\("]


def faults(source: str, *, float32: bool) -> Iterator[str]:
    """What KernelBench would say of a file."""
    text = without_comments(source)
    looked_for = SPELLED | ({"float16 in a float32 problem": MAKES_HALF} if float32 else {})
    for what, pattern in looked_for.items():
        if found := re.search(pattern, text):
            yield f"{what}: {found[0]}"
    yield from (f"lacks {pattern}" for pattern in NEEDS if not re.search(pattern, text))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.MatMult):
            yield "a product: @"
        if isinstance(node, ast.Attribute) and COMPUTES.fullmatch(node.attr):
            owner = ast.unparse(node.value)
            # tl.dot and its like are the kernel's; self.linear is a name, and calling it is not.
            if owner.partition(".")[0] not in ("tl", "self"):
                yield f"PyTorch computes: {owner}.{node.attr}"
        if isinstance(node, ast.FunctionDef) and node.name == "forward":
            for call in ast.walk(node):
                if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("self."):
                    yield f"forward calls a module: {ast.unparse(call.func)}"


def without_comments(source: str) -> str:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return tokenize.untokenize(token for token in tokens if token.type != tokenize.COMMENT)


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.stem)
def test_a_kept_file_is_a_submission(path: Path) -> None:
    source = path.read_text("utf-8")
    float32 = Record.read(path.with_suffix(".json")).spec.problem.dtype == "float32"
    assert list(faults(source, float32=float32)) == []


@pytest.fixture(scope="module")
def tracer() -> Iterator[Tracer]:
    with Tracer() as child:
        yield child


@pytest.mark.parametrize(
    "name", ["nn_linear", "parameters_of_every_kind", "linear_scaled_and_added_to_itself"]
)
def test_a_file_with_parameters_is_a_submission(name: str, tracer: Tracer) -> None:
    problem, interface = tracer.read_problem(PROBLEMS / f"{name}.py")
    gpu = find_gpu("h200")
    source = Record(Spec(problem, gpu, choose(problem, gpu), interface)).source()
    assert list(faults(source, float32=True)) == []


GOOD = Record(
    Spec(
        problem := Problem("gemm", 512, 512, 512),
        find_gpu("rtx-4090"),
        choose(problem, find_gpu("rtx-4090")),
    )
).source()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param("return gemm(A, B)", "return A @ B", "a product: @", id="a product"),
        pytest.param(
            "return gemm(A, B)", "return torch.mm(A, B)", "PyTorch computes: torch.mm", id="mm"
        ),
        pytest.param(
            "return gemm(A, B)", "return gemm(A, B).relu()", "PyTorch computes: gemm", id="a method"
        ),
        pytest.param(
            "return gemm(A, B)",
            "return self.linear(A)",
            "forward calls a module: self.linear",
            id="a module called",
        ),
        pytest.param(
            "return gemm(A, B)",
            "try:\n            return gemm(A, B)\n        finally:\n            torch.cuda.Stream()",
            "try, except or pass: try:",
            id="a try",
        ),
        pytest.param("super().__init__()", "pass", "try, except or pass: pass", id="a pass"),
        pytest.param(
            "return gemm(A, B)",
            "A.record_stream(torch.cuda.current_stream())",
            "streams: record_stream",
            id="a stream",
        ),
        pytest.param(
            "import torch\n", "import torch\nimport threading\n", "threads: threading", id="threads"
        ),
        pytest.param(
            "return gemm(A, B)",
            "return gemm(A.half(), B.half())",
            "float16 in a float32 problem: .half(",
            id="half of the precision",
        ),
        pytest.param("tl.program_id(", "other(", r"lacks \btl\.program_id\s*\(", id="no program"),
    ],
)
def test_what_the_checker_looks_for_is_found(old: str, new: str, said: str) -> None:
    assert old in GOOD
    assert any(fault.startswith(said) for fault in faults(GOOD.replace(old, new), float32=True))
