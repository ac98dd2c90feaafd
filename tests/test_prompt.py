"""Optimization prompts: each file of cases/prompts is a prompt and what is to be read in it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from codegen.gpu import find_gpu
from codegen.outcome import BadInput
from codegen.prompt import looks_like_prompt, read_prompt
from codegen.stage import DEFAULT_STAGE

HERE = Path(__file__).parent
CASES = sorted((HERE / "cases" / "prompts").glob("*.txt"))
SEEDS = HERE.parent.parent / "shared" / "seeds"


def _case(path: Path) -> tuple[str, dict[str, Any]]:
    prompt, _, expected = path.read_text("utf-8").partition("\n----- expected -----\n")
    return prompt, json.loads(expected)


def test_there_are_cases() -> None:
    assert len(CASES) > 10


@pytest.mark.parametrize("ending", ["\n", "\r\n"], ids=["unix", "windows"])
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_prompt_is_read(path: Path, ending: str) -> None:
    text, expected = _case(path)
    text = text.replace("\n", ending)
    prompt = read_prompt(text)

    assert prompt.code == ending.join([*expected["code"], ""])
    assert text[slice(*prompt.code_span)] == prompt.code
    assert text[prompt.code_span[0] :].split("\n")[0].rstrip("\r") == expected["code"][0]

    assert (prompt.gpu.key if prompt.gpu else None) == expected["gpu"]
    if prompt.gpu is None:
        assert prompt.gpu_problem == expected.get("problem", "the prompt describes no GPU")
    else:
        assert prompt.gpu_problem is None
        for field, value in expected.get("gpu_fields", {}).items():
            assert json.loads(json.dumps(getattr(prompt.gpu, field))) == value
    if "overrides" in expected:
        assert [[o.field, o.stated, o.known] for o in prompt.overrides] == expected["overrides"]
    if "unread" in expected:
        assert list(prompt.unread) == expected["unread"]

    for field, value in expected.get("stage", {}).items():
        stated = getattr(prompt.stage, field)
        assert (list(stated) if isinstance(stated, tuple) else stated) == value
    if "metrics" in expected:
        metrics = expected["metrics"]
        assert prompt.metrics == (metrics.replace("\n", ending) if metrics else None)
        if metrics:
            first_line = text.split("\n")[prompt.metrics_line - 1].rstrip("\r")
            assert first_line == metrics.split("\n")[0]
        else:
            assert prompt.metrics_line == 0
    if "output_rules" in expected:
        assert list(prompt.output_rules) == expected["output_rules"]
    assert looks_like_prompt(text)


@pytest.mark.parametrize(
    ("text", "stage"),
    [
        ("`num_warps`: {2, 4, 8, 16}", {"num_warps": (2, 4, 8, 16)}),
        ("num_warps: [8,4,2]", {"num_warps": (2, 4, 8)}),
        ("num_warps = 4", {"num_warps": (4,)}),
        ("**num_warps** ∈ {4; 8}", {"num_warps": (4, 8)}),
        ("num_warps allowed: 2/4", {"num_warps": (2, 4)}),
        ("Number of warps: 2 and 4", {"num_warps": (2, 4)}),
        ("NUM_WARPS: (2 4 8)", {"num_warps": (2, 4, 8)}),
        ("num_warps: {3, 4, 5, 64}", {"num_warps": (4,)}),
        ("num_warps: {0}", {}),
        ("num_warps: as you like", {}),
        ("Adjust num_warps only if needed, in 2 of 3 cases", {}),
        ("num_stages: 2..5", {"num_stages": (2, 3, 4, 5)}),
        ("num_stages: 2 to 4", {"num_stages": (2, 3, 4)}),
        ("num_stages: {0, 1, 99}", {"num_stages": (1,)}),
        ("Change num_stages only by +/-1 from current.", {"max_stage_step": 1}),
        ("Change num_stages only by ±2.", {"max_stage_step": 2}),
        ("num_stages may move by up to 3", {"max_stage_step": 3}),
        ("Use 3-6 configs", {"min_configs": 3, "max_configs": 6}),
        ("use 2 to 4 triton configurations", {"min_configs": 2, "max_configs": 4}),
        ("Use 6–3 configs", {}),
        ("You are free to adjust the block sizes.", {"blocks_fixed": False}),
        ("Do not modify BLOCK sizes.", {}),
    ],
)  # fmt: skip
def test_a_stage_is_read_in_many_spellings(text: str, stage: dict[str, Any]) -> None:
    prompt = read_prompt(f"[OPTIMIZATION STAGE]\n{text}\n[CURRENT CODE]\n```\nimport triton\n```\n")
    assert prompt.stage == dataclasses.replace(DEFAULT_STAGE, **stage)


def test_the_default_stage_is_the_prompts() -> None:
    assert DEFAULT_STAGE.num_warps == (2, 4, 8, 16)
    assert DEFAULT_STAGE.num_stages == (2, 3, 4)
    assert (DEFAULT_STAGE.max_stage_step, DEFAULT_STAGE.blocks_fixed) == (1, True)
    assert (DEFAULT_STAGE.min_configs, DEFAULT_STAGE.max_configs) == (3, 6)


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("Memory Bandwidth: 1008 GB/s", "memory_bandwidth_gbs", 1008.0),
        ("memory bandwidth: 1.008 TB/s", "memory_bandwidth_gbs", 1008.0),
        ("- **HBM bandwidth**: ~2,000 GBps", "memory_bandwidth_gbs", 2000.0),
        ("Bandwidth (TB/s): 1.5", "memory_bandwidth_gbs", 1500.0),
        ("L2 Cache: 72MB", "l2_bytes", 75_497_472),
        ("L2: 73728 KiB", "l2_bytes", 75_497_472),
        ("L2 cache size: 75497472 bytes", "l2_bytes", 75_497_472),
        ("L2 cache size (MB): 50", "l2_bytes", 52_428_800),
        ("Shared memory per block (opt-in): 99 kB", "shared_per_block", 101_376),
        ("* Max shared memory per thread block: 48 KB", "shared_per_block", 49_152),
        ("Number of SMs = 64", "sms", 64),
        ("SM count: 64", "sms", 64),
        ("Max warps / SM: 64", "max_warps_per_sm", 64),
        ("Maximum resident threads per multiprocessor: 2,048", "max_threads_per_sm", 2048),
        ("Registers per SM: 64K", "registers_per_sm", 65536),
        ("Compute Capability: sm_86", "compute_capability", (8, 6)),
        ("CC: 8.6", "compute_capability", (8, 6)),
        ("Model: H100", "key", "rtx-4090"),
    ],
)
def test_a_figure_is_read_in_many_spellings(line: str, field: str, value: object) -> None:
    prompt = read_prompt(f"# GPU\nName: rtx 4090\n{line}\n# Code\n```\nimport triton\n```\n")
    assert getattr(prompt.gpu, field) == value
    assert prompt.unread == ()


@pytest.mark.parametrize(
    "line",
    [
        "Target GPU: NVIDIA L4",
        "**GPU**: L4",
        "# Hardware\nName: L4 (24 GB)",
        "Device: l4",
        "## Target GPU\n- Model = `L4`",
        "GPU: NVIDIA L4 (Ada, sm_89), 58 SMs, shared memory per block 99 KB.",
    ],
)
def test_a_gpu_is_named_in_many_ways(line: str) -> None:
    prompt = read_prompt(f"{line}\n# Code\n```\nimport triton\n```\n")
    assert prompt.gpu == find_gpu("l4")


def test_another_compute_capability_brings_its_own_limits() -> None:
    prompt = read_prompt("# GPU\nName: 4090\nCC: 8.0\n# Code\n```\nimport triton\n```\n")
    assert prompt.gpu is not None
    assert (prompt.gpu.sm, prompt.gpu.shared_per_block) == ("sm_80", 163 * 1024)
    assert "compute_capability" in [override.field for override in prompt.overrides]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# Target GPU\nGPU Name: 4090\n",
        "[CURRENT CODE]\n\n[NCU PROFILING METRICS]\n{}\n",
        "[CURRENT CODE]\nsee the attachment\n",
        "[CURRENT CODE]\n```python\n\n```\n",
        "```python\nprint('hello')\n```\n",
    ],
    ids=["empty", "no section", "empty section", "prose", "empty fence", "no kernel"],
)
def test_a_prompt_without_code_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_prompt(text)
    assert str(caught.value).startswith("the prompt has no code: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "is_prompt"),
    [
        ("import triton\n\n# Code:\nx = 1\n", False),
        ('"""A file.\n\n```python\nimport triton\n```\n"""\nimport triton\n', False),
        ("x = 1\n", False),
        ("", False),
        ("Make it faster:\n```python\nimport triton\n```\n", True),
        ("[CURRENT CODE]\nimport triton\n", True),
        ("# Target GPU\nGPU Name: 4090\n", True),
    ],
    ids=["file", "file with a fence", "script", "empty", "fence", "open code", "no code"],
)
def test_standard_input_is_told_apart(text: str, is_prompt: bool) -> None:
    assert looks_like_prompt(text) is is_prompt


@pytest.mark.parametrize("name", ["000_bdcfd6d5da7edd3a.txt", "003_45641d1b6b4015fa.txt"])
def test_the_prompts_this_project_began_with(name: str) -> None:
    path = SEEDS / name
    if not path.exists():
        pytest.skip(f"the prompt {name} is not in ../shared/seeds")
    text = path.read_bytes().decode("utf-8")
    prompt = read_prompt(text)
    assert prompt.gpu == find_gpu("4090")
    assert (prompt.gpu_problem, prompt.overrides, prompt.unread) == (None, (), ())
    assert prompt.stage == DEFAULT_STAGE
    assert prompt.code.startswith("import torch\nimport torch.nn as nn\n")
    assert prompt.code.rstrip().endswith("(A, B)")
    assert "```" not in prompt.code
    assert prompt.metrics is not None
    assert len(json.loads(prompt.metrics)) == 1
    assert prompt.output_rules[0] == "Follow this exact order:"
    assert prompt.output_rules[-1].startswith("Do NOT include: testing code")
    assert looks_like_prompt(text)
    assert not looks_like_prompt(prompt.code)
