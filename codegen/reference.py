"""What a model should compute, the inputs it is tried on, and how far from right is still right. Child processes only."""

from __future__ import annotations

import ast
import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from codegen.inputs import InputSpec
from codegen.load import import_file, make_input, model_class, problem_function, with_sizes
from codegen.outcome import BadInput
from codegen.products import OnTensorCoresIfExact, library_precision
from codegen.unrounded import Unrounded

# How far from the reference a right kernel may be, in units of the library's own error: room for another order
# of summation (sequential over K where the library sums blocks), far below one wrong element.
_SLACK = 8
_TF32_DROPPED_BITS = 13  # float32 keeps 23 bits of mantissa, TF32 10

Outputs = list[torch.Tensor]
Bounds = list[tuple[float, float]]  # per output: on the relative and on the largest error


class Reference:
    """An expression in the names of forward's parameters, or a problem file's Model; or neither, and it is False.

    `sizes` replaces the problem's whole numbers by small ones. Its random weights follow from `seed`.
    """

    def __init__(
        self,
        problem: str | None,
        expression: str | None,
        names: Sequence[str],
        sizes: dict[int, int],
        seed: int,
        device: str = "cpu",
    ) -> None:
        self._expression, self._names = expression, names
        self._sizes, self._seed, self._device = sizes, seed, device
        self._module = None
        self.init: list[Any] = []  # what the problem's Model, and so ModelNew, is made with
        self.state: dict[str, Any] | None = None  # the Model's weights, once it was made
        if problem is not None:
            self._module = import_file(problem)
            with_sizes(self._module, sizes)
            # Sizes written into the function itself are made small here.
            self.init = [
                sizes.get(value, value) if type(value) is int else value
                for value in problem_function(self._module, "get_init_inputs")()
            ]

    def __bool__(self) -> bool:
        return self._expression is not None or self._module is not None

    def inputs(self, specs: Sequence[InputSpec], seed: int) -> list[Any]:
        """Standard normal values of the given shapes, or the problem's own made so and cut to them."""
        if self._module is None:
            generator = torch.Generator(self._device).manual_seed(seed)
            return [make_input(spec, generator) for spec in specs]
        get_inputs = problem_function(self._module, "get_inputs")
        torch.manual_seed(seed)
        with _Normal(), torch.device(self._device):
            values = list(get_inputs())
        return [
            (
                # A leading corner of a triangular, symmetric or banded matrix is one too.
                value[tuple(slice(size) for size in spec.shape)].contiguous().to(self._device)
                if isinstance(value, torch.Tensor)
                and not isinstance(spec, int | float | str | None)
                else spec
            )
            for value, spec in zip(values, specs, strict=True)
        ]

    def function(self, dtype: torch.dtype | None) -> Callable[..., Any]:
        """What maps inputs to the result, its weights in `dtype`; None: their own."""
        if self._expression is not None:
            return _written_out(self._expression, self._names)
        assert self._module is not None, "a reference that is True"
        torch.manual_seed(self._seed)
        with torch.device(self._device):
            model: torch.nn.Module = (
                model_class(self._module, "Model")(*self.init).eval().to(self._device)
            )
        self.state = model.state_dict()
        if dtype is not None:
            model = model.to(dtype)
        function: Callable[..., Any] = model
        return function

    def give_state(self, model: torch.nn.Module) -> None:
        """Gives a model the Model's parameters, where it has them by the same names."""
        if self.state is not None and self.state.keys() == model.state_dict().keys():
            model.load_state_dict(self.state)

    def compute(self, values: Sequence[Any], dtype: torch.dtype | None) -> Outputs:
        """The result on these inputs, computed in `dtype`, and given in it; None: in the inputs' own.

        In float64 nothing is rounded to float32 or fewer bits on the way, whatever types the reference names: what
        that costs is the library's error, and the bound's measure. A result of integers or 8-bit floats is given as the
        numbers it has.
        """
        found = self._called(values, dtype)
        return found if dtype is None else [cast(out, dtype) for out in found]

    def library(self, values: Sequence[Any], promise: str) -> Outputs | None:
        """What PyTorch gives for these inputs at their own dtypes, float32 products computed as promised.

        With `wide` for the same values as float32: 16-bit ones are exact in it, and in TF32 too, so tensor cores round
        nothing but sums and the result. What cannot be computed so (a Model that names its types) is computed at
        its own dtypes; what PyTorch cannot multiply (8-bit types) as bfloat16; else None. At any promise, float32
        products of 16-bit values that the reference casts up itself are on tensor cores too.
        """
        ways: list[tuple[Sequence[Any], torch.dtype | None]] = [
            (values, None),
            ([_from_bytes(value) for value in values], None),
        ]
        if promise == "wide":
            ways.insert(0, (values, torch.float32))
        with library_precision(promise), OnTensorCoresIfExact():
            for given, dtype in ways:
                try:
                    return self._called(given, dtype)
                except (RuntimeError, NotImplementedError):
                    continue
        return None

    def runs(self, values: Sequence[Any], promise: str) -> list[Outputs]:
        """What shows how far off a right result may be: the library's comes first; none where that has none.

        Under a promise of TF32 also that of rounded values, in float64: of few rows, or in small batches, the library
        is nearer than TF32 gets, as it does not use it there.
        """
        library = self.library(values, promise)
        if library is None:
            return []
        if promise != "tf32":
            return [library]
        rounded = [in_tf32(value, nearest=True) for value in values]
        return [library, self.compute(rounded, torch.float64)]

    def _called(self, values: Sequence[Any], dtype: torch.dtype | None) -> Outputs:
        unrounded = Unrounded() if dtype == torch.float64 else contextlib.nullcontext()
        # What a Model compiles would not let a mode look at what it calls.
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            # Made as it is made anywhere: in float64 the same seed would give other weights.
            function = self.function(dtype)
            with unrounded:
                return flat(function(*(cast(value, dtype) for value in values)))


def _written_out(expression: str, names: Sequence[str]) -> Callable[..., Any]:
    """The expression as the body of a function of its own, of which torch.compile sees every operation.

    It sees nothing of what `eval` runs, and gives up on code that it has met with many other values.
    """
    arguments = "".join(f"{name}=None, " for name in names)
    tree = ast.parse(f"lambda {arguments}*_: 0", "--reference", "eval")
    assert isinstance(tree.body, ast.Lambda)
    tree.body.body = ast.parse(expression.strip(), "--reference", "eval").body
    function: Callable[..., Any] = eval(
        compile(tree, "--reference", "eval"), {"torch": torch, "F": torch.nn.functional}
    )
    return function


class _Normal(TorchFunctionMode):
    """Uniform random inputs become normal ones: values of one sign hide what is lost to rounding."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        _types: Any,
        args: Any = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        normal = {torch.rand: torch.randn, torch.rand_like: torch.randn_like}
        return normal.get(function, function)(*args, **(kwargs or {}))


def cast(value: Any, dtype: torch.dtype | None) -> Any:
    """A copy of a floating-point tensor in `dtype`; None: in its own. Everything else as it is."""
    if not (isinstance(value, torch.Tensor) and value.is_floating_point()):
        return value
    return value.clone() if dtype is None else value.to(dtype)


def _from_bytes(value: Any) -> Any:
    """An 8-bit floating-point tensor in bfloat16."""
    if isinstance(value, torch.Tensor) and value.is_floating_point() and value.itemsize == 1:
        return value.to(torch.bfloat16)
    return value


def narrowed(outputs: Outputs, library: Sequence[torch.dtype]) -> str | None:
    """Why a result of fewer bits than the library's is refused: float16 would be within the bound that TF32 has."""
    for out, dtype in zip(outputs, library, strict=False):
        if out.dtype.itemsize < dtype.itemsize:
            return f"returns {_name(out.dtype)} where the library returns {_name(dtype)}"
    return None


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def bounds(expected: Outputs, runs: Sequence[Outputs], half_ulp: float) -> Bounds:
    """Per output, the largest relative and largest maximal error a right kernel may have.

    Eight times the sum of half a unit in the last place and the largest error among the library's runs.
    """
    errors = [[distance(out, ref) for out, ref in zip(run, expected, strict=True)] for run in runs]
    return [
        (_allowed([e[0] for e in own], half_ulp), _allowed([e[1] for e in own], half_ulp))
        for own in zip(*errors, strict=True)
    ]


def _allowed(errors: Sequence[float], half_ulp: float) -> float:
    # Where the library itself overflows, its error is no measure.
    return _SLACK * (half_ulp + max((error for error in errors if math.isfinite(error)), default=0))


def in_tf32(value: Any, *, nearest: bool) -> Any:
    """A float32 tensor of finite numbers with TF32's mantissa. Everything else as it is.

    The other bits are rounded off, as cuBLAS does it, or dropped, as `tl.dot` does.
    """
    if not (isinstance(value, torch.Tensor) and value.dtype == torch.float32):
        return value
    bits = value.contiguous().view(torch.int32)
    if nearest:
        bits = bits + (1 << (_TF32_DROPPED_BITS - 1))
    return (bits >> _TF32_DROPPED_BITS << _TF32_DROPPED_BITS).view(torch.float32)


def half_ulp(values: Sequence[Any]) -> float:
    """Half a unit in the last place, relative, of the coarsest floating-point dtype among the values."""
    floats = [
        value.dtype
        for value in values
        if isinstance(value, torch.Tensor) and value.is_floating_point()
    ]
    return max((torch.finfo(dtype).eps / 2 for dtype in floats), default=0.0)


def distance(out: torch.Tensor, ref: torch.Tensor) -> tuple[float, float]:
    """(||out - ref|| / ||ref||, max|out - ref| / rms(ref)); NaN where out has NaN and ref has not.

    `ref` is float64. Infinite and NaN elements of ref must be the same in out; they count as error-free then.
    """
    out = out.double()
    special = ~ref.isfinite()
    same = torch.where(ref.isnan(), out.isnan(), out == ref)
    if bool((special & ~same).any()):
        return math.nan, math.nan
    difference = torch.where(special, 0.0, out - ref)
    scale = torch.where(special, 0.0, ref)
    norm = float(scale.norm()) or 1.0
    rms = norm / math.sqrt(max(1, ref.numel()))
    largest = float(difference.abs().max()) if difference.numel() else 0.0
    return float(difference.norm()) / norm, largest / rms


def worst(errors: Sequence[tuple[float, float]], allowed: Bounds) -> dict[str, Any]:
    """The errors of the output that is furthest beyond (or nearest to) its bound, and whether all are within."""

    def excess(pair: tuple[tuple[float, float], tuple[float, float]]) -> float:
        (relative, largest), (relative_bound, largest_bound) = pair
        if math.isnan(relative):
            return math.inf
        return max(relative / (relative_bound or 1e-300), largest / (largest_bound or 1e-300))

    error, bound = max(zip(errors, allowed, strict=True), key=excess)
    return {
        "relative_error": None if math.isnan(error[0]) else error[0],
        "max_error": None if math.isnan(error[1]) else error[1],
        "bound": bound[0],
        "right": excess((error, bound)) <= 1,
    }


def paired(outputs: Outputs, expected: Outputs) -> list[tuple[torch.Tensor, torch.Tensor]]:
    shapes = [list(out.shape) for out in outputs], [list(ref.shape) for ref in expected]
    if shapes[0] != shapes[1]:
        raise BadInput(f"returns shapes {shapes[0]} where the reference gives {shapes[1]}")
    return list(zip(outputs, expected, strict=True))


def flat(result: Any) -> Outputs:
    """The tensors of a result, in order; raises BadInput when there are none."""
    items = result if isinstance(result, list | tuple) else [result]
    tensors = [item for item in items if isinstance(item, torch.Tensor)]
    if not tensors:
        raise BadInput(f"returns no tensor but a {type(result).__name__}")
    return tensors
