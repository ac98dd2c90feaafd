"""Runs a model's kernels in Triton's interpreter, one chosen config at a time. Child processes only.

The interpreter executes the kernel's own program on the CPU: it shows wrong indexing, wrong masks and tiles
nobody computes. It ignores num_warps, num_stages and input_precision, so it says nothing of races or of
tensor-core rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from codegen.forced import Pick, Picked, forced
from codegen.gpu import GpuSpec
from codegen.guard import Allocating, Guarded
from codegen.inputs import from_wire
from codegen.load import import_file, model_class, parameters
from codegen.outcome import BadInput
from codegen.pretend import PretendCuda, pretend_gpu
from codegen.reference import (
    Outputs,
    Reference,
    bounds,
    distance,
    flat,
    half_ulp,
    in_tf32,
    narrowed,
    paired,
    worst,
)
from codegen.repair import repair_interpreter
from codegen.sections import MODEL_CLASS


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
        with PretendCuda("cpu"), Allocating("cpu"):
            self._module = import_file(path)
        self._model = model_class(self._module, MODEL_CLASS)

    def _prepare(
        self,
        path: str,
        problem: str | None,
        reference: str | None,
        inputs: list[Any],
        sizes: list[tuple[int, int]],
        seed: int,
        promise: str,
    ) -> dict[str, Any]:
        """Makes the small inputs and, if there is a reference, its float64 result and the bounds that follow."""
        names = [parameter.name for parameter in parameters(self._model)]
        self._seed = seed
        self._reference = Reference(problem, reference, names, dict(sizes), seed)
        self._inputs = self._reference.inputs(from_wire(inputs), seed)
        self._expected: Outputs | None = None
        self._dtypes: tuple[torch.dtype, ...] = ()
        if self._reference:
            self._expected = self._reference.compute(self._inputs, torch.float64)
            # As `tl.dot` takes float32.
            truncated = [in_tf32(value, nearest=False) for value in self._inputs]
            runs = [self._reference.compute(truncated, torch.float64)]
            library = self._reference.library(self._inputs, promise)
            if library is not None:
                runs.append(library)
                self._dtypes = tuple(out.dtype for out in library)
            self._bounds = bounds(self._expected, runs, half_ulp(library or self._inputs))
        return {"reference": bool(self._reference)}

    def _run(self, path: str, choice: list[tuple[str, int, int]], keep: str) -> dict[str, Any]:
        """Runs the model with the chosen config per kernel; keeps the outputs, answers how far off they are, and
        whether they have fewer bits than the library's; or only that the first config is `pruned` on these inputs.

        Raises BadInput when it writes where it should not.
        """
        picks = {(kernel, line): Pick(index, blocks=True) for kernel, line, index in choice}
        (kernel, line, _), picked = choice[0], Picked()
        inputs = Guarded(self._inputs)
        torch.manual_seed(self._seed)
        try:
            with (
                PretendCuda("cpu"),
                torch.no_grad(),
                forced(picks, picked=picked),
                Allocating("cpu") as made,
            ):
                model = self._model(*self._reference.init).eval()
                self._reference.give_state(model)
                outputs = [out.clone() for out in flat(model(*inputs.values))]
        except Exception:  # foreign code: of what stands in for a pruned config it says nothing
            if not picked.untried((kernel, line)):
                raise
        if picked.untried((kernel, line)):
            return {"pruned": True}
        if fault := inputs.fault() or made.fault():
            raise BadInput(fault)
        torch.save(outputs, keep)
        if self._expected is None:
            return {}
        found = worst(
            [distance(out, ref) for out, ref in paired(outputs, self._expected)], self._bounds
        )
        return {**found, "narrowed": narrowed(outputs, self._dtypes)}

    def _compare(self, path: str, files: list[str]) -> dict[str, Any]:
        """Without a reference: whether all lack everything, which outputs lack elements that others have, how far
        each is from each other one, and whether they agree.

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
            result = worst(errors, [(bound, bound)] * len(errors))
            return {"agree": result.pop("right"), **result}

        return {
            "hollow": all(map(_says_nothing, kept)),
            "unwritten": [any(_lacks(left, right) for right in kept) for left in kept],
            "apart": [[apart(left, right) for right in kept] for left in kept],
        }


def _says_nothing(outputs: Outputs) -> bool:
    """Whether one of the results has not a single finite element, from inputs that all are."""
    return any(out.numel() > 0 and not bool(out.isfinite().any()) for out in outputs)


def _lacks(out: Outputs, other: Outputs) -> bool:
    """Whether `out` is NaN somewhere that `other` is not: nobody wrote there."""
    return any(
        a.shape == b.shape and bool((a.isnan() & ~b.isnan()).any())
        for a, b in zip(out, other, strict=False)
    )
