"""A dossier as a real one looks, made of invented samples: the same bytes every time.

Run as a program it writes the page to a file, to be looked at: `python tests/sample_dossier.py out.html [refused]`.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from fake_bench import MACHINE
from timer import Timer

from codegen.dossier import Contest, Dossier, Entry, Source
from codegen.evidence import Case, Checkup, Choice, Clocks, Finding, Verdict
from codegen.inputs import parse_inputs
from codegen.judge import Pairing, judge, judge_all
from codegen.outcome import UNWRITTEN, Resources
from codegen.page import page
from codegen.problem import Problem
from codegen.work import Work, work_of

# (M, N, K, warps, stages), microseconds for the two sets of inputs, shared bytes, registers, spills, blocks.
ORIGINAL = (
    ((64, 128, 64, 4, 3), 1517.0, 405.0, 98304, 218, 0, 2),
    ((128, 64, 64, 4, 3), 1583.0, 421.0, 98304, 208, 0, 2),
    ((128, 128, 32, 8, 3), 1712.0, 446.0, 98304, 174, 0, 1),
    ((64, 64, 128, 8, 3), 2204.0, 602.0, 131072, 112, 0, 1),
)
CANDIDATE = (
    ((64, 128, 64, 2, 2), 838.0, 231.0, 65536, 255, 40, 3),
    ((64, 128, 64, 2, 3), 861.0, 228.0, 98304, 255, 44, 2),
    *ORIGINAL[:2],
)
BASELINES = {"eager": 2770.0, "compile": 2785.0}
INPUTS = (
    "float32[8192,2048] float32[4096,8192]",
    "float32[2048,2048] float32[4096,2048]",
)
DIFF = """\
--- at_bt.py
+++ at_bt.py (retuned)
@@ -9,8 +9,8 @@
     configs=[
+        triton.Config({"BLOCK_M": 64, "BLOCK_N": 128, "BLOCK_K": 64}, num_warps=2, num_stages=2),
+        triton.Config({"BLOCK_M": 64, "BLOCK_N": 128, "BLOCK_K": 64}, num_warps=2, num_stages=3),
         triton.Config({"BLOCK_M": 64, "BLOCK_N": 128, "BLOCK_K": 64}, num_warps=4, num_stages=3),
         triton.Config({"BLOCK_M": 128, "BLOCK_N": 64, "BLOCK_K": 64}, num_warps=4, num_stages=3),
-        triton.Config({"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 32}, num_warps=8, num_stages=3),
-        triton.Config({"BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 128}, num_warps=8, num_stages=3),
     ],
"""


def sample() -> Dossier:
    """A retuned file, faster than its original on both sets of inputs."""
    contests = tuple(_contest(place) for place in range(len(INPUTS)))
    candidate = _source("candidate", CANDIDATE)
    verdict = judge_all(
        [
            judge(
                [entry.checkup for entry in candidate.entries],
                each.race,
                each.pairing,
                among=len(contests),
            )
            for each in contests
        ]
    )
    return Dossier(
        verdict,
        "2026-11-21T15:04:05+00:00",
        "0.1.0",
        candidate,
        "float64 A.T @ B.T",
        "tf32",
        0.01,
        contests,
        "h200",
        MACHINE,
        _source("original", ORIGINAL),
        DIFF,
        notes=("original #3 has the most shared memory of all and is the slowest.",),
    )


def refused() -> Dossier:
    """The same with a config that is wrong, and a computation that nobody recognises."""
    whole = sample()
    first, second, *others = whole.candidate.entries
    fault = f"{UNWRITTEN} on float32[549,549], seed 1"
    finding = replace(second.checkup.findings[0], relative_error=float("nan"), fault=fault)
    wrong = replace(second, checkup=Checkup(second.label, (finding,), None, fault))
    torn = replace(
        first,
        checkup=Checkup(first.label, (), None, "cannot launch: shared memory 262,144 > 232,448"),
        resources=None,
        blocks_per_sm=0,
        times_us=(),
    )
    entries = (wrong, torn, *others)
    unknown = work_of(None, parse_inputs(INPUTS[0]))
    contest = replace(whole.contests[0], work=unknown)
    return replace(
        whole,
        candidate=replace(whole.candidate, entries=entries),
        verdict=judge([entry.checkup for entry in entries], contest.race, contest.pairing),
        contests=(contest,),
    )


def unmeasured() -> Dossier:
    """What is known of a file where there is no GPU."""
    whole = sample()
    entries = tuple(replace(entry, times_us=()) for entry in whole.candidate.entries)
    return replace(
        whole,
        candidate=replace(whole.candidate, entries=entries),
        original=None,
        machine=None,
        diff="",
        notes=(),
        verdict=Verdict(True, False, "right in the interpreter, fits the GPU, not measured"),
        contests=(replace(whole.contests[0], race=None, pairing=None),),
    )


def _source(side: str, table: tuple[tuple[tuple[int, ...], float, float, int, int, int, int], ...]) -> Source:  # fmt: skip
    entries = []
    for place, (config, first, second, shared, registers, spills, blocks) in enumerate(table):
        m, n, k, warps, stages = config
        label = f"{side} #{place}"
        findings = tuple(
            Finding(f"{INPUTS[0]}, seed {seed}", 7.9e-4 + place * 1e-6, 4e-3, 2.9e-4, 2.4e-3)
            for seed in (0, 1)
        )
        entries.append(
            Entry(
                label,
                f"BLOCK_M={m}, BLOCK_N={n}, BLOCK_K={k}, num_warps={warps}, num_stages={stages}",
                Choice("matmul_kernel", 7, place, warps, stages),
                Checkup(label, findings, repeatable=True),
                Resources(shared, registers, spills, warps, "0" * 64),
                blocks,
                blocks * warps / 64 * 100,
                (first * 1.004, second * 0.997),
            )
        )
    return Source("at_bt.py", ("a" if side == "original" else "b") * 64, tuple(entries))


def _contest(place: int) -> Contest:
    ours, theirs = (0, 0) if place == 0 else (1, 0)
    pairing = Pairing(f"original #{theirs}", f"candidate #{ours}", "original again")
    original = ORIGINAL[theirs][1 + place]
    times = {
        pairing.candidate: CANDIDATE[ours][1 + place],
        pairing.original: original,
        "original again": original,
    } | {label: time / (1 if place == 0 else 4) for label, time in BASELINES.items()}
    race = Timer(times, seed=place).race(50)
    clocks = tuple(
        Clocks(1980 - 15 * step, 3201, 412.0 + 40 * step, 51 + step, ("sw_power_cap",) * (step > 2))
        for step in range(5)
    )
    failures = (("max-autotune", "out of memory: tried to allocate 12.00 GiB"),)
    race = replace(
        race, clocks=clocks, failures=failures, method="events" if place == 0 else "graph"
    )
    inputs = parse_inputs(INPUTS[place])
    return Contest(Case(inputs, 0, "given"), _work(place), race, pairing)


def _work(place: int) -> Work:
    k = 8192 if place == 0 else 2048
    problem = Problem("gemm", 2048, 4096, k, layout="tt", precision="tf32")
    return work_of(problem, parse_inputs(INPUTS[place]))


if __name__ == "__main__":
    made = {"refused": refused, "unmeasured": unmeasured}.get(
        sys.argv[2] if sys.argv[2:] else "", sample
    )
    Path(sys.argv[1]).write_text(page(made()), "utf-8")
