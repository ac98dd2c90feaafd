"""The sets of inputs a file has to be right on: those given, ragged ones, small ones, and special values."""

from __future__ import annotations

from collections.abc import Sequence

from codegen.evidence import Case
from codegen.inputs import InputSpec, TensorSpec, shrink_all, small_sizes

# Smaller than every tile that tensor cores take, and distinct, so that sizes that differ stay different.
_TINY = (5, 3, 7, 11, 13, 2, 1, 17, 19, 23)


def full_cases(
    given: Sequence[tuple[InputSpec, ...]], sides: Sequence[int], *, whole: bool = False
) -> tuple[Case, ...]:
    """What a verdict rests on: every given set under two seeds, then ragged, small and special ones.

    `sides` are the tile sides among the configs. With `whole` all sizes are whole tiles.
    """
    cases = tuple(Case(inputs, seed, "given") for inputs in given for seed in (0, 1))
    if not whole:
        return (*cases, *small_cases(given, sides))
    sizes = small_sizes(given[0], sides, ragged=False)
    return (*cases, _shrunk(given[0], sizes, 2, "small"), _shrunk(given[0], sizes, 5, "special"))


def small_cases(given: Sequence[tuple[InputSpec, ...]], sides: Sequence[int]) -> tuple[Case, ...]:
    """Those that Triton's interpreter can run too: two tiles and a ragged rest under two seeds, less than a
    tile, and NaN and infinities among the values."""
    inputs = given[0]
    ragged = small_sizes(inputs, sides)
    tiny = _tiny_sizes(inputs)
    return (
        _shrunk(inputs, ragged, 2, "ragged"),
        _shrunk(inputs, ragged, 3, "ragged"),
        _shrunk(inputs, tiny, 4, "small"),
        _shrunk(inputs, ragged, 5, "special"),
    )


def given_cases(given: Sequence[tuple[InputSpec, ...]]) -> tuple[Case, ...]:
    """Every given set once: what races are run on, and enough to leave out of one what is plainly wrong."""
    return tuple(Case(inputs, 0, "given") for inputs in given)


def _tiny_sizes(inputs: Sequence[InputSpec]) -> dict[int, int]:
    given = sorted(
        {size for spec in inputs if isinstance(spec, TensorSpec) for size in spec.shape},
        reverse=True,
    )
    return {
        size: min(size, _TINY[place % len(_TINY)]) for place, size in enumerate(given) if size > 1
    }


def _shrunk(inputs: Sequence[InputSpec], sizes: dict[int, int], seed: int, purpose: str) -> Case:
    return Case(shrink_all(inputs, sizes), seed, purpose, tuple(sizes.items()))
