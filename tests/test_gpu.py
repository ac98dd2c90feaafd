"""The table of GPUs: who is in it, what it says, and how a person may name them."""

from __future__ import annotations

import dataclasses

import pytest

from codegen.gpu import GpuSpec, find_gpu, known_gpus, limits_of, sources
from codegen.outcome import BadInput

BY_KEY = {gpu.key: gpu for gpu in known_gpus()}

REQUIRED = {
    "rtx-3090": "sm_86",
    "rtx-4090": "sm_89",
    "rtx-5090": "sm_120",
    "rtx-6000-ada": "sm_89",
    "a10": "sm_86",
    "a100-sxm-40gb": "sm_80",
    "a100-pcie-40gb": "sm_80",
    "a100-sxm-80gb": "sm_80",
    "a100-pcie-80gb": "sm_80",
    "l4": "sm_89",
    "l40s": "sm_89",
    "h100-pcie": "sm_90",
    "h100-sxm": "sm_90",
    "h200": "sm_90",
    "b200": "sm_100",
}

# CUDA C++ Programming Guide, "Technical Specifications per Compute Capability", read off by hand a
# second time: warps, blocks, threads, shared KiB per SM, shared KiB per block.
GUIDE = {
    (8, 0): (64, 32, 2048, 164, 163),
    (8, 6): (48, 16, 1536, 100, 99),
    (8, 9): (48, 24, 1536, 100, 99),
    (9, 0): (64, 32, 2048, 228, 227),
    (10, 0): (64, 32, 2048, 228, 227),
    (12, 0): (48, 24, 1536, 100, 99),
}


def test_the_table_holds_every_gpu_that_is_promised() -> None:
    assert {key: gpu.sm for key, gpu in BY_KEY.items()} == REQUIRED


@pytest.mark.parametrize("gpu", known_gpus(), ids=lambda gpu: gpu.key)
class TestEveryGpu:
    def test_has_the_limits_the_programming_guide_publishes(self, gpu: GpuSpec) -> None:
        warps, blocks, threads, per_sm, per_block = GUIDE[gpu.compute_capability]
        assert gpu.max_warps_per_sm == warps
        assert gpu.max_blocks_per_sm == blocks
        assert gpu.max_threads_per_sm == threads
        assert gpu.shared_per_sm == per_sm * 1024
        assert gpu.shared_per_block == per_block * 1024
        assert (gpu.registers_per_sm, gpu.registers_per_block) == (65536, 65536)
        assert (gpu.max_registers_per_thread, gpu.max_threads_per_block) == (255, 1024)

    def test_is_consistent(self, gpu: GpuSpec) -> None:
        assert gpu.max_warps_per_sm * gpu.warp_size == gpu.max_threads_per_sm
        assert gpu.shared_per_block + gpu.shared_reserved_per_block == gpu.shared_per_sm
        assert gpu.registers_per_sm % (gpu.sub_partitions * gpu.register_allocation_unit) == 0

    def test_gives_dense_rates(self, gpu: GpuSpec) -> None:
        # Tensor cores run 16-bit at twice the rate of TF32 and FP8 at twice that of 16-bit; a figure
        # taken from a column "with sparsity" breaks the ratio.
        rates = dict(gpu.tflops)
        assert rates["bf16"] == rates["fp16"] == pytest.approx(2 * rates["tf32"], rel=0.03)
        if "fp8" in rates:
            assert rates["fp8"] == pytest.approx(2 * rates["bf16"], rel=0.03)
        else:
            assert gpu.compute_capability < (8, 9)
        assert rates["fp32"] <= rates["tf32"]

    def test_cites_a_source_for_every_figure(self, gpu: GpuSpec) -> None:
        cited = sources(gpu)
        figures = {field.name for field in dataclasses.fields(gpu)} - {"key", "name"}
        assert set(cited) == figures
        assert all(len(text) > 20 for text in cited.values())

    def test_is_found_by_its_key_and_its_name(self, gpu: GpuSpec) -> None:
        assert find_gpu(gpu.key) is gpu
        assert find_gpu(gpu.name) is gpu
        assert find_gpu(gpu.name.upper().replace(" ", "_")) is gpu


def test_the_4090_is_as_the_prompts_describe_it() -> None:
    gpu = BY_KEY["rtx-4090"]
    assert gpu.compute_capability == (8, 9)
    assert gpu.sms == 128
    assert gpu.memory_bandwidth_gbs == 1008
    assert gpu.peak_tflops("tf32") == 82.6
    assert gpu.peak_tflops("bf16") == gpu.peak_tflops("fp16") == 165.2
    assert gpu.max_registers_per_thread == 255
    assert gpu.max_threads_per_block == 1024
    assert gpu.max_threads_per_sm == 1536
    assert gpu.warp_size == 32
    assert gpu.max_warps_per_sm == 48
    assert gpu.shared_per_sm == 100 * 1024
    assert gpu.shared_per_block == 99 * 1024 == 101_376
    assert gpu.l2_bytes == 72 * 1024 * 1024
    assert gpu.peak_tflops("fp4") is None


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("4090", "rtx-4090"),
        ("RTX 4090", "rtx-4090"),
        ("rtx4090", "rtx-4090"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("GeForce-RTX-4090", "rtx-4090"),
        ("h200", "h200"),
        ("H200 SXM", "h200"),
        ("NVIDIA H200", "h200"),
        ("a100", "a100-sxm-80gb"),
        ("NVIDIA A100-SXM4-40GB", "a100-sxm-40gb"),
        ("NVIDIA A100-PCIE-40GB", "a100-pcie-40gb"),
        ("NVIDIA A100-SXM4-80GB", "a100-sxm-80gb"),
        ("NVIDIA A100 80GB PCIe", "a100-pcie-80gb"),
        ("A100 40 GB", "a100-sxm-40gb"),
        ("H100", "h100-sxm"),
        ("NVIDIA H100 80GB HBM3", "h100-sxm"),
        ("H100 PCIe", "h100-pcie"),
        ("NVIDIA RTX 6000 Ada Generation", "rtx-6000-ada"),
        ("RTX 6000 Ada", "rtx-6000-ada"),
        ("l40s", "l40s"),
        ("B200", "b200"),
    ],
)
def test_a_gpu_is_found_however_people_and_drivers_spell_it(name: str, key: str) -> None:
    assert find_gpu(name).key == key


@pytest.mark.parametrize("name", ["mi300x", "AMD Instinct MI250", "gfx942", "Intel Arc B580"])
def test_of_another_maker_s_gpu_no_nearest_is_offered(name: str) -> None:
    with pytest.raises(BadInput, match="only NVIDIA's are known"):
        find_gpu(name)


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("rtx 4080", "rtx-4090"),
        ("49090", "rtx-4090"),
        ("a1000", "a100-sxm-80gb"),
        ("H300", "h200"),
        ("l40", "l40s"),
    ],
)
def test_an_unknown_gpu_is_refused_with_the_nearest_names(name: str, offered: str) -> None:
    with pytest.raises(BadInput) as caught:
        find_gpu(name)
    message = str(caught.value)
    assert message.startswith(f"unknown GPU {name!r}: the nearest known are ")
    assert offered in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["", "   ", "§§§", "line\nbreak", "x" * 5000])
def test_a_name_near_nothing_is_refused_in_one_short_line(name: str) -> None:
    with pytest.raises(BadInput) as caught:
        find_gpu(name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_limits_follow_from_the_compute_capability_alone() -> None:
    limits = limits_of((8, 9))
    assert limits is not None
    assert {field: getattr(BY_KEY["l4"], field) for field in limits} == limits
    assert limits_of((7, 0)) is None


def test_a_gpu_outside_the_table_has_no_sources() -> None:
    assert sources(dataclasses.replace(BY_KEY["l4"], key="made-up")) == {}
