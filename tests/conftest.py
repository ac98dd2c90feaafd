"""What several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Tests run side by side, and what they multiply is small: more threads wait for each other.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

ROOT = Path(__file__).parent.parent
PROMPT = ROOT / "docs" / "examples" / "prompt.md"
SEEDS = ROOT.parent / "shared" / "seeds"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    gpu_tests = [item for item in items if item.get_closest_marker("gpu")]
    if gpu_tests and not _has_gpu():
        for item in gpu_tests:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture
def seed():
    """The path of one of the two real optimization prompts, where they are at hand."""

    def find(start: str) -> Path:
        found = sorted(SEEDS.glob(f"{start}*.txt"))
        if not found:
            pytest.skip("the real prompts are not in this checkout")
        return found[0]

    return find
