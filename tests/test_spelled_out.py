"""What is spelled out for PyTorch without CUDA is what PyTorch does: compared on the CPU, where it does it itself."""

import pytest
import torch

from codegen.spelled_out import contiguous, item, set_item

X = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
LONG = torch.tensor([1, 0, 1])

INDICES = {
    "a number": 1,
    "a negative number": -1,
    "a slice": slice(1, None),
    "a slice with a step": slice(0, 2, 2),
    "None": None,
    "dots": ...,
    "several": (1, slice(1, 3), None, ..., 2),
    "dots first": (..., 0),
    "None at both ends": (None, ..., None),
    "an index tensor": LONG,
    "an index tensor behind dots": (..., LONG),
    "two index tensors": (LONG, slice(None), LONG),
    "index tensors apart from a number": (LONG, 0, slice(1), LONG),
    "a list": [0, 1],
    "a mask": X > 50,
    "a mask of the first dimensions": (X[..., 0, 0] > 20, slice(2)),
    "a mask behind dots": (..., X[0, 0] > 9),
}


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_an_item_is_pytorch_s(index):
    mine, theirs = item(X, index), X[index]
    assert torch.equal(mine, theirs)
    assert (mine.stride(), mine.storage_offset()) == (theirs.stride(), theirs.storage_offset())


@pytest.mark.parametrize("index", [(0, 0, 0, 0, 0), 7, (slice(1), 9)], ids=str)
def test_what_pytorch_has_no_item_for_fails(index):
    with pytest.raises(IndexError):
        item(X, index)


def test_what_does_not_fit_is_not_assigned():
    set_item(X, (0, slice(2)), torch.zeros(4, 5))
    set_item(X, X > 5, 0)
    with pytest.raises(RuntimeError):
        set_item(X, (0, slice(2)), torch.zeros(3, 5))


def test_contiguous():
    turned = X.transpose(0, 3)
    assert contiguous(X) is X
    assert contiguous(turned).stride() == turned.contiguous().stride()
    last = torch.channels_last
    assert contiguous(X, memory_format=last).stride() == X.contiguous(memory_format=last).stride()
