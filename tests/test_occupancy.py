"""Occupancy against published limits, NVIDIA's own calculator, a live GPU, and known kernels."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.gpu import GpuSpec, find_gpu, known_gpus
from codegen.occupancy import Occupancy, occupancy, waves

DATA = Path(__file__).parent / "data"
RTX_4090 = find_gpu("rtx-4090")

# The configs of the two prompts, compiled for sm_89: warps, registers, shared bytes; then blocks a SM,
# percent, and the binding limits.
KNOWN_KERNELS = {
    "tril 64,256,16": (8, 158, 61440, 1, 16.67, ("registers", "shared memory")),
    "tril 128,128,32": (8, 182, 65536, 1, 16.67, ("registers", "shared memory")),
    "tril 256,64,32": (8, 196, 81920, 1, 16.67, ("registers", "shared memory")),
    "tril 128,256,16": (8, 240, 73728, 1, 16.67, ("registers", "shared memory")),
    "A.T@B.T 64,128,64": (4, 218, 98304, 1, 8.33, ("shared memory",)),
    "A.T@B.T 128,64,64": (4, 208, 98304, 1, 8.33, ("shared memory",)),
    "A.T@B.T 128,128,32": (8, 174, 65536, 1, 16.67, ("registers", "shared memory")),
    "A.T@B.T 64,64,128": (8, 112, 131072, 0, 0.0, ("shared memory",)),
}


@pytest.mark.parametrize("kernel", KNOWN_KERNELS)
def test_the_configs_of_the_prompts_on_a_4090(kernel: str) -> None:
    num_warps, registers, shared_bytes, blocks, percent, limited_by = KNOWN_KERNELS[kernel]
    result = occupancy(
        RTX_4090, num_warps=num_warps, registers=registers, shared_bytes=shared_bytes
    )
    assert result.blocks_per_sm == blocks
    assert result.percent == pytest.approx(percent, abs=0.005)
    assert result.limited_by == limited_by


@pytest.mark.parametrize("gpu", known_gpus(), ids=lambda gpu: gpu.key)
class TestPublishedLimits:
    def test_small_blocks_are_bound_by_the_number_of_blocks(self, gpu: GpuSpec) -> None:
        result = occupancy(gpu, threads_per_block=32, registers=16, shared_bytes=0)
        assert result.blocks_per_sm == gpu.max_blocks_per_sm
        assert result.limited_by == ("blocks",)

    def test_large_blocks_are_bound_by_the_number_of_warps(self, gpu: GpuSpec) -> None:
        result = occupancy(gpu, threads_per_block=512, registers=16, shared_bytes=0)
        assert result.blocks_per_sm == gpu.max_threads_per_sm // 512
        assert result.limited_by == ("warps",)
        assert result.percent == 100.0

    def test_the_largest_register_count_leaves_eight_warps(self, gpu: GpuSpec) -> None:
        # 255 registers round up to 256 a thread, 8,192 a warp, of 65,536.
        result = occupancy(gpu, num_warps=4, registers=255, shared_bytes=0)
        assert (result.blocks_per_sm, result.warps_per_sm) == (2, 8)
        assert result.limited_by == ("registers",)

    def test_the_largest_block_of_shared_memory_is_alone(self, gpu: GpuSpec) -> None:
        result = occupancy(gpu, num_warps=4, registers=32, shared_bytes=gpu.shared_per_block)
        assert result.blocks_per_sm == 1
        assert result.limited_by == ("shared memory",)

    @pytest.mark.parametrize(
        ("kernel", "limit", "reason"),
        [
            (
                {"num_warps": 4, "registers": 32, "shared_bytes": 232_449},
                "shared memory",
                "shared memory 232,449 > {shared:,} bytes a block",
            ),
            (
                {"num_warps": 16, "registers": 144, "shared_bytes": 0},
                "registers",
                "registers 73,728 > 65,536 a block",
            ),
            (
                {"num_warps": 4, "registers": 256, "shared_bytes": 0},
                "registers",
                "registers 256 > 255 a thread",
            ),
            (
                {"threads_per_block": 1025, "registers": 8, "shared_bytes": 0},
                "threads",
                "threads 1,025 > 1,024 a block",
            ),
        ],
        ids=["shared memory", "registers of a block", "registers of a thread", "threads"],
    )
    def test_a_kernel_that_cannot_launch_says_why(
        self, gpu: GpuSpec, kernel: dict[str, int], limit: str, reason: str
    ) -> None:
        expected = Occupancy(0, 0, 0.0, (limit,), reason.format(shared=gpu.shared_per_block))
        assert occupancy(gpu, **kernel) == expected


def test_the_4090_refuses_what_the_prompt_overlooked() -> None:
    result = occupancy(RTX_4090, num_warps=8, registers=112, shared_bytes=131072)
    assert result.reason == "shared memory 131,072 > 101,376 bytes a block"


def test_the_launch_check_counts_warps_up_to_a_multiple_of_four() -> None:
    # 168 registers are 5,376 a warp: 9 warps count as 12, which is 64,512 of 65,536; 176 are too many.
    fits = occupancy(RTX_4090, num_warps=9, registers=168, shared_bytes=0)
    assert (fits.blocks_per_sm, fits.limited_by) == (1, ("registers",))
    refused = occupancy(RTX_4090, num_warps=9, registers=176, shared_bytes=0)
    assert refused.reason == "registers 67,584 > 65,536 a block"


def test_the_cuda_header_gives_the_same_blocks_for_every_capability() -> None:
    record = json.loads((DATA / "occupancy_header.json").read_text("utf-8"))
    capabilities = {gpu.sm: gpu for gpu in known_gpus()}
    assert {f"sm_{name.replace('.', '')}" for name in record["blocks"]} == set(capabilities)
    wrong = []
    for capability, table in record["blocks"].items():
        gpu = capabilities[f"sm_{capability.replace('.', '')}"]
        for registers, rows in zip(record["registers"], table, strict=True):
            for threads, row in zip(record["threads"], rows, strict=True):
                for shared, blocks in zip(record["shared"], row, strict=True):
                    kernel = {"registers": registers, "threads_per_block": threads}
                    ours = occupancy(gpu, **kernel, shared_bytes=shared).blocks_per_sm
                    if ours != blocks:
                        wrong.append((capability, registers, threads, shared, blocks, ours))
    assert wrong == []


@pytest.fixture(scope="module")
def h200() -> dict[str, Any]:
    """What the driver of an H200 answered (recorded by record_occupancy.py)."""
    record: dict[str, Any] = json.loads((DATA / "occupancy_h200.json").read_text("utf-8"))
    return record


def test_a_live_h200_gives_the_same_blocks(h200: dict[str, Any]) -> None:
    assert len(list(_answers(h200))) > 5_000
    assert _differing(h200) == []


def test_a_live_h200_reports_the_limits_of_the_table(h200: dict[str, Any]) -> None:
    gpu = find_gpu(h200["device"])
    attributes = dict(h200["attributes"])
    major = attributes.pop("compute_capability_major")
    minor = attributes.pop("compute_capability_minor")
    assert gpu.compute_capability == (major, minor)
    assert {field: getattr(gpu, field) for field in attributes} == attributes


@pytest.mark.gpu
def test_the_gpu_in_this_machine_agrees(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    import record_occupancy

    path = tmp_path / "occupancy.json"
    record_occupancy.main(str(path))
    assert _differing(json.loads(path.read_text("utf-8"))) == []


def _differing(record: dict[str, Any]) -> list[tuple[dict[str, int], int, int]]:
    gpu = find_gpu(record["device"])
    ours = [(kernel, blocks, occupancy(gpu, **kernel)) for kernel, blocks in _answers(record)]
    return [(k, blocks, o.blocks_per_sm) for k, blocks, o in ours if o.blocks_per_sm != blocks]


def _answers(record: dict[str, Any]) -> Iterator[tuple[dict[str, int], int]]:
    """Each question put to the driver, and the blocks it answered: none where it refused."""
    for kernel in record["kernels"]:
        for threads, row in zip(record["threads"], kernel["blocks"], strict=True):
            for dynamic, blocks in zip(record["dynamic_shared"], row, strict=True):
                question = {
                    "registers": kernel["registers"],
                    "threads_per_block": threads,
                    "shared_bytes": kernel["static_shared"] + dynamic,
                }
                yield question, blocks or 0


gpus = st.sampled_from(known_gpus())
kernels = st.fixed_dictionaries(
    {
        "threads_per_block": st.integers(1, 1100),
        "registers": st.integers(0, 260),
        "shared_bytes": st.integers(0, 240_000),
    }
)


@settings(deadline=None)
@given(gpus, kernels)
def test_an_sm_never_holds_more_than_it_has(gpu: GpuSpec, kernel: dict[str, int]) -> None:
    result = occupancy(gpu, **kernel)
    warps = -(-kernel["threads_per_block"] // 32)
    assert result.warps_per_sm == result.blocks_per_sm * warps <= gpu.max_warps_per_sm
    assert result.blocks_per_sm <= gpu.max_blocks_per_sm
    assert result.warps_per_sm * 32 * kernel["registers"] <= gpu.registers_per_sm
    assert result.blocks_per_sm * (kernel["shared_bytes"] + 1024) <= gpu.shared_per_sm
    assert 0 <= result.percent <= 100
    assert (result.blocks_per_sm == 0) == (result.reason is not None)
    assert result.limited_by


@settings(deadline=None)
@given(
    gpus, kernels, st.sampled_from(["threads_per_block", "registers", "shared_bytes"]), st.data()
)
def test_needing_more_never_gives_more_blocks(
    gpu: GpuSpec, kernel: dict[str, int], resource: str, data: st.DataObject
) -> None:
    more = kernel | {resource: kernel[resource] + data.draw(st.integers(1, 20_000))}
    assert occupancy(gpu, **more).blocks_per_sm <= occupancy(gpu, **kernel).blocks_per_sm


@settings(deadline=None)
@given(gpus, kernels)
def test_raising_the_limits_that_bind_gives_more_blocks_and_raising_others_does_not(
    gpu: GpuSpec, kernel: dict[str, int]
) -> None:
    result = occupancy(gpu, **kernel)
    if result.reason is not None:
        return
    fields = {
        "registers": "registers_per_sm",
        "shared memory": "shared_per_sm",
        "warps": "max_warps_per_sm",
        "blocks": "max_blocks_per_sm",
    }
    for limit, field in fields.items():
        roomier = dataclasses.replace(gpu, **{field: 100 * getattr(gpu, field)})
        gained = occupancy(roomier, **kernel).blocks_per_sm > result.blocks_per_sm
        assert gained == (result.limited_by == (limit,))


@pytest.mark.parametrize(
    ("grid", "blocks_per_sm", "expected"), [(136, 1, 1.0625), (1024, 1, 8.0), (128, 2, 0.5)]
)
def test_waves_count_how_often_a_grid_fills_the_gpu(
    grid: int, blocks_per_sm: int, expected: float
) -> None:
    assert waves(grid, RTX_4090, blocks_per_sm) == expected


def test_a_gpu_described_with_less_on_an_sm_than_a_block_may_have_holds_no_block() -> None:
    gpu = dataclasses.replace(RTX_4090, shared_per_sm=64 * 1024, max_warps_per_sm=8)
    result = occupancy(gpu, num_warps=16, registers=32, shared_bytes=90_000)
    assert (result.blocks_per_sm, result.limited_by) == (0, ("shared memory", "warps"))
    assert result.reason == "shared memory and warps: one block needs more than an SM has"


def test_misuse_is_an_error_of_the_caller() -> None:
    with pytest.raises(ValueError, match="threads_per_block or num_warps"):
        occupancy(RTX_4090, registers=1, shared_bytes=0)
    with pytest.raises(ValueError, match="threads_per_block or num_warps"):
        occupancy(RTX_4090, registers=1, shared_bytes=0, num_warps=1, threads_per_block=32)
    with pytest.raises(ValueError, match="not a kernel"):
        occupancy(RTX_4090, registers=1, shared_bytes=-1, num_warps=1)
    with pytest.raises(ValueError, match="no waves"):
        waves(1, RTX_4090, 0)
