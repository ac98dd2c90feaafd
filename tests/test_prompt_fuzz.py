"""Prompts and profiles mangled in many ways: what comes out is read or refused in one line, never a crash."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from codegen.ncu import find_kernel, read_metrics
from codegen.occupancy import occupancy, waves
from codegen.outcome import BadInput
from codegen.profile import Candidate, attribute, diagnose
from codegen.prompt import looks_like_prompt, read_prompt

HERE = Path(__file__).parent
SEEDS = HERE.parent.parent / "shared" / "seeds"


def _texts(folder: str) -> list[str]:
    cases = sorted((HERE / "cases" / folder).glob("*.txt"))
    return [case.read_text("utf-8").partition("\n----- expected -----\n")[0] for case in cases]


PROMPTS = _texts("prompts") + [path.read_bytes().decode() for path in sorted(SEEDS.glob("*.txt"))]
PROFILES = _texts("ncu")

# Pieces that mean something to the readers, in places where they may not belong.
SHARDS = (
    "```", "```python\n", "~~~\n", "[CURRENT CODE]\n", "# Target GPU\n", "**Task**:", "GPU Name: 4090\n", "SMs: 0\n",
    "SMs: 99999999999999999999999\n", "Warp size: 1\n", "Compute Capability: 9.0\n", "Shared memory per SM: 1 KB\n",
    "L2: 1e9 GB\n", "num_warps: {", "num_warps: {0, 1, 99999999999}\n", "num_stages: 9-1\n", "±99999999999", "3–6 configs",
    "0 to 0 configs", "{", "}", '{"', '":', '"ID","Kernel Name"\n', "==PROF==", "NaN", "Infinity", "1e999", "9" * 400, "-1",
    "[" * 50, "\x00", "\ufeff", "\r", "\n", "\u2028", "\x0c", "±", "•", "😀", "\ud7ff", "\\", "\t", "|", "`", "*" * 40, ":", "=",
)  # fmt: skip


@st.composite
def mangled(draw: st.DrawFn, originals: list[str]) -> str:
    text = draw(st.sampled_from(originals))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(text)))
        size = draw(st.integers(0, 400))
        match draw(
            st.sampled_from(
                ("cut", "repeat", "truncate", "insert", "shard", "move", "case", "ending", "lines")
            )
        ):
            case "cut":
                text = text[:at] + text[at + size :]
            case "repeat":
                text = text[: at + size] + text[at:]
            case "truncate":
                text = text[:at] if draw(st.booleans()) else text[at:]
            case "insert":
                text = text[:at] + draw(st.text(max_size=20)) + text[at:]
            case "shard":
                text = text[:at] + draw(st.sampled_from(SHARDS)) + text[at:]
            case "move":
                to = draw(st.integers(0, len(text)))
                piece, rest = text[at : at + size], text[:at] + text[at + size :]
                text = rest[:to] + piece + rest[to:]
            case "case":
                text = draw(st.sampled_from((str.upper, str.lower, str.swapcase, str.title)))(text)
            case "ending":
                text = text.replace("\n", draw(st.sampled_from(("\r\n", "\r", "\n\n", ""))))
            case "lines":
                lines = text.splitlines(keepends=True)
                text = "".join(draw(st.permutations(lines)) if len(lines) < 30 else lines[::-1])
    return text


def _refusal_is_one_line(refusal: BadInput) -> None:
    assert str(refusal)
    assert len(str(refusal).splitlines()) == 1
    assert len(str(refusal)) < 800


often = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


@often
@given(mangled(PROMPTS) | st.text() | st.lists(st.sampled_from(SHARDS)).map("".join))
@example("")
@example("```\n" * 3)
def test_a_mangled_prompt_is_read_or_refused(text: str) -> None:
    assert looks_like_prompt(text) in (True, False)
    try:
        prompt = read_prompt(text)
    except BadInput as refusal:
        _refusal_is_one_line(refusal)
        return
    assert text[slice(*prompt.code_span)] == prompt.code
    assert prompt.code.strip()
    assert (prompt.gpu is None) == (prompt.gpu_problem is not None)
    assert prompt.gpu_problem is None or len(prompt.gpu_problem.splitlines()) == 1
    assert prompt.stage.num_warps
    assert prompt.stage.num_stages
    assert 1 <= prompt.stage.min_configs <= prompt.stage.max_configs
    if prompt.gpu is not None:
        # Whatever the prompt says of its GPU, the figures can be reckoned with and written as JSON.
        fits = occupancy(prompt.gpu, num_warps=4, registers=64, shared_bytes=1000)
        assert (fits.blocks_per_sm == 0) == (fits.reason is not None)
        assert not fits.blocks_per_sm or waves(100, prompt.gpu, fits.blocks_per_sm) > 0
        json.dumps([prompt.gpu.tflops, prompt.gpu.memory_bandwidth_gbs], allow_nan=False)
    if prompt.metrics is not None:
        try:
            assert read_metrics(prompt.metrics, prompt.metrics_line)
        except BadInput as refusal:
            _refusal_is_one_line(refusal)


@often
@given(
    mangled(PROFILES)
    | st.text()
    | st.recursive(
        st.none() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    ).map(json.dumps)
)
@example("{}")
@example("[[]]")
def test_a_mangled_profile_is_read_or_refused(text: str) -> None:
    try:
        metrics = read_metrics(text)
    except BadInput as refusal:
        _refusal_is_one_line(refusal)
        return
    assert metrics
    find_kernel(metrics, "matmul_kernel")
    for kernel in metrics.values():
        json.dumps(dict(kernel.values), allow_nan=False)
        assert attribute(kernel, [Candidate(kernel.grid_size, 50.0, False)]) in ((), (0,))
        found = diagnose(kernel, None, None)
        assert found is None or len(found.line.splitlines()) == 1
        assert len(kernel.stalls) <= len(kernel.values)
        assert kernel.tensor_pipe_pct is None or kernel.tensor_pipe_pct in kernel.values.values()
