"""One subject on one set of inputs: is it right, every time, and does it keep to its own memory? Child processes only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from codegen.guard import Allocating, Guarded, same_bits
from codegen.inputs import InputSpec
from codegen.outcome import UNWRITTEN
from codegen.reference import (
    Bounds,
    Outputs,
    Reference,
    bounds,
    distance,
    half_ulp,
    narrowed,
    paired,
    worst,
)

_OTHER_SEED = 1 << 20  # from a case's seed to that of the values its buffers get afterwards
_SPECIAL = (float("nan"), float("inf"), float("-inf"))

Run = Callable[[list[Any]], Outputs]


@dataclass
class Setting:
    """Inputs, what is right on them, and how exactly."""

    inputs: list[Any]
    fresh: list[Any]  # other values of the same shapes
    expected: Outputs  # float64, one for each output; empty: nothing to compare with
    fresh_expected: Outputs
    allowed: Bounds
    library_error: float | None
    # Of inputs with NaN and infinities: which elements of each output depend on those.
    depends: Outputs | None = None
    dtypes: tuple[torch.dtype, ...] = ()  # of the library's result; empty: it has none
    mark: int = 0  # of the bits that must not change

    def seal(self) -> None:
        self.mark = self._sum()

    def intact(self) -> bool:
        """Whether nobody has written into the inputs and the reference, which no subject is given."""
        return self._sum() == self.mark

    def bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self._tensors())

    def _tensors(self) -> Outputs:
        every = [*self.inputs, *self.fresh, *self.expected, *self.fresh_expected]
        return [value for value in every if isinstance(value, torch.Tensor)]

    def _sum(self) -> int:
        sums = [tensor.contiguous().view(torch.uint8).flatten().sum() for tensor in self._tensors()]
        return int(torch.stack(sums).sum()) if sums else 0


def prepare(
    reference: Reference, specs: Sequence[InputSpec], seed: int, promise: str, *, special: bool
) -> Setting:
    """Inputs with the reference's float64 result, and bounds from the library's own error at `promise`."""
    inputs = reference.inputs(specs, seed)
    fresh = reference.inputs(specs, seed + _OTHER_SEED)
    if not reference:
        return Setting(inputs, fresh, [], [], [], None)
    expected = reference.compute(inputs, torch.float64)
    runs = reference.runs(inputs, promise)
    library = runs[0] if runs else None
    allowed = bounds(expected, runs, half_ulp(library or inputs))
    error, dtypes = None, ()
    if library is not None:
        dtypes = tuple(out.dtype for out in library)
        error = max(distance(out, ref)[0] for out, ref in paired(library, expected))
    if special:
        inputs, depends = _special(reference, inputs, expected, seed)
        expected = reference.compute(inputs, torch.float64)
        return Setting(inputs, [], expected, [], allowed, error, depends, dtypes)
    fresh_expected = reference.compute(fresh, torch.float64)
    return Setting(inputs, fresh, expected, fresh_expected, allowed, error, None, dtypes)


def _special(
    reference: Reference, inputs: list[Any], expected: Outputs, seed: int
) -> tuple[list[Any], Outputs]:
    """The inputs with a NaN and two infinities in each, and which elements of the result depend on those.

    An element depends on a value if float64 gives another result for another finite value in its place.
    (0 × NaN is NaN in the reference also where a structure makes the factor 0 for good: a kernel may skip it.)
    """
    generator = torch.Generator().manual_seed(seed)
    planted, moved = list(inputs), list(inputs)
    for place, value in enumerate(inputs):
        if not (isinstance(value, torch.Tensor) and value.is_floating_point()):
            continue
        candidates = _plantable(value)
        chosen = torch.randint(0, max(1, len(candidates)), (len(_SPECIAL),), generator=generator)
        planted[place], moved[place] = value.clone(), value.clone()
        for special, index in zip(_SPECIAL, chosen.tolist(), strict=True):
            if index < len(candidates):
                where = tuple(candidates[index].tolist())
                planted[place][where] = special
                # Of the other sign and larger: an element that a relu cuts off is one that depends.
                moved[place][where] = -value[where].double() - value[where].double().sign()
    elsewhere = reference.compute(moved, torch.float64)
    return planted, [
        (new - old).abs() > 1e-9 * old.abs().mean()
        for new, old in zip(elsewhere, expected, strict=True)
    ]


def _plantable(value: torch.Tensor) -> torch.Tensor:
    """Indices at which a value may be replaced without breaking a structure: [count, dimensions]."""
    value = value.double()
    if value.dim() >= 2 and value.shape[-1] == value.shape[-2] and bool((value.mT == value).all()):
        value = torch.diagonal_scatter(
            torch.zeros_like(value), value.diagonal(dim1=-2, dim2=-1), dim1=-2, dim2=-1
        )
    return (value != 0).nonzero()


def examine(
    run: Run, setting: Setting, device: str, repeats: int, atomics: Callable[[], bool]
) -> dict[str, Any]:
    """The fields of `evidence.Finding`, and whether repeated calls gave the same bits (None: not found out).

    Calls the subject with one set of values `repeats` times more, then with other values in the same memory.
    Whatever `run` raises comes through.
    """
    said: dict[str, Any] = {"library_error": setting.library_error, "repeatable": None}
    given = Guarded(setting.inputs)
    results, outputs, fault = _guarded(run, given, device)
    said |= _compare(outputs, setting.expected, setting)
    said["fault"] = fault or narrowed(outputs, setting.dtypes) or said["fault"]
    if said["fault"] or setting.depends is not None:
        return said
    said["repeatable"] = True
    for _ in range(repeats):
        _, again, fault = _guarded(run, given, device)
        if not all(map(same_bits, outputs, again)):
            said["repeatable"] = False
            if not atomics():
                fault = fault or "gives other bits when called again with the same inputs: a race"
            else:
                fault = fault or _compare(again, setting.expected, setting)["fault"]
        if fault:
            return said | {"fault": fault}
    given.put(setting.fresh)
    _, anew, fault = _guarded(run, given, device)
    later = _compare(anew, setting.fresh_expected, setting)
    if later["fault"] and all(map(same_bits, outputs, anew)):
        later["fault"] = "returns an earlier result although the inputs hold new values"
    elif later["fault"]:
        later["fault"] += ", with new values in the inputs' memory"
    elif any(
        not same_bits(result, out) and not given.holds(result)
        for result, out in zip(results, outputs, strict=True)
    ):
        later["fault"] = "returns the same memory again: a later call changes an earlier result"
    if fault or later["fault"]:
        return said | later | {"fault": fault or later["fault"]}
    return said


def _guarded(run: Run, given: Guarded, device: str) -> tuple[Outputs, Outputs, str | None]:
    """The outputs, copies of them taken in stream order, and what the call did to memory not its own to change."""
    with Allocating(device) as made:
        results = run(given.values)
        outputs = [out.clone() for out in results]
    return results, outputs, given.fault() or made.fault()


def _compare(outputs: Outputs, expected: Outputs, setting: Setting) -> dict[str, Any]:
    if not expected:
        return {"fault": None}
    pairs = paired(outputs, expected)
    lost = False
    if setting.depends is not None:
        for (out, ref), depends in zip(pairs, setting.depends, strict=True):
            lost |= bool((out.isfinite() & ~ref.isfinite() & depends).any())
        # The rest is compared where the reference is finite.
        pairs = [
            (torch.where(ref.isfinite(), out.double(), 0), ref.nan_to_num(0, 0, 0))
            for out, ref in pairs
        ]
    result = worst([distance(out, ref) for out, ref in pairs], setting.allowed)
    fault = None
    if result["relative_error"] is None:
        fault = f"not finite where the reference is: {UNWRITTEN}"
        if setting.depends is not None:
            fault = (
                "not finite where the reference is, with NaN and infinities elsewhere in the inputs"
            )
    elif not result["right"]:
        fault = f"wrong: relative error {result['relative_error']:.2g}, and {result['bound']:.2g} is allowed"
        if result["relative_error"] <= result["bound"]:
            fault = f"wrong in places: an error of {result['max_error']:.2g} of the result's root mean square"
    elif lost:
        fault = "wrong for NaN or infinities: finite where one of the values that decide it is not"
    return {**result, "fault": fault}
