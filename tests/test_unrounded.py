"""A reference that names float types, computed in float64: which numbers it gives then."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from codegen.examine import prepare
from codegen.inputs import TensorSpec, parse_inputs
from codegen.reference import Reference, distance, half_ulp, in_tf32

# What it says; the expression of a, b [halves] and i [integers]; what that is in float64, of a and b in float64.
GIVES: list[tuple[str, str, Callable[..., torch.Tensor]]] = [
    ("float()", "a.float() @ b.float()", lambda a, b, i: a @ b),
    ("to(dtype)", "torch.matmul(a.to(torch.float32), b.to(torch.float32))", lambda a, b, i: a @ b),
    ("type()", "a.type(torch.float32) @ b.type('torch.FloatTensor')", lambda a, b, i: a @ b),
    ("rounding to half on the way", "(a.float() @ b.float()).half() @ a", lambda a, b, i: a @ b @ a),
    ("dtype= of a sum", "torch.sum(a, 1, dtype=torch.float32)", lambda a, b, i: a.sum(1)),
    ("dtype= of what is written to", "torch.zeros(64, 64).addmm_(a.float(), b.float())", lambda a, b, i: a @ b),
    ("a tensor of no others", "torch.tensor([0.1] * 96) @ b.float()", lambda a, b, i: torch.full([96], 0.1).double() @ b),
    ("random values are those of their type", "torch.manual_seed(3) and torch.randn(9)", lambda a, b, i: (torch.manual_seed(3) and torch.randn(9)).double()),
    ("a quotient of integers", "i / 7", lambda a, b, i: i.double() / 7),
    ("integers that are cast", "i.float().mean()", lambda a, b, i: i.double().mean()),
    ("inference_mode", "torch.inference_mode()(lambda: F.linear(a.float(), b.T.float()))()", lambda a, b, i: a @ b),
    ("attention in its own operation", "F.scaled_dot_product_attention(a[None].float(), a[None].float(), a[None].float())", lambda a, b, i: (a @ a.T / 96**0.5).softmax(-1)[None] @ a),
    ("what it compiles", "torch.compile(lambda: a.float() @ b.float(), fullgraph=True)()", lambda a, b, i: a @ b),
    ("complex numbers", "torch.fft.rfft(a.float()).abs()", lambda a, b, i: torch.fft.rfft(a).abs()),
    ("quantising to integers stays", "(a * 10).to(torch.int8).float()", lambda a, b, i: (a * 10).to(torch.int8)),
    ("quantising to 8-bit floats stays", "a.to(torch.float8_e4m3fn).float()", lambda a, b, i: a.to(torch.float8_e4m3fn).double()),
]  # fmt: skip


@pytest.mark.parametrize(("says", "expression", "right"), GIVES, ids=[row[0] for row in GIVES])
def test_nothing_is_rounded_that_is_not_meant(says, expression, right) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 64, 96, generator=generator).half()
    b = b.T.contiguous()
    i = torch.randint(0, 1000, (64,), generator=generator)
    default = torch.get_default_dtype()
    (found,) = Reference(None, expression, "abi", {}, 0).compute([a, b, i], torch.float64)
    assert found.dtype == torch.float64
    relative, largest = distance(found, right(a.double(), b.double(), i).double())
    assert max(relative, largest) < 1e-13
    assert torch.get_default_dtype() == default


def test_the_library_rounds_as_it_is_told_to_and_that_is_the_measure() -> None:
    """float32's rounding where it says so; float16's where that is on the way."""
    a = torch.randn(64, 64, generator=torch.Generator().manual_seed(0)).half()
    for expression, low, high in (("a.float() @ a.float()", 1e-8, 1e-6), ("(a @ a).float()", 1e-5, 1e-3)):  # fmt: skip
        reference = Reference(None, expression, "a", {}, 0)
        library = reference.library([a], "ieee")
        assert library is not None and half_ulp(library) == 2**-24
        (expected,) = reference.compute([a], torch.float64)
        assert low < distance(library[0], expected)[0] < high


# What the reference says; of each of its products, whether the library computes it on tensor cores where there are any.
ON_TENSOR_CORES = [
    ("halves cast up", "a.float() @ a.float()", [True]),
    ("bfloat16 cast up", "a.bfloat16().float() @ a.float()", [True]),
    ("halves as they are", "a @ a", [False]),
    ("float32 values", "x @ x", [False]),
    ("one operand of each", "torch.addmm(x, a.float(), x)", [False]),
    ("float32 values added", "torch.addmm(x, a.float(), a.float())", [True]),
    ("a product of a product", "a.float() @ a.float() @ a.float()", [True, False]),
    ("batches", "torch.einsum('bij,bjk->bik', a[None].float(), a[None].float())", [True]),
    ("a convolution", "F.conv2d(a[None, None].float(), a[None, None, :3, :3].float())", [True]),
]  # fmt: skip


@pytest.mark.parametrize(("says", "expression", "expected"), ON_TENSOR_CORES, ids=[row[0] for row in ON_TENSOR_CORES])  # fmt: skip
def test_products_are_on_tensor_cores_where_that_rounds_no_operand(
    says, expression, expected
) -> None:
    """So a kernel that leaves the sums of halves to them is measured by what they lose there."""
    x = torch.randn(32, 32, generator=torch.Generator().manual_seed(0))
    for promise in ("ieee", "tf32"):
        with Products() as seen:
            assert Reference(None, expression, "ax", {}, 0).library([x.half(), x], promise)
        assert seen.allowed == [found or promise == "tf32" for found in expected]
    assert not torch.backends.cuda.matmul.allow_tf32


class Products(TorchDispatchMode):
    """Notes at every product whether PyTorch may use TF32's tensor cores for it."""

    def __init__(self) -> None:
        super().__init__()
        self.allowed: list[bool] = []

    def __torch_dispatch__(self, function, _types, args=(), kwargs=None):
        if function.overloadpacket.__name__ in ("mm", "bmm", "addmm", "convolution"):
            self.allowed.append(torch.backends.cuda.matmul.allow_tf32)
        return function(*args, **(kwargs or {}))


MADE_IN_PLACE = """
import torch
import torch.nn as nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        {made}

    def forward(self, x):
        return x @ self.w.T


def get_inputs():
    return [torch.randn(33, 17)]


def get_init_inputs():
    return []
"""


@pytest.mark.parametrize(
    "made",
    [
        "self.w = nn.Linear(17, 9).weight",
        "self.w = nn.Parameter(torch.empty(9, 17).uniform_())",
        "self.w = nn.Parameter(nn.init.xavier_uniform_(torch.empty(9, 17)))",
        "self.w = nn.Parameter(torch.randn(9, 17))",
        "self.register_buffer('w', torch.arange(9 * 17).reshape(9, 17) / 7)",
    ],
)
def test_a_model_s_own_weights_are_what_they_are_in_its_own_type(tmp_path, made):
    """However they are drawn: in float64 the same seed gives others."""
    path = tmp_path / "problem.py"
    path.write_text(MADE_IN_PLACE.format(made=made))
    reference = Reference(str(path), None, ["x"], {}, 3)
    values = reference.inputs(parse_inputs("float32[33,17]"), 1)
    (exact,), library = reference.compute(values, torch.float64), reference.library(values, "ieee")
    assert library and exact.dtype == torch.float64
    assert distance(library[0], exact)[0] < 1e-6


def test_where_the_library_is_nearer_than_tf32_a_promise_of_tf32_allows_its_rounding():
    """As cuBLAS is of a row by a matrix; on the CPU PyTorch knows no TF32 at all."""
    specs = [TensorSpec("float32", (1, 512)), TensorSpec("float32", (512, 64))]
    allowed = {}
    for promise in ("ieee", "tf32"):
        setting = prepare(Reference(None, "A @ B", "AB", {}, 0), specs, 0, promise, special=False)
        ((allowed[promise], _),) = setting.allowed
    a, b = (in_tf32(value, nearest=True) for value in setting.inputs)
    relative, _ = distance(a.double() @ b.double(), setting.expected[0])
    assert allowed["ieee"] < 1e-5 < relative < allowed["tf32"] < 9 * relative


def test_to_tf32_is_to_the_nearest_or_towards_zero():
    one = torch.tensor([1.0, -1.0])
    unit, half = 2.0**-10, 2.0**-11
    assert (in_tf32(one + one * half * 1.5, nearest=True) == one + one * unit).all()
    assert (in_tf32(one + one * half * 0.5, nearest=True) == one).all()
    assert (in_tf32(one + one * half * 1.5, nearest=False) == one).all()
    assert in_tf32(one.double(), nearest=True).dtype == torch.float64
