"""Problem files: which problem each one is, or the operation it is refused for.

A case is a file in cases/problems: its first line says what is expected, `# spec: ` as JSON or `# refused: `
with the start of what is said after the file's name.
"""

import itertools
import json
from pathlib import Path

import pytest

from codegen.axes import Axes
from codegen.outcome import BadInput, Refused
from codegen.problem import Problem
from codegen.tracing import Tracer, read_problem

CASES = sorted((Path(__file__).parent / "cases" / "problems").glob("*.py"))

FILE = """
import torch
import torch.nn as nn
import torch.nn.functional as F


class Model(nn.Module):
    def forward(self, *args):
        A, B = args
        return {forward}


def get_inputs():
    return [torch.randn({a}), torch.randn({b})]


def get_init_inputs():
    return []
"""


@pytest.fixture(scope="module")
def tracer():
    with Tracer() as child:
        yield child


def expected(path):
    """Of a case: `spec` or `refused`, and the text after it."""
    kind, _, text = path.read_text().partition("\n")[0].removeprefix("# ").partition(": ")
    return kind, text


def cases(kind):
    return [
        pytest.param(path, text, id=path.stem.replace("_", " "))
        for path, (found, text) in zip(CASES, map(expected, CASES), strict=True)
        if found == kind
    ]


def refusal(tracer, path):
    """What is said of a file, in one line and without its name."""
    with pytest.raises((BadInput, Refused)) as caught:
        tracer.read_problem(path)
    said = str(caught.value)
    assert "\n" not in said and "Traceback" not in said
    return said.removeprefix(f"{path}:").strip()


def test_every_case_says_what_is_expected():
    assert {expected(path)[0] for path in CASES} == {"spec", "refused"}


@pytest.mark.parametrize(("path", "spec"), cases("spec"))
def test_a_supported_spelling_is_the_problem(tracer, path, spec):
    problem, _ = tracer.read_problem(path)
    assert problem.to_json() == json.loads(spec)


@pytest.mark.parametrize(("path", "why"), cases("refused"))
def test_an_unsupported_one_is_refused_by_operation_and_line(tracer, path, why):
    assert refusal(tracer, path).startswith(why)


# Every way to write a product of two matrices, or of batches of them, in einsum.

SIZES = {"b": 3, "m": 96, "n": 56, "k": 40}


def computed(problem, interface, given):
    """What ModelNew returns, by the problem's formula in PyTorch."""
    names = dict(zip(interface.arguments, given, strict=True))
    operands = [eval(operand, names) for operand in interface.operands]
    formula = problem.reference
    result = eval(formula, dict(zip(problem.operands, operands, strict=True)))
    assert result.shape == (*problem.batch, problem.m, problem.n)
    return result if interface.returned is None else result.permute(interface.returned)


@pytest.mark.parametrize(
    ("a", "b", "c"),
    [
        pytest.param("mk", "kn", "mn", id="matrices"),
        pytest.param("bmk", "bkn", "bmn", id="batches of both"),
        pytest.param("bmk", "kn", "bmn", id="a batch of the first"),
        pytest.param("mk", "bkn", "bmn", id="a batch of the second"),
    ],
)
def test_an_einsum_with_its_letters_in_any_order(tracer, tmp_path, a, b, c):
    import torch

    path = tmp_path / "problem.py"
    moved = []
    for spelled in itertools.product(*map(itertools.permutations, (a, b, c))):
        letters = ["".join(each) for each in spelled]
        shapes = [tuple(SIZES[letter] for letter in each) for each in letters[:2]]
        equation = f"{letters[0]},{letters[1]}->{letters[2]}"
        sizes = [", ".join(map(str, shape)) for shape in shapes]
        path.write_text(
            FILE.format(forward=f"torch.einsum('{equation}', A, B)", a=sizes[0], b=sizes[1])
        )
        problem, interface = tracer.read_problem(path)
        given = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
        result = computed(problem, interface, given)
        torch.testing.assert_close(result, torch.einsum(equation, *given))
        moved.append(sum(".permute" in each for each in interface.operands))
    # Matrices are never moved, and of a batch no more than must be.
    assert set(moved) == ({0} if len(a + b) == 4 else {0, 1, 2} if len(a + b) == 6 else {0, 1})


@pytest.mark.parametrize(
    ("a", "b", "spec"),
    [
        pytest.param("1, 40", "40, 56", Problem("gemm", 1, 56, 40), id="one row"),
        pytest.param("96, 40", "40, 1", Problem("gemm", 96, 1, 40), id="one column"),
        pytest.param("96, 1", "1, 56", Problem("gemm", 96, 56, 1), id="a sum of one term"),
        pytest.param("1, 1", "1, 1", Problem("gemm", 1, 1, 1), id="one number"),
        pytest.param("96, 0", "0, 56", Problem("gemm", 96, 56, 0), id="a sum of no terms"),
        pytest.param("0, 40", "40, 56", Problem("gemm", 0, 56, 40), id="no rows"),
        pytest.param(
            "1, 96, 40",
            "40, 56",
            Problem("gemm", 96, 56, 40, batch=(1,), batched="a"),
            id="a batch of one",
        ),
        pytest.param(
            "2000000, 1000000",
            "1000000, 3000000",
            Problem("gemm", 2_000_000, 3_000_000, 1_000_000),
            id="matrices of terabytes",
        ),
    ],
)
def test_any_size(tracer, tmp_path, a, b, spec):
    path = tmp_path / "problem.py"
    path.write_text(FILE.format(forward="A @ B", a=a, b=b))
    assert tracer.read_problem(path)[0] == spec


@pytest.mark.parametrize(
    ("shape", "reshaped", "dims"),
    [
        pytest.param((6, 4), (2, 3, 4), 3, id="one axis taken apart"),
        pytest.param((2, 3, 4), (6, 4), 2, id="two folded"),
        pytest.param((4, 3), (2, 6), 2, id="one taken apart, its rest folded into the next"),
        pytest.param((6, 1, 4), (1, 6, 4, 1), 4, id="sizes of 1 come and go"),
        pytest.param((0, 3), (0, 1, 3), 3, id="empty"),
        pytest.param((6, 4), (4, 6), None, id="across axes"),
        pytest.param((2, 3), (3, 2), None, id="across axes of no common part"),
    ],
)
def test_reshapes(shape, reshaped, dims):
    axes = Axes()
    before = [axes.new(size) for size in shape]
    after = axes.reshape(before, reshaped)
    if dims is None:
        assert after is None
    else:
        assert [axes.size(dim) for dim in after] == list(reshaped) and len(after) == dims
        flat = [axis for dim in after for axis in dim]
        assert flat == [axis for dim in before for axis in axes.resolve(dim)]


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        pytest.param((6,), (6,), True, id="one axis each"),
        pytest.param((6,), (2, 3), True, id="one and its two parts"),
        pytest.param((4, 3), (2, 6), True, id="parts that overlap"),
        pytest.param((2, 3), (3, 2), False, id="parts that cross"),
        pytest.param((6,), (), False, id="an axis and none"),
    ],
)
def test_equating_dimensions(one, other, equal):
    axes = Axes()
    dims = [tuple(axes.new(size)[0] for size in sizes) for sizes in (one, other)]
    assert axes.equate(*dims) is equal
    assert not equal or axes.same([dims[0]], [dims[1]])


# Files that are no problem files, or misbehave.

WHOLE = FILE.format(forward="A @ B", a="96, 40", b="40, 56")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        pytest.param("def f(:\n", "can't be traced: SyntaxError", id="no Python"),
        pytest.param("x = 1", "can't be traced: has no Model()", id="no model"),
        pytest.param(
            WHOLE.replace("def get_inputs", "def inputs"), "has no get_inputs()", id="no get_inputs"
        ),
        pytest.param(
            WHOLE.replace("return []", "return [1]"), "TypeError", id="a model of other arguments"
        ),
        pytest.param(
            WHOLE.replace("(nn.Module)", ""), "its Model is no torch.nn.Module", id="no module"
        ),
        pytest.param(
            WHOLE.replace("40, 56", "41, 56"), "line 10: RuntimeError", id="shapes that don't match"
        ),
        pytest.param("raise ValueError('no\\nway')", "line 1: ValueError: no way", id="raises"),
        pytest.param("import sys; sys.exit(3)", "calls sys.exit(3)", id="sys.exit"),
        pytest.param(
            WHOLE.replace("A @ B", "A"), "forward: it returns no product", id="no product"
        ),
        pytest.param(WHOLE.replace("A @ B", "None"), "forward returns a NoneType", id="nothing"),
        pytest.param(
            "x = bytearray(1 << 45)", "ran out of memory", id="more memory than it may have"
        ),
    ],
)
def test_what_is_no_problem_file_gets_one_line(tracer, tmp_path, code, said):
    path = tmp_path / "problem.py"
    path.write_text(code)
    assert said in refusal(tracer, path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(BadInput, match=r"absent\.py: can't be read: No such file"):
        read_problem(tmp_path / "absent.py")


def test_after_a_file_that_hangs_another_is_read(tmp_path, monkeypatch):
    hanging, whole = tmp_path / "hanging.py", tmp_path / "whole.py"
    hanging.write_text("import time\ntime.sleep(600)")
    whole.write_text(WHOLE)
    with Tracer() as tracer:
        monkeypatch.setattr("codegen.tracing.TRACE_SECONDS", 2)
        assert refusal(tracer, hanging) == "can't be traced: ran longer than 2 s"
        monkeypatch.undo()
        assert tracer.read_problem(whole)[0] == Problem("gemm", 96, 56, 40)
