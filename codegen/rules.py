"""The rules of `codegen check` as one table: number, name, reason, and an example each way.

An example is a whole file, as small as the rule allows: the bad one breaks this rule and no other, the
good one breaks none. docs/rules.md holds `explain` of every rule, word for word.
"""

from __future__ import annotations

from dataclasses import dataclass

_IMPORTS = """\
import torch
import torch.nn as nn
import triton
import triton.language as tl
"""
_KERNEL = """\
@triton.jit
def double_kernel(x, y, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, 2 * tl.load(x + i))
"""
_WRAPPER = """\
def double(x):
    y = torch.empty_like(x)
    double_kernel[(x.numel() // 64,)](x, y, BLOCK=64)
    return y
"""
_MODEL = """\
class ModelNew(nn.Module):
    def forward(self, x):
        return double(x)
"""
_AUTOTUNE = """\
@triton.autotune(configs=[triton.Config({"BLOCK": 64})], key=["n"])
"""
_TUNED_KERNEL = """\
def double_kernel(x, y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, 2 * tl.load(x + i, i < n), i < n)
"""
_TUNED_WRAPPER = """\
def double(x):
    y = torch.empty_like(x)
    double_kernel[lambda meta: (triton.cdiv(x.numel(), meta["BLOCK"]),)](x, y, x.numel())
    return y
"""


def _file(*sections: str) -> str:
    return "\n\n".join(sections)


_GOOD = _file(_IMPORTS, _KERNEL, _WRAPPER, _MODEL)


@dataclass(frozen=True)
class Rule:
    """One rule; `reason` says what is asked and why, `bad` and `good` are whole files."""

    code: str
    name: str
    reason: str
    bad: str
    good: str = _GOOD


_TABLE = (
    Rule(
        "CG000",
        "not-python",
        "The file must parse as Python: nothing else can be said of one that does not. This finding can "
        "be neither ignored nor silenced.",
        bad=_GOOD.replace("def forward(self, x):", "def forward(self, x)"),
    ),
    Rule(
        "CG001",
        "missing-import",
        "The file imports torch, torch.nn, triton and triton.language, all four, so that every kernel "
        "file starts alike and the sections below can be pasted from one into another.",
        bad=_GOOD.replace("import torch\n", ""),
    ),
    Rule(
        "CG002",
        "extra-import",
        "The imports are `import torch`, `import torch.nn as nn`, `import triton` and "
        "`import triton.language as tl`, once each, spelled so and at the top: whoever runs the file "
        "has PyTorch and Triton, and may have nothing else. After them, where a wrapper makes tensor "
        "descriptors, may stand `from triton.tools.tensor_descriptor import TensorDescriptor`.",
        bad=_GOOD.replace("import triton\n", "import triton\nimport numpy as np\n"),
    ),
    Rule(
        "CG003",
        "section-order",
        "The order is: the imports (torch, torch.nn, triton, triton.language), the kernels, the "
        "wrappers, class ModelNew, all at the top level. A reader, and a tool, then finds each part "
        "where it always is. A function that a kernel's decorators name (`pre_hook`, "
        "`early_config_prune`, one that returns the configs) stands with the kernels, since Python "
        "needs it there; a constant stands anywhere between the imports and ModelNew.",
        bad=_file(_IMPORTS, _WRAPPER, _KERNEL, _MODEL),
    ),
    Rule(
        "CG004",
        "missing-section",
        "The file holds at least one kernel, at least one wrapper, and class ModelNew: without one of "
        "them it computes nothing with Triton, or nobody can call it.",
        bad=_file(
            _IMPORTS, _KERNEL, _MODEL.replace("return double(x)", "double_kernel[(1,)](x, x, BLOCK=64)")
        ),
    ),
    Rule(
        "CG005",
        "model-shape",
        "ModelNew derives from nn.Module and from nothing else, has a `forward`, and is defined once: "
        "the file's user replaces a module by it.",
        bad=_GOOD.replace("ModelNew(nn.Module)", "ModelNew"),
    ),
    Rule(
        "CG006",
        "stray-code",
        "Only imports, kernels, wrappers, constants and ModelNew stand at the top level, and nothing "
        "uses torch.testing or triton.testing: importing the file must run no test, touch no GPU and "
        "change no setting. A constant is a name given a value that calls nothing but triton.Config, "
        "triton.cdiv, triton.next_power_of_2, tl.constexpr and Python's own conversions and sequences "
        "(int, range, sorted, ...).",
        bad=_file(_GOOD, 'print(ModelNew()(torch.ones(64, device="cuda")))\n'),
    ),
    Rule(
        "CG007",
        "main-guard",
        "No `if __name__ == ...`: the file is imported, never run; a script that tests it is a file of "
        "its own.",
        bad=_file(_GOOD, 'if __name__ == "__main__":\n    ModelNew()(torch.ones(64))\n'),
    ),
    Rule(
        "CG008",
        "input-maker",
        "No get_inputs and no get_init_inputs: the problem's file makes the inputs, and a second "
        "definition here could differ from it unseen.",
        bad=_file(_GOOD, "def get_inputs():\n    return [torch.ones(64)]\n"),
    ),
    Rule(
        "CG009",
        "autotune-not-direct",
        "@triton.autotune stands directly above @triton.jit, with nothing but @triton.heuristics "
        "between them, and @triton.jit is the innermost decorator: the autotuner tunes a kernel, and "
        "anything between hides the kernel's arguments from it.",
        bad=_file(
            _IMPORTS, "@triton.jit\n" + _AUTOTUNE + _TUNED_KERNEL, _TUNED_WRAPPER, _MODEL
        ),
        good=_file(
            _IMPORTS, _AUTOTUNE + "@triton.jit\n" + _TUNED_KERNEL, _TUNED_WRAPPER, _MODEL
        ),
    ),
    Rule(
        "CG010",
        "kernel-not-launched",
        "Every kernel is launched, `kernel[grid](...)`, by code that ModelNew reaches, or used by a "
        "kernel that is. Calling a kernel without a grid is no launch: Triton refuses it.",
        bad=_GOOD.replace("[(x.numel() // 64,)]", ""),
    ),
    Rule(
        "CG011",
        "wrapper-not-used",
        "Every wrapper is reached from ModelNew, directly or through another wrapper: a function "
        "nobody calls is test code or a leftover.",
        bad=_file(_IMPORTS, _KERNEL, _WRAPPER, "def halve(x):\n    return x / 2\n", _MODEL),
    ),
)  # fmt: skip

RULES: dict[str, Rule] = {rule.code: rule for rule in _TABLE}


def explain(rule: Rule) -> str:
    """The rule's page, in Markdown."""
    return (
        f"## {rule.code} {rule.name}\n\n{rule.reason}\n\n"
        f"Bad:\n\n```python\n{rule.bad}```\n\nGood:\n\n```python\n{rule.good}```\n"
    )
