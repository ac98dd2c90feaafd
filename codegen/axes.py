"""Axes of tensors as letters of an index notation, and which of them run together.

A dimension of a tensor is a tuple of axes, major first: a reshape that folds B and M into one dimension
makes it (b, m), one that takes them apart again gives (b,) and (m,). A dimension of size 1 is the empty
tuple, because there is nothing to run along. Transposing, folding, einsum and batched products so come
down to one form, in which only the letters of each operand and of the result are left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Dim = tuple[int, ...]


class Axes:
    """All axes of one computation; each has a size of 0 or from 2 up."""

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self._parts: dict[int, Dim] = {}  # of an axis that was split, or found to be another

    def new(self, size: int) -> Dim:
        """A dimension of a tensor met for the first time."""
        if size == 1:
            return ()
        self._sizes.append(size)
        return (len(self._sizes) - 1,)

    def resolve(self, dim: Dim) -> Dim:
        """The axes that a dimension consists of by now."""
        return tuple(
            part
            for axis in dim
            for part in (self.resolve(self._parts[axis]) if axis in self._parts else (axis,))
        )

    def size(self, dim: Dim) -> int:
        return math.prod(self._sizes[axis] for axis in dim)

    def same(self, one: Sequence[Dim], other: Sequence[Dim]) -> bool:
        """Whether two tensors have the same dimensions, in the same order."""
        return [*map(self.resolve, one)] == [*map(self.resolve, other)]

    def equate(self, one: Dim, other: Dim) -> bool:
        """Makes two dimensions that run together one; False where their sizes do not let them."""
        one, other = self.resolve(one), self.resolve(other)
        while one and other:
            small, large = sorted((one[0], other[0]), key=lambda axis: self._sizes[axis])
            if small != large:
                if not self._split(large, small):
                    return False
                one, other = self.resolve(one), self.resolve(other)
            one, other = one[1:], other[1:]
        return one == other

    def _split(self, axis: int, first: int) -> bool:
        """Finds `axis` to be `first` and a rest within it, or nothing but `first`."""
        size, outer = self._sizes[axis], self._sizes[first]
        if size == outer:
            self._parts[axis] = (first,)
            return True
        if outer == 0 or size % outer:
            return False
        self._parts[axis] = (first, *self.new(size // outer))
        return True

    def reshape(self, dims: Sequence[Dim], shape: Sequence[int]) -> tuple[Dim, ...] | None:
        """The dimensions of a tensor after a reshape; None where that takes an axis apart in odd places.

        Splits the axes that the new shape has in two dimensions.
        """
        rest = [axis for dim in map(self.resolve, dims) for axis in dim]
        shaped: list[Dim] = []
        for size in shape:
            dim: Dim = ()
            while self.size(dim) != size:
                if not rest:
                    return None
                axis = rest.pop(0)
                missing = size // self.size(dim) if self.size(dim) else 0
                if self._sizes[axis] > missing:
                    part = self.new(missing)
                    if not part or not self._split(axis, part[0]):
                        return None
                    axis, *later = self.resolve((axis,))
                    rest = [*later, *rest]
                dim = (*dim, axis)
            shaped.append(dim)
        return tuple(shaped) if not rest else None
