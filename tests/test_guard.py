"""Guard bands: what is written outside a tensor is seen, and what nobody wrote is NaN."""

from __future__ import annotations

import math

import pytest
import torch

from codegen.guard import Allocating, Guarded, same_bits

FACTORIES = {
    "empty": lambda: torch.empty(5, 7),
    "empty like a transposed matrix": lambda: torch.empty_like(torch.ones(7, 5).T),
    "empty strided": lambda: torch.empty_strided((5, 7), (9, 1)),
    "new empty": lambda: torch.ones(1).new_empty(5, 7),
    "zeros": lambda: torch.zeros(5, 7),
    "zeros like": lambda: torch.zeros_like(torch.ones(5, 7)),
    "new zeros": lambda: torch.ones(1).new_zeros(5, 7),
    "ones": lambda: torch.ones(5, 7),
    "full": lambda: torch.full((5, 7), 3.0),
    "empty halves": lambda: torch.empty(5, 7, dtype=torch.bfloat16),
    "empty bytes": lambda: torch.empty(5, 7, dtype=torch.float8_e4m3fn),
    "empty whole numbers": lambda: torch.empty(5, 7, dtype=torch.int32),
}


@pytest.mark.parametrize("make", FACTORIES.values(), ids=FACTORIES)
def test_what_is_allocated_looks_as_it_would_without_bands(make):
    plain = make()
    with Allocating("cpu"):
        banded = make()
    assert (banded.shape, banded.stride(), banded.dtype) == (
        plain.shape,
        plain.stride(),
        plain.dtype,
    )
    assert banded.data_ptr() % 16 == 0


@pytest.mark.parametrize("make", FACTORIES.values(), ids=FACTORIES)
@pytest.mark.parametrize("place", [-1, 35 + 8], ids=["before", "behind"])
def test_a_write_beside_what_is_allocated_is_seen(make, place):
    with Allocating("cpu") as made:
        tensor = make()
    assert made.fault() is None
    storage = tensor.as_strided((1,), (1,), tensor.storage_offset() + place)
    storage.fill_(0)
    assert made.fault() == "writes outside the memory that its wrapper allocates"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_what_nobody_wrote_is_nan(dtype):
    with Allocating("cpu"):
        assert bool(torch.empty(300, dtype=dtype).isnan().all())
        assert torch.zeros(300, dtype=dtype).eq(0).all()


def test_a_device_that_is_not_watched_and_nothing_at_all_stay_as_they_are():
    with Allocating("cuda") as made:
        torch.empty(300)
    with Allocating("cpu") as made_here:
        assert torch.empty(0).numel() == 0
    assert made.fault() is made_here.fault() is None


def test_a_changed_input_is_seen_and_so_is_what_lies_beside_it():
    given = Guarded([torch.randn(40), 3, torch.full((4,), math.nan)])
    assert given.fault() is None
    given.values[0][7] += 1
    assert given.fault() == "changes input 1"
    given.put([torch.ones(40), 3, torch.ones(4)])
    assert given.fault() is None
    given.values[2].as_strided((1,), (1,), given.values[2].storage_offset() + 4).fill_(1)
    assert given.fault() == "writes outside input 3"


SAME = {
    "NaN and itself": (torch.tensor([math.nan]), torch.tensor([math.nan]), True),
    "zero and minus zero": (torch.tensor([0.0]), torch.tensor([-0.0]), False),
    "numbers of two types": (torch.tensor([1.0]), torch.tensor([1]), False),
    "shapes that differ": (torch.ones(2), torch.ones(1), False),
    "bytes": (
        torch.ones(2).to(torch.float8_e5m2),
        torch.ones(2).to(torch.float8_e5m2),
        True,
    ),
    "columns of a matrix": (torch.ones(3, 4)[:, 1], torch.ones(3), True),
    "booleans": (torch.tensor([True]), torch.tensor([False]), False),
}


@pytest.mark.parametrize(("left", "right", "same"), SAME.values(), ids=SAME)
def test_bits_are_compared_not_values(left, right, same):
    assert same_bits(left, right) is same
