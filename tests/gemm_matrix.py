"""The gemm family at a glance: every layout with every type, and each other option with some of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from codegen.problem import FLOAT8, Problem, Step

ALL = "nn nt tn tt"
# fmt: off
TABLE = [
    # layouts  operands        result      precision  batch   batched  epilogue
    (ALL,      "float32",       "",         "ieee",    (),     "ab",    ""),
    (ALL,      "float32",       "",         "tf32",    (),     "ab",    ""),
    (ALL,      "float32",       "",         "bf16x3",  (),     "ab",    ""),
    (ALL,      "float32",       "",         "tf32x3",  (),     "ab",    ""),
    (ALL,      "float32",       "",         "fp16",    (),     "ab",    ""),
    (ALL,      "float32",       "",         "fp16x3",  (),     "ab",    ""),
    (ALL,      "float16",       "",         None,      (),     "ab",    ""),
    (ALL,      "bfloat16",      "",         None,      (),     "ab",    ""),
    (ALL,      "float8_e4m3fn", "",         None,      (),     "ab",    ""),
    (ALL,      "float8_e5m2",   "",         None,      (),     "ab",    ""),
    ("nt",     "bfloat16",      "float32",  None,      (),     "ab",    ""),
    ("nn",     "float8_e4m3fn", "float16",  None,      (),     "ab",    ""),
    (ALL,      "bfloat16",      "",         None,      (3,),   "ab",    ""),
    ("nn",     "float32",       "",         "tf32",    (3,),   "ab",    ""),
    ("tt",     "float32",       "",         "fp16x3",  (3,),   "ab",    "residual"),
    ("nn",     "float32",       "bfloat16", "fp16",    (2, 3), "b",     "bias,relu"),
    ("nt",     "float32",       "",         "fp16x3",  (2, 3), "a",     "bias,residual"),
    ("nt",     "float16",       "",         None,      (2, 3), "ab",    "scale=0.125"),
    ("tn",     "bfloat16",      "",         None,      (2, 2, 2), "ab", "residual"),
    ("nt",     "float16",       "",         None,      (2, 3), "a",     "bias,residual"),
    ("tt",     "bfloat16",      "",         None,      (3,),   "a",     ""),
    ("nn",     "bfloat16",      "",         None,      (3,),   "b",     "residual"),
    ("nt",     "bfloat16",      "",         None,      (),     "ab",    "bias"),
    ("nt",     "bfloat16",      "",         None,      (),     "ab",    "bias,relu"),
    ("nt",     "bfloat16",      "",         None,      (),     "ab",    "bias,gelu"),
    ("nt",     "float32",       "",         "ieee",    (),     "ab",    "bias,gelu_tanh"),
    ("nn",     "float16",       "",         None,      (),     "ab",    "silu"),
    ("tn",     "float32",       "",         "tf32",    (),     "ab",    "scale=-2.0,bias,relu,residual"),
]
# Few tiles and a long K, which is summed in slices.
STARVED_TABLE = [
    ("nn tt",  "float32",       "",         "tf32x3",  (),     "ab",    ""),
    ("nn",     "float32",       "",         "fp16x3",  (),     "ab",    ""),
    ("tt",     "float32",       "bfloat16", "fp16x3",  (3,),   "ab",    "bias,gelu,residual"),
    ("nt",     "float32",       "",         "fp16x3",  (2, 3), "a",     "scale=0.5,residual"),
    ("nt tn",  "float16",       "",         None,      (),     "ab",    ""),
    ("nn",     "float32",       "",         "ieee",    (),     "ab",    "bias,gelu"),
    ("tn",     "float32",       "",         "tf32",    (),     "ab",    "residual"),
    ("nt",     "float32",       "",         "bf16x3",  (),     "ab",    ""),
    ("tt",     "float8_e4m3fn", "",         None,      (),     "ab",    "bias,relu"),
    ("nt",     "bfloat16",      "float32",  None,      (2, 3), "ab",    "bias,residual"),
    ("tn",     "float16",       "",         None,      (2,),   "b",     "scale=0.5,residual"),
    ("nn",     "bfloat16",      "",         None,      (2,),   "a",     "silu"),
]
# fmt: on
SIZES = {"m": 2048, "n": 4096, "k": 8192}  # that configs are chosen for
STARVED = {"m": 256, "n": 256, "k": 524288}
# Two tiles of the largest side, the second nearly empty: rows of whole 16 bytes, and odd everywhere.
# Batches get less.
WHOLE, ODD = {"m": 272, "n": 272, "k": 144}, {"m": 261, "n": 275, "k": 77}
WHOLE_BATCH, ODD_BATCH = {"m": 136, "n": 144, "k": 80}, {"m": 133, "n": 141, "k": 77}
# Stands for its architecture: sm_80, sm_89, sm_90, sm_100.
GPUS = ("a100-sxm-80gb", "rtx-4090", "h200", "b200")


def problems() -> dict[str, Problem]:
    """Every problem of the table, by a name that says what it is."""
    return _named(TABLE, SIZES, "") | starved()


def starved() -> dict[str, Problem]:
    return _named(STARVED_TABLE, STARVED, "starved")


def _named(table: list[Any], sizes: dict[str, int], prefix: str) -> dict[str, Problem]:
    named = {}
    for layouts, dtype, out_dtype, precision, batch, batched, epilogue in table:
        for layout in layouts.split():
            problem = Problem(
                "gemm",
                **sizes,
                layout=layout,
                dtype=dtype,
                out_dtype=out_dtype,
                precision=precision,
                batch=batch,
                batched=batched,
                epilogue=tuple(Step.parse(step) for step in epilogue.split(",") if step),
            )
            words = [prefix, layout, dtype, out_dtype and f"to {out_dtype}", precision]
            words += [f"batch {'x'.join(map(str, batch))} of {batched}" if batch else "", epilogue]
            named[" ".join(filter(None, words))] = problem
    return named


def whole(problem: Problem) -> Problem:
    """The problem at small sizes that lead to its fast kernel."""
    return _small(problem, WHOLE_BATCH if problem.batch else WHOLE)


def odd(problem: Problem) -> Problem:
    """The problem at small sizes that only its most general kernel takes."""
    return _small(problem, ODD_BATCH if problem.batch else ODD)


def _small(problem: Problem, sizes: dict[str, int]) -> Problem:
    return replace(problem, **sizes, batch=tuple(min(size, 3) for size in problem.batch))


def has_types(gpu: str, problem: Problem) -> bool:
    if problem.precision in ("fp16", "fp16x3"):
        return gpu in ("h200", "b200")
    return problem.dtype not in FLOAT8 or gpu != "a100-sxm-80gb"
