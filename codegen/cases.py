"""Which inputs a file is tried on: the given ones, ragged and small ones, and some with NaN and infinities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from codegen.evidence import Case
from codegen.inputs import InputSpec, TensorSpec, describe, shrink_all, small_sizes

_ALIGNED = 16  # elements: whole 16 bytes of every type, as descriptors ask for

# For sizes below a tile: odd, and each given size another.
_TINY = (17, 13, 11, 7, 5, 3)


def plan_cases(
    inputs: Sequence[InputSpec],
    sides: Sequence[int],
    *,
    given: bool = True,
    aligned: bool = True,
    seed: int = 0,
) -> tuple[Case, ...]:
    """The cases to check every config on, the given inputs first.

    `sides` are the tile sides among the configs. Without `given` (where every element costs, as in the
    interpreter) the ragged sizes stand for the given ones. With `aligned` there are also sizes that end within
    a tile and at whole 16 bytes: those that descriptors take, and that Triton compiles as it does the given ones.
    """
    ragged, tiny = small_sizes(inputs, sides), tiny_sizes(inputs)
    at_16 = aligned_sizes(ragged, inputs)
    planned = [
        *([("given", {}, seed), ("given", {}, seed + 1)] if given else []),
        ("ragged", ragged, seed),
        *([("aligned", at_16, seed)] if aligned else []),
        ("small", tiny, seed),
        ("special", ragged, seed),
        *([("special", at_16, seed)] if aligned else []),
    ]
    cases: list[Case] = []
    for purpose, sizes, number in planned:
        case = Case(shrink_all(inputs, sizes), number, purpose, tuple(sorted(sizes.items())))
        # Inputs that are small already have no smaller ones that stand for them.
        if (case.inputs, case.seed, purpose == "special") not in [
            (other.inputs, other.seed, other.purpose == "special") for other in cases
        ]:
            cases.append(case)
    return tuple(cases)


def every_case(
    given: Sequence[Sequence[InputSpec]], sides: Sequence[int], *, whole: bool = False
) -> tuple[Case, ...]:
    """The cases for several given sets of inputs: each of them, and what else the first one leads to.

    With `whole` no size is ragged: for a file that is asked about whole tiles, and right on no other sizes.
    """
    more = [case for inputs in given[1:] for case in plan_cases(inputs, sides)[:2]]
    planned = plan_cases(given[0], sides)
    if not whole:
        return (*planned[:2], *more, *planned[2:])
    sizes = small_sizes(given[0], sides, ragged=False)
    small = shrink_all(given[0], sizes), 0
    pairs = tuple(sorted(sizes.items()))
    others = (Case(*small, "small", pairs), Case(*small, "special", pairs))
    return (*planned[:2], *more, *others)


def given_cases(given: Sequence[Sequence[InputSpec]]) -> tuple[Case, ...]:
    """Every given set once: what races are run on, and enough to leave out of one what is plainly wrong."""
    return tuple(Case(tuple(inputs), 0, "given") for inputs in given)


def aligned_sizes(ragged: Mapping[int, int], inputs: Sequence[InputSpec]) -> dict[int, int]:
    """The sizes that matrices have as multiples of 16 elements, all different still; batches as they are."""
    inner = {size for spec in inputs if isinstance(spec, TensorSpec) for size in spec.shape[-2:]}
    aligned: dict[int, int] = {}
    for size, small in ragged.items():
        if size in inner and size % _ALIGNED == 0:
            small = max(small // _ALIGNED, 1) * _ALIGNED
            while small in aligned.values():
                small += _ALIGNED
        aligned[size] = min(size, small)
    return aligned


def tiny_sizes(inputs: Sequence[InputSpec]) -> dict[int, int]:
    """Given size -> one below any tile. Sizes that differ stay different for the largest six; a size already as small is kept."""
    sizes = {size for spec in inputs if isinstance(spec, TensorSpec) for size in spec.shape}
    large = sorted((size for size in sizes if size > max(_TINY)), reverse=True)
    return {size: _TINY[place % len(_TINY)] for place, size in enumerate(large)}


def show(case: Case) -> str:
    """A case for a person: `float32[549,549], float32[549,549], seed 1`."""
    special = ", NaN and infinities" if case.purpose == "special" else ""
    return f"{', '.join(describe(case.inputs))}, seed {case.seed}{special}"
