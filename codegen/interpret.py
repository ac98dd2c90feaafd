"""Runs a model's kernels in Triton's interpreter, one chosen config at a time. Child processes only.

The interpreter executes the kernel's own program on the CPU: it shows wrong indexing, wrong masks and tiles
nobody computes. It ignores num_warps, num_stages and input_precision, so it says nothing of races or of
tensor-core rounding.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from triton.runtime.autotuner import Autotuner
from triton.runtime.interpreter import GridExecutor

from codegen.gpu import GpuSpec
from codegen.inputs import from_wire
from codegen.launch import MODEL
from codegen.load import (
    import_file,
    make_input,
    model_class,
    parameters,
    problem_function,
    with_sizes,
)
from codegen.outcome import BadInput
from codegen.pretend import PretendCuda, pretend_gpu
from codegen.repair import repair_interpreter

# How far from the reference a right kernel may be, in units of the library's own error: room for another order
# of summation (sequential over K where the library sums blocks), far below one wrong element.
_SLACK = 8
_TF32_DROPPED_BITS = 13  # float32 keeps 23 bits of mantissa, TF32 10; Triton truncates

Outputs = list[torch.Tensor]


class Interpreter:
    """Answers the parent's questions about one file: `load`, `prepare`, `run`, `compare`."""

    def __init__(self) -> None:
        repair_interpreter()

    def handle(self, question: dict[str, Any]) -> Any:
        operations: dict[str, Callable[..., Any]] = {
            "load": self._load,
            "prepare": self._prepare,
            "run": self._run,
            "compare": self._compare,
        }
        return operations[question.pop("op")](**question)

    def _load(self, path: str, gpu: dict[str, Any]) -> None:
        pretend_gpu(GpuSpec(**gpu))
        with PretendCuda("cpu", poison=True):
            self._module = import_file(path)
        self._model = model_class(self._module, MODEL)

    def _prepare(
        self,
        path: str,
        problem: str | None,
        reference: str | None,
        inputs: list[Any],
        sizes: list[tuple[int, int]],
        seed: int,
    ) -> dict[str, Any]:
        """Makes the small inputs and, if there is a reference, its float64 result and the bounds that follow."""
        self._seed = seed
        self._init: list[Any] = []
        self._expected: Outputs | None = None
        self._state: dict[str, Any] | None = None
        specs = from_wire(inputs)
        if problem is None:
            generator = torch.Generator().manual_seed(seed)
            self._inputs = [make_input(spec, "cpu", generator) for spec in specs]
        else:
            module = import_file(problem)
            with_sizes(module, dict(sizes))
            # Sizes written into the function itself are made small here.
            self._init = [
                dict(sizes).get(value, value) if type(value) is int else value
                for value in problem_function(module, "get_init_inputs")()
            ]
            self._inputs = _inputs_of_problem(problem_function(module, "get_inputs"), specs, seed)
        compute = self._reference(reference, module if problem is not None else None)
        if compute is not None:
            self._expected = compute(torch.float64, lambda tensor: tensor)
            self._bounds = _bounds(self._expected, compute, self._inputs)
        return {"reference": compute is not None}

    def _reference(
        self, expression: str | None, problem: Any
    ) -> Callable[[torch.dtype | None, Callable[[torch.Tensor], torch.Tensor]], Outputs] | None:
        """A function of (dtype to compute in, None for the inputs' own; rounding of the inputs) -> outputs."""
        if expression is None and problem is None:
            return None

        def compute(
            dtype: torch.dtype | None, rounding: Callable[[torch.Tensor], torch.Tensor]
        ) -> Outputs:
            values = [_cast(value, dtype, rounding) for value in self._inputs]
            with torch.no_grad():
                if expression is not None:
                    names = {
                        name.name: value
                        for name, value in zip(parameters(self._model), values, strict=False)
                    }
                    return _flat(
                        eval(expression, {"torch": torch, "F": torch.nn.functional, **names})
                    )
                torch.manual_seed(self._seed)
                model = model_class(problem, "Model")(*self._init).eval()
                self._state = model.state_dict()
                return _flat((model if dtype is None else model.to(dtype))(*values))

        return compute

    def _run(self, path: str, choice: list[tuple[str, int, int]], keep: str) -> dict[str, Any]:
        """Runs the model with the chosen config per kernel; keeps the outputs, answers how far off they are."""
        chosen = {(kernel, line): index for kernel, line, index in choice}
        inputs = [
            value.clone() if isinstance(value, torch.Tensor) else value for value in self._inputs
        ]
        torch.manual_seed(self._seed)
        with PretendCuda("cpu", poison=True), torch.no_grad(), _forced(chosen):
            model = self._model(*self._init).eval()
            if self._state is not None and self._state.keys() == model.state_dict().keys():
                model.load_state_dict(self._state)
            outputs = _flat(model(*inputs))
        torch.save(outputs, keep)
        if self._expected is None:
            return {}
        return _worst(
            [distance(out, ref) for out, ref in _paired(outputs, self._expected)], self._bounds
        )

    def _compare(self, path: str, files: list[str]) -> dict[str, Any]:
        """Without a reference: which outputs lack elements that others have, how far each is from each other
        one, and whether they agree.

        There is no library error to derive a bound from here. The square root of the coarsest dtype's spacing
        lies far above rounding and far below a missing element, whose error is of the order of the result.
        """
        kept: list[Outputs] = [torch.load(Path(file), weights_only=True) for file in files]
        values = [value for value in (*self._inputs, *kept[0]) if isinstance(value, torch.Tensor)]
        spacing = [torch.finfo(value.dtype).eps for value in values if value.is_floating_point()]
        bound = math.sqrt(max(spacing, default=0.0))

        def apart(left: Outputs, right: Outputs) -> dict[str, Any]:
            if [out.shape for out in left] != [out.shape for out in right]:
                return {"agree": False, "relative_error": None, "max_error": None}
            errors = [distance(out, ref.double()) for out, ref in zip(left, right, strict=True)]
            worst = _worst(errors, [(bound, bound)] * len(errors))
            return {"agree": worst.pop("right"), **worst}

        return {
            "unwritten": [any(_lacks(left, right) for right in kept) for left in kept],
            "apart": [[apart(left, right) for right in kept] for left in kept],
        }


@contextlib.contextmanager
def _forced(chosen: dict[tuple[str, int], int]) -> Iterator[None]:
    """Within it the autotuner takes the chosen config (the first, for kernels not named) and never benchmarks."""
    tuned, execute = Autotuner.run, GridExecutor.__call__

    def run(self: Autotuner, *args: Any, **kwargs: Any) -> None:
        function = self.base_fn
        config = self.configs[chosen.get((function.__name__, function.__code__.co_firstlineno), 0)]
        if config.pre_hook is not None:
            config.pre_hook(
                {**dict(zip(self.arg_names, args, strict=False)), **kwargs, **config.all_kwargs()}
            )
        self.fn.run(*args, **kwargs, **config.all_kwargs())

    def on_cpu(self: GridExecutor, *args: Any, **kwargs: Any) -> None:
        with torch._C.DisableTorchFunction():  # the interpreter itself must see where tensors are
            execute(self, *args, **kwargs)

    Autotuner.run, GridExecutor.__call__ = run, on_cpu
    try:
        yield
    finally:
        Autotuner.run, GridExecutor.__call__ = tuned, execute


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


def _inputs_of_problem(get_inputs: Callable[[], Any], specs: Sequence[Any], seed: int) -> list[Any]:
    """The problem file's own inputs, normal instead of uniform, cut to the small shapes.

    A leading corner of a triangular, symmetric or banded matrix is one too.
    """
    torch.manual_seed(seed)
    with _Normal():
        values = list(get_inputs())
    return [
        (
            value[tuple(slice(size) for size in spec.shape)].contiguous()
            if isinstance(value, torch.Tensor)
            else spec
        )
        for value, spec in zip(values, specs, strict=True)
    ]


def _cast(
    value: Any, dtype: torch.dtype | None, rounding: Callable[[torch.Tensor], torch.Tensor]
) -> Any:
    if not (isinstance(value, torch.Tensor) and value.is_floating_point()):
        return value
    rounded = rounding(value)
    return rounded.clone() if dtype is None else rounded.to(dtype)


def _truncate_to_tf32(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.dtype != torch.float32:
        return tensor
    bits = tensor.contiguous().view(torch.int32)
    return (bits >> _TF32_DROPPED_BITS << _TF32_DROPPED_BITS).view(torch.float32)


def _bounds(
    expected: Outputs,
    compute: Callable[[torch.dtype | None, Callable[[torch.Tensor], torch.Tensor]], Outputs],
    inputs: list[Any],
) -> list[tuple[float, float]]:
    """Per output, the largest relative and maximal error a right kernel may have.

    Eight times the library's own error on the same inputs at their own dtype, or with the inputs
    truncated to TF32 as `tl.dot` takes float32, whichever is larger, plus half a unit in the last place of
    the inputs' coarsest dtype for the rounding of the result.
    """
    runs = [compute(torch.float64, _truncate_to_tf32)]
    # A library without this dtype on the CPU (float8 products) leaves the rounding of the result alone.
    with contextlib.suppress(RuntimeError, NotImplementedError):
        runs.append(compute(None, lambda tensor: tensor))
    floats = [
        value.dtype
        for value in inputs
        if isinstance(value, torch.Tensor) and value.is_floating_point()
    ]
    half_ulp = max((torch.finfo(dtype).eps / 2 for dtype in floats), default=0.0)
    errors = [[distance(out, ref) for out, ref in zip(run, expected, strict=True)] for run in runs]
    return [
        (
            _SLACK * (half_ulp + max(e[0] for e in per_run)),
            _SLACK * (half_ulp + max(e[1] for e in per_run)),
        )
        for per_run in zip(*errors, strict=True)
    ]


def _lacks(out: Outputs, other: Outputs) -> bool:
    """Whether `out` is NaN somewhere that `other` is not: nobody wrote there."""
    return any(
        a.shape == b.shape and bool((a.isnan() & ~b.isnan()).any())
        for a, b in zip(out, other, strict=False)
    )


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


def _worst(errors: list[tuple[float, float]], bounds: list[tuple[float, float]]) -> dict[str, Any]:
    """The errors of the output that is furthest beyond (or nearest to) its bound, and whether all are within."""

    def excess(pair: tuple[tuple[float, float], tuple[float, float]]) -> float:
        (relative, largest), (relative_bound, largest_bound) = pair
        if math.isnan(relative):
            return math.inf
        return max(relative / (relative_bound or 1e-300), largest / (largest_bound or 1e-300))

    error, bound = max(zip(errors, bounds, strict=True), key=excess)
    return {
        "relative_error": None if math.isnan(error[0]) else error[0],
        "max_error": None if math.isnan(error[1]) else error[1],
        "bound": bound[0],
        "right": excess((error, bound)) <= 1,
    }


def _paired(outputs: Outputs, expected: Outputs) -> list[tuple[torch.Tensor, torch.Tensor]]:
    shapes = [list(out.shape) for out in outputs], [list(ref.shape) for ref in expected]
    if shapes[0] != shapes[1]:
        raise BadInput(f"returns shapes {shapes[0]} where the reference gives {shapes[1]}")
    return list(zip(outputs, expected, strict=True))


def _flat(result: Any) -> Outputs:
    """The tensors of a result, in order; raises BadInput when there are none."""
    items = result if isinstance(result, list | tuple) else [result]
    tensors = [item for item in items if isinstance(item, torch.Tensor)]
    if not tensors:
        raise BadInput(f"returns no tensor but a {type(result).__name__}")
    return tensors
