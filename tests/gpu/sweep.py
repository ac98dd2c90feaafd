"""Every config that a prompt's stage allows around its originals, on the GPU of this machine.

    python tests/gpu/sweep.py ../shared/seeds/003_45641d1b6b4015fa.txt --gpu h200 \
        --inputs 'float32[8192,2048] float32[4096,8192]' --reference 'A.T @ B.T' --json tests/data/sweep_003_h200.json
    python tests/gpu/sweep.py ../shared/seeds/000_bdcfd6d5da7edd3a.txt --gpu h200 \
        --inputs 'tril float32[4096,4096] tril float32[4096,4096]' --reference 'torch.tril(A @ B)' \
        --json tests/data/sweep_000_h200.json

Each is compiled for the GPU as if there were none, compared with what the driver says of it, checked, and timed in
one race of all. Then the originals' best is timed against itself, and against the baselines.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from statistics import median, quantiles
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from codegen.cases import plan_cases
from codegen.evidence import Choice, Race, Subject
from codegen.gpu import find_gpu
from codegen.inputs import block_sides, parse_inputs
from codegen.measure import Device
from codegen.occupancy import occupancy
from codegen.outcome import BadInput, Rejected
from codegen.prompt import read_prompt
from codegen.toolchain import Compilation, Compiler, UserFile
from codegen.verify import Against


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prompt", type=Path)
    parser.add_argument("--gpu", required=True)
    parser.add_argument("--inputs", required=True)
    parser.add_argument("--reference", required=True)
    parser.add_argument("--precision", default="tf32")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--same-rounds", type=int, default=200)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    prompt = read_prompt(options.prompt.read_text())
    gpu, inputs, against = (
        find_gpu(options.gpu),
        parse_inputs(options.inputs),
        Against(None, options.reference),
    )
    with tempfile.TemporaryDirectory() as folder, Device() as bench:
        path = Path(folder) / "kernel.py"
        path.write_text(prompt.code)
        started = time.monotonic()
        with Compiler(UserFile(options.prompt.name, path), gpu) as compiler:
            (site,) = compiler.launches(None, inputs).sites
            jobs = allowed(site.configs, prompt.stage)
            built = compiler.compile(jobs)
        compiled = time.monotonic()
        machine = bench.machine()
        awake = time.monotonic()
        cases = plan_cases(inputs, block_sides(site.configs))
        rows = []
        for job, needs in zip(jobs, built, strict=True):
            choice = Choice(site.kernel, site.line, job.config, job.num_warps, job.num_stages)
            row: dict[str, Any] = {
                "config": str(site.configs[job.config].meta),
                **asdict(choice),
                "original": is_original(job, site.configs),
            }
            rows.append(row)
            row["label"] = f"#{job.config} w{job.num_warps} s{job.num_stages}"
            if isinstance(needs, Rejected):
                row["rejected"] = needs.reason
                continue
            held = occupancy(
                gpu,
                registers=needs.resources.registers,
                shared_bytes=needs.resources.shared_bytes,
                num_warps=needs.resources.num_warps,
            )
            row["predicted"] = {
                **asdict(needs.resources),
                "grid": needs.grid,
                "blocks_per_sm": held.blocks_per_sm,
            }
            subject = Subject(row["label"], path, (choice,))
            begun = time.monotonic()
            (checkup,) = bench.check([subject], cases, against, options.precision)
            row["check_seconds"] = round(time.monotonic() - begun, 3)
            row["checkup"] = asdict(checkup)
            try:
                (told,) = bench.launched(subject, cases[0], against)
                row["driver"] = asdict(told)
            except BadInput as error:
                row["driver"] = str(error)
        checked = time.monotonic()
        subjects = [
            Subject(
                row["label"],
                path,
                (Choice(**{name: row[name] for name in Choice.__annotations__}),),
            )
            for row in rows
            if isinstance(row.get("driver"), dict)
        ]
        # Without the reference, so that what is wrong is timed as well: its speed is why it must be refused.
        race = bench.race(subjects, cases[0], options.rounds, Against(), options.precision)
        raced = time.monotonic()
        for row in rows:
            if row["label"] in race.labels:
                row["us"] = round(median(race.samples_us(row["label"])), 2)
        right = [row for row in rows if "us" in row and not row["checkup"]["fault"]]
        best = min((row for row in right if row["original"]), key=lambda row: row["us"])
        forced = next(s for s in subjects if s.label == best["label"])
        same = bench.race(
            [Subject("a", path, forced.choices), Subject("b", path, forced.choices)],
            cases[0],
            options.same_rounds,
            against,
            options.precision,
        )
        timed = time.monotonic()
        peers = [
            forced,
            *(Subject(name, baseline=name) for name in ("eager", "compile", "max-autotune")),
        ]
        beside = bench.race(peers, cases[0], 30, against, options.precision)
        ended = time.monotonic()
    seconds = {
        "compile": compiled - started,
        "wake": awake - compiled,
        "check": checked - awake,
        "race": raced - checked,
        "same": timed - raced,
        "baselines": ended - timed,
    }
    report = {
        "how": shlex.join(["python", "tests/gpu/sweep.py", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d"),
        "machine": asdict(machine),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "rows": rows,
        "race": asdict(race),
        "same": asdict(same),
        "baselines": asdict(beside),
    }
    # A row a line: these files are kept.
    rows_text = ",\n  ".join(json.dumps(row) for row in report.pop("rows"))
    text = json.dumps(report, separators=(",", ":"))
    options.json.write_text(f'{text[:-1]},\n "rows": [\n  {rows_text}\n]}}\n')
    show(rows, report["seconds"], race, same, beside)


def allowed(configs: Any, stage: Any) -> list[Compilation]:
    """Every (config, warps, stages) of the stage: any allowed warps, stages one step away at most; originals first."""
    jobs = [
        Compilation(0, index, config.warps, config.stages) for index, config in enumerate(configs)
    ]
    for index, config in enumerate(configs):
        for warps in stage.num_warps:
            for stages in stage.num_stages:
                job = Compilation(0, index, warps, stages)
                if abs(stages - config.stages) <= stage.max_stage_step and job not in jobs:
                    jobs.append(job)
    return jobs


def is_original(job: Compilation, configs: Any) -> bool:
    return (configs[job.config].warps, configs[job.config].stages) == (
        job.num_warps,
        job.num_stages,
    )


def show(
    rows: list[dict[str, Any]], seconds: dict[str, float], race: Race, same: Race, beside: Race
) -> None:
    for row in sorted(rows, key=lambda row: row.get("us", 1e9)):
        told, guess = row.get("driver"), row.get("predicted")
        agree = (
            [
                told[a] == guess[b]
                for a, b in [
                    ("registers", "registers"),
                    ("local_bytes", "spill_bytes"),
                    ("shared_bytes", "shared_bytes"),
                    ("blocks_per_sm", "blocks_per_sm"),
                    ("grid", "grid"),
                ]
            ]
            if isinstance(told, dict) and guess
            else told or row.get("rejected")
        )
        fault = (row.get("checkup") or {}).get("fault")
        print(
            row["label"],
            "original" if row["original"] else "",
            row.get("us"),
            row.get("check_seconds"),
            agree if agree != [True] * 5 else "as predicted",
            fault or "right",
            flush=True,
        )
    ratios = [a / b for a, b in same.rounds_us]
    cut = quantiles(ratios, n=20)
    print(
        "same",
        same.method,
        "median ratio",
        round(median(ratios), 5),
        "5-95 %",
        round(cut[0], 4),
        round(cut[-1], 4),
        "failures",
        race.failures,
        same.failures,
    )
    for label in beside.labels:
        print(label, round(median(beside.samples_us(label)), 1))
    print("baselines failed:", beside.failures, "seconds", seconds)
    for race_ in (race, same, beside):
        print(race_.clocks[:1], race_.clocks[-1:])


if __name__ == "__main__":
    main()
