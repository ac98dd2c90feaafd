"""What measuring does to the two optimization prompts on the GPU of this machine, as JSON.

    python tests/gpu/accept_prompts.py SEEDS_DIR OUT_DIR [--only retune,kills,equals,baseline] [--kills N] [--equals N]

SEEDS_DIR holds the prompts (000_*.txt, 003_*.txt). Every command runs as a user would type it, in a process of its
own, with caches of its own: Triton's, and the journal.

retune    each prompt retuned for this GPU on cold caches, then again: how long, what came out, what was timed
kills     the 003 prompt's sweep killed (SIGKILL) at N random places, then run to its end: what was lost or asked
          twice, and whether the file that comes out is what the answers say
equals    the 003 prompt's file against itself, N times: how often it is called faster, or refused
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PROMPTS = {
    "003": ("float32[8192,2048] float32[4096,8192]", "A.T @ B.T"),
    "000": ("tril float32[4096,4096] tril float32[4096,4096]", "torch.tril(A @ B)"),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("seeds", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", default="retune,kills,equals")
    parser.add_argument("--prompts", default="003,000")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--equals", type=int, default=50)
    parser.add_argument("--gpu", default="h200")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    todo = options.only.split(",")
    for name in options.prompts.split(",") if "retune" in todo else ():
        results[name] = retuned(name, options)
        print(name, json.dumps({k: v for k, v in results[name].items() if k != "report"}))
        save(results, options.out)
    if "kills" in todo:
        results["kills"] = killed(options)
        print("kills", json.dumps(results["kills"]))
        save(results, options.out)
    if "equals" in todo:
        results["equals"] = equals(options)
        print("equals", json.dumps({k: v for k, v in results["equals"].items() if k != "each"}))
        save(results, options.out)


def save(results: dict[str, Any], out: Path) -> None:
    (out / "accept_prompts.json").write_text(json.dumps(results, indent=1))


def command(name: str, options: argparse.Namespace, folder: Path) -> list[str]:
    inputs, reference = PROMPTS[name]
    (prompt,) = options.seeds.glob(f"{name}*.txt")
    return [
        *(sys.executable, "-m", "codegen", "retune", str(prompt), "--gpu", options.gpu),
        *("--measure", "--inputs", inputs, "--reference", reference),
        *("-o", str(folder / f"retuned_{name}.py"), "--json", str(folder / f"report_{name}.json")),
    ]


def environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
        "TRITON_CACHE_DIR": str(folder / "triton"),
        "CODEGEN_CACHE_DIR": str(folder / "journal"),
    }


def retuned(name: str, options: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for run in ("cold", "again"):
            start = time.monotonic()
            done = subprocess.run(
                command(name, options, options.out),
                env=environment(Path(folder)),
                capture_output=True,
                text=True,
                check=False,
            )
            found[run] = {
                "seconds": round(time.monotonic() - start, 1),
                "status": done.returncode,
                "said": done.stderr[-6000:],
            }
            written = options.out / f"retuned_{name}.py"
            found[run]["sha256"] = (
                hashlib.sha256(written.read_bytes()).hexdigest() if written.exists() else None
            )
            if done.returncode:
                break
    report = options.out / f"report_{name}.json"
    if report.exists():
        found["report"] = json.loads(report.read_text())
        report.unlink()
    return found


def killed(options: argparse.Namespace) -> dict[str, Any]:
    """One journal through all kills, each soon after the journal holds another random number of answers.

    Then the run is left to end, twice: whatever was killed, the file that comes out is what the answers say.
    """
    chance = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        written, journal = folder / "retuned_003.py", folder / "journal" / "journal.sqlite"

        def run() -> tuple[float, bytes]:
            written.unlink(missing_ok=True)
            start = time.monotonic()
            subprocess.run(
                command("003", options, folder),
                env=environment(folder),
                capture_output=True,
                check=True,
            )
            return time.monotonic() - start, written.read_bytes()

        seconds, _ = run()
        answers = known(journal)
        journal.unlink()
        kept: list[int] = []
        before: dict[str, str] = {}
        replaced = lost = 0
        for target in sorted(chance.sample(range(1, len(answers)), options.kills)):
            process = subprocess.Popen(
                command("003", options, folder),
                env=environment(folder),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            while process.poll() is None and len(known(journal)) < target:
                time.sleep(0.02)
            time.sleep(chance.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
            process.wait()
            after = known(journal)
            lost += sum(key not in after for key in before)
            replaced += sum(key in after and after[key] != date for key, date in before.items())
            kept.append(len(after))
            before = after
        _, resumed = run()
        after = known(journal)
        _, again = run()
        return {
            "kills": options.kills,
            "undisturbed_seconds": round(seconds, 1),
            "answers_of_an_undisturbed_run": len(answers),
            "answers_after_each_kill": kept,
            "answers_at_the_end": len(after),
            "answers_lost": lost,
            "answers_asked_again": replaced,
            "same_file": resumed == again,
        }


def known(journal: Path) -> dict[str, str]:
    if not journal.exists():
        return {}
    with (
        contextlib.closing(sqlite3.connect(journal)) as connection,
        contextlib.suppress(sqlite3.OperationalError),  # killed before its table was made
    ):
        return dict(connection.execute("SELECT key, date FROM answers"))
    return {}


def equals(options: argparse.Namespace) -> dict[str, Any]:
    """The file's fastest config against itself, through the steps `accept` takes, once for each repetition."""
    sys.path.insert(0, str(ROOT))
    from codegen.accept import compiled
    from codegen.cases import given_cases
    from codegen.contest import Terms, check, entries_of, fastest, time_all
    from codegen.final import Side, last_race
    from codegen.job import Options, open_job
    from codegen.judge import MARGIN, judge
    from codegen.measure import Device
    from codegen.verify import Against

    inputs, reference = PROMPTS["003"]
    (prompt,) = options.seeds.glob("003*.txt")
    asked = Options(path=str(prompt), gpu=options.gpu, inputs=inputs, reference=reference)

    def quiet(*_: object) -> None:
        pass

    each = []
    with open_job(asked) as job, Device() as device:
        file = compiled(job.question, quiet)
        path, cases = job.question.file.path, given_cases(file.given)
        terms = Terms(Against(None, reference), "tf32")
        found = check(device, path, entries_of("candidate", file.live), cases, terms)
        timed = time_all(device, path, found, cases, terms, quiet)
        checkups = [one.checkup for one in timed]
        ours = Side(path, fastest(timed, 0))
        same = {site: replace(entry, label="original") for site, entry in ours.best.items()}
        theirs = Side(path, same)
        for _ in range(options.equals):
            start = time.monotonic()
            race, pairing = last_race(device, ours, theirs, (), cases[0], terms, MARGIN, 1, quiet)
            verdict = judge(checkups, race, pairing, MARGIN)
            speedup = verdict.speedup
            each.append(
                {
                    "seconds": round(time.monotonic() - start, 2),
                    "rounds": len(race.rounds_us),
                    "accepted": verdict.accepted,
                    "faster": verdict.faster,
                    "slower": verdict.slower,
                    "speedup": speedup and [speedup.low, speedup.estimate, speedup.high],
                    "reason": verdict.reason,
                }
            )
    return {
        "times": len(each),
        "faster": sum(one["faster"] for one in each),
        "slower": sum(one["slower"] for one in each),
        "refused": sum(not one["accepted"] for one in each),
        "seconds": round(sum(one["seconds"] for one in each), 1),
        "each": each,
    }


if __name__ == "__main__":
    main()
