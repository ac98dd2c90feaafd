"""What a file replaces of what it is compared with is found out, and put back."""

from __future__ import annotations

import functools

import pytest
import torch

from codegen.outcome import BadInput
from codegen.patched import unpatched


def _zeros(*_args: object, **_options: object) -> torch.Tensor:
    return torch.zeros(1)


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("matmul", _zeros),
        ("matmul", functools.wraps(torch.matmul)(_zeros)),
        ("float64", torch.float32),
    ],
    ids=["a function", "a function that says it wraps the one that was", "a type"],
)
def test_what_is_replaced_is_named_and_put_back(name: str, instead: object) -> None:
    was = getattr(torch, name)
    with pytest.raises(BadInput, match=rf"replaces torch\.{name},"), unpatched():
        setattr(torch, name, instead)
    assert getattr(torch, name) is was


def test_another_default_dtype_is_put_back() -> None:
    """A problem's inputs would be of that type, for everybody."""
    with pytest.raises(BadInput, match="replaces PyTorch's default dtype,"), unpatched():
        torch.set_default_dtype(torch.float16)
    assert torch.get_default_dtype() == torch.float32


def test_what_pytorch_wraps_itself_is_no_replacement(monkeypatch: pytest.MonkeyPatch) -> None:
    seed = torch._dynamo.disable(torch.manual_seed)
    assert seed is not torch.manual_seed
    was = torch.manual_seed
    try:
        with unpatched():
            torch.manual_seed = seed
    finally:
        torch.manual_seed = was
