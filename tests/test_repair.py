"""bfloat16 in the interpreter: converted as the hardware does."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

BITS = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=50)


@pytest.fixture(scope="module")
def repair():
    from codegen import repair

    return repair


@given(bits=BITS)
def test_float32_to_bfloat16_and_back_as_pytorch_does(repair, bits):
    values = np.array(bits, dtype=np.uint32).view(np.float32)
    ours = repair.widen(repair.narrow(values))
    theirs = torch.from_numpy(values.copy()).to(torch.bfloat16).to(torch.float32).numpy()
    np.testing.assert_array_equal(ours, theirs)
