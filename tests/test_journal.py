"""The journal: nothing that was known is asked again, whatever happens to the program or beside it."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_bench
import pytest
from fake_bench import AGAINST, CASES, MACHINE, FakeBench, subjects_of

from codegen.evidence import Case, Checkup, Clocks, Finding, Interval, Race, Subject, Verdict
from codegen.fingerprint import source_hash
from codegen.journal import ENVIRONMENT, Journal, default_path, job_key
from codegen.journaled import Journaled
from codegen.outcome import BadInput
from codegen.verify import Against
from codegen.wire import from_wire, to_wire


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "cache" / "journal.sqlite")


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    path = tmp_path / "kernel.py"
    path.write_text("import torch\n")
    return path


def test_an_answer_is_found_again_and_a_newer_one_replaces_it(journal: Journal) -> None:
    job = {"do": "check", "source": "ab", "sizes": [4096, 4096]}
    assert journal.get(job) is None
    journal.put(job, {"fault": None})
    journal.put({"sizes": [4096, 4096], "source": "ab", "do": "check"}, {"fault": "a race"})
    with Journal(journal.path) as other:
        assert other.get(job) == {"fault": "a race"}
        assert other.count() == 1


def test_jobs_that_differ_in_anything_have_other_keys() -> None:
    jobs: list[Any] = [{"a": 1}, {"a": 1.5}, {"a": "1"}, {"a": [1]}, {"b": 1}, {"a": 1, "b": None}]
    assert len({job_key(job) for job in jobs}) == len(jobs)


def test_it_lies_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somebody/cache")
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    assert default_path().name == "journal.sqlite"
    assert "codegen" in default_path().parts
    monkeypatch.setenv(ENVIRONMENT, "/elsewhere")
    assert default_path() == Path("/elsewhere/journal.sqlite")


def other_program(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE cookies (host TEXT)")


def later_version(path: Path) -> None:
    Journal(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")


def torn(path: Path) -> None:
    with Journal(path) as journal:
        for place in range(20):
            journal.put(place, "x" * 5000)
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\xff" * (len(whole) - 8192))


UNUSABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "not a database": (lambda path: path.write_text("no database\n" * 400), "file is not a database"),
    "another program's": (other_program, "another program's database"),
    "a later version's": (later_version, "of version 99, and this codegen keeps version 1"),
    "a folder": (lambda path: path.mkdir(), "unable to open database file"),
    "torn": (torn, "malformed"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "why"), UNUSABLE.values(), ids=list(UNUSABLE))
def test_a_file_that_is_no_journal_gets_one_line_and_stays(
    make: Callable[[Path], object], why: str, tmp_path: Path
) -> None:
    path = tmp_path / "journal.sqlite"
    make(path)
    held = path.read_bytes() if path.is_file() else None
    with pytest.raises(BadInput) as refused, Journal(path) as journal:
        for place in range(20):
            journal.get(place)
    assert why in str(refused.value)
    assert str(path) in str(refused.value)
    assert ENVIRONMENT in str(refused.value)
    assert "\n" not in str(refused.value)
    assert (path.read_bytes() if path.is_file() else None) == held


NOWHERE = {
    "a folder that can't be made": Path("/proc/codegen/journal.sqlite"),
    "a folder that can't be written": Path("/proc/journal.sqlite"),
}


@pytest.mark.parametrize("path", NOWHERE.values(), ids=list(NOWHERE))
def test_a_place_that_cannot_be_written_is_said(path: Path) -> None:
    with pytest.raises(BadInput, match=r"^/proc/.*the journal can't be used"):
        Journal(path)


WRITER = """
import sys
from pathlib import Path
from codegen.journal import Journal
with Journal(Path(sys.argv[1])) as journal:
    for place in range(25):
        journal.put([int(sys.argv[2]) % 2, place], "x" * 300)
"""


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(number)])
        for number in range(4)
    ]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    with Journal(path) as journal:
        assert journal.count() == 50
        assert journal.get([1, 24]) == "x" * 300
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_twenty_kills_lose_at_most_what_is_in_flight(tmp_path: Path) -> None:
    """A sweep killed with SIGKILL at twenty random moments, then left to end: as if never killed."""
    count = 20
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
        (folder / "kernel.py").write_text("import torch\n")
    fake_bench.sweep(whole, count, 0.0)

    dice = random.Random(20)
    kills = 0
    for target in sorted(dice.sample(range(2 * count - 2), 20)):
        child = start(killed, count)
        while child.poll() is None and asked_in(killed) <= target:
            time.sleep(0.001)
        time.sleep(dice.uniform(0.0, 0.01))
        child.send_signal(signal.SIGKILL)
        kills += child.wait(60) == -signal.SIGKILL
    child = start(killed, count)
    assert child.wait(60) == 0

    assert (killed / "result.json").read_bytes() == (whole / "result.json").read_bytes()
    asked = Counter((killed / "asked").read_text().splitlines())
    assert len(asked) == 2 * count
    repeated = sum(times - 1 for times in asked.values())
    assert kills >= 15  # the others came to their end first
    assert repeated <= kills
    assert repeated < 2 * count  # the kills did not simply start it over


def asked_in(folder: Path) -> int:
    """How many questions were asked so far, again and again by those killed."""
    path = folder / "asked"
    return len(set(path.read_text().splitlines())) if path.exists() else 0


def start(folder: Path, count: int) -> subprocess.Popen[str]:
    """The sweep in a process of its own, once it has begun: 40 questions of 10 ms."""
    program = [sys.executable, fake_bench.__file__, str(folder), str(count), "0.01"]
    child = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "started\n"
    return child


def test_what_is_known_is_answered_without_asking(journal: Journal, kernel: Path) -> None:
    subjects = subjects_of(kernel, 3)
    first, second = FakeBench(), FakeBench()
    told: list[tuple[int, str]] = []

    def ask(bench: FakeBench) -> tuple[list[Checkup], list[Race]]:
        asking = Journaled(bench, journal)
        checkups = asking.check(
            subjects, CASES, AGAINST, "ieee", lambda place, done: told.append((place, done.label))
        )
        races = [asking.race(subjects, CASES[1], 5, AGAINST, "ieee") for _ in range(3)]
        return checkups, races

    asked, remembered = ask(first), ask(second)
    assert repr(asked) == repr(remembered)  # NaN equals itself there
    assert (len(first.asked), second.asked) == (6, [])
    assert told == [(place, f"candidate #{place}") for place in range(3)] * 2
    # A race that goes on is another question: three times five rounds, no two the same.
    assert len({race.rounds_us for race in remembered[1]}) == 3


OOM = "OutOfMemoryError: CUDA out of memory. Process 9 has 130 GiB"

# A subject's fault, and how often two runs ask of it.
FAULTS = {
    "memory that another process had": (OOM, 2),
    "a child that was killed": ("was ended by SIGKILL", 2),
    "a wrong result": ("wrong: relative error 0.5", 1),
    "an illegal access": ("breaks the GPU's context: an illegal memory access was encountered", 1),
    "what cannot launch": ("OutOfResources: out of resource: shared memory", 1),
}


@pytest.mark.parametrize("kind", ["fault", "refused"])
@pytest.mark.parametrize(("why", "times"), FAULTS.values(), ids=list(FAULTS))
def test_a_check_with_a_fault_of_the_moment_is_asked_again(
    why: str, times: int, kind: str, journal: Journal, kernel: Path
) -> None:
    class Faulty(FakeBench):
        def check(self, *args: Any, **kwargs: Any) -> list[Checkup]:
            (checkup,) = super().check(*args, **kwargs)
            finding = replace(checkup.findings[0], **{"fault": None, kind: why})
            return [replace(checkup, findings=(finding, *checkup.findings[1:]))]

    (subject,) = subjects_of(kernel, 1)
    assert ask_one(journal, subject, bench=Faulty()) == 1
    assert ask_one(journal, subject, bench=FakeBench()) == times - 1
    assert ask_one(journal, subject, bench=FakeBench()) == 0  # the better answer stays


@pytest.mark.parametrize(("why", "times"), FAULTS.values(), ids=list(FAULTS))
def test_a_race_with_one_is_run_again(why: str, times: int, journal: Journal, kernel: Path) -> None:
    class Faulty(FakeBench):
        def race(self, *args: Any, **kwargs: Any) -> Race:
            race = super().race(*args, **kwargs)
            return replace(race, labels=race.labels[1:], failures=((race.labels[0], why),))

    def asked(bench: FakeBench) -> int:
        asking = Journaled(bench, journal)
        for _ in range(2):  # it goes on
            asking.race(subjects_of(kernel, 2), CASES[1], 5, AGAINST, "ieee")
        return len(bench.asked)

    assert [asked(Faulty()), asked(FakeBench()), asked(FakeBench())] == [2, 2 * (times - 1), 0]


def test_a_killed_check_keeps_the_subjects_before_it(journal: Journal, kernel: Path) -> None:
    def fail(asked: str) -> None:
        if asked == "check candidate #2":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Journaled(FakeBench(on_ask=fail), journal).check(
            subjects_of(kernel, 4), CASES, AGAINST, "ieee"
        )
    bench = FakeBench()
    Journaled(bench, journal).check(subjects_of(kernel, 4), CASES, AGAINST, "ieee")
    assert bench.asked == ["check candidate #2", "check candidate #3"]


def ask_one(
    journal: Journal,
    subject: Subject,
    *,
    cases: tuple[Case, ...] = CASES,
    against: Against = AGAINST,
    promise: str = "ieee",
    bench: FakeBench | None = None,
    method: int = 1,
) -> int:
    """How many questions a check takes."""
    bench = bench or FakeBench()
    Journaled(bench, journal, method).check([subject], cases, against, promise)
    return len(bench.asked)


ASKED_ANEW: dict[str, Callable[[Journal, Subject], int]] = {
    "another config": lambda j, s: ask_one(j, replace(s, choices=(replace(s.choices[0], config=9),))),
    "another number of warps": lambda j, s: ask_one(j, replace(s, choices=(replace(s.choices[0], num_warps=8),))),
    "other inputs": lambda j, s: ask_one(j, s, cases=CASES[:1]),
    "another seed": lambda j, s: ask_one(j, s, cases=(replace(CASES[0], seed=9), CASES[1])),
    "another reference": lambda j, s: ask_one(j, s, against=Against(reference="A @ A")),
    "another promise": lambda j, s: ask_one(j, s, promise="tf32"),
    "another GPU of the same kind": lambda j, s: ask_one(j, s, bench=FakeBench(replace(MACHINE, uuid="GPU-2"))),
    "another Triton": lambda j, s: ask_one(j, s, bench=FakeBench(replace(MACHINE, triton="3.9.0"))),
    "another driver": lambda j, s: ask_one(j, s, bench=FakeBench(replace(MACHINE, driver="580.1"))),
    "another method": lambda j, s: ask_one(j, s, method=2),
}  # fmt: skip


@pytest.mark.parametrize("ask", ASKED_ANEW.values(), ids=list(ASKED_ANEW))
def test_what_results_depend_on_is_asked_anew(
    ask: Callable[[Journal, Subject], int], journal: Journal, kernel: Path
) -> None:
    (subject,) = subjects_of(kernel, 1)
    assert ask_one(journal, subject) == 1
    assert ask(journal, subject) == 1


def test_a_change_of_the_source_is_asked_anew(journal: Journal, kernel: Path) -> None:
    (subject,) = subjects_of(kernel, 1)
    assert ask_one(journal, subject) == 1
    kernel.write_text("import torch  # changed\n")
    assert ask_one(journal, subject) == 1


def test_a_name_or_place_is_not_asked_anew(journal: Journal, kernel: Path, tmp_path: Path) -> None:
    (subject,) = subjects_of(kernel, 1)
    assert ask_one(journal, subject) == 1
    elsewhere = tmp_path / "copy.py"
    elsewhere.write_bytes(kernel.read_bytes())
    moved = replace(subject, label="original #4", path=elsewhere)
    assert ask_one(journal, moved) == 0
    (checkup,) = Journaled(FakeBench(), journal).check([moved], CASES, AGAINST, "ieee")
    assert checkup.label == "original #4"


def test_an_answer_of_another_form_is_asked_anew_and_replaced(
    journal: Journal, kernel: Path
) -> None:
    (subject,) = subjects_of(kernel, 1)
    assert ask_one(journal, subject) == 1
    with sqlite3.connect(journal.path) as connection:
        connection.execute("UPDATE answers SET answer = '{\"label\": 3}'")
    assert [ask_one(journal, subject) for _ in range(2)] == [1, 0]


def test_closing_closes_the_bench_and_not_the_journal(journal: Journal) -> None:
    bench = FakeBench()
    Journaled(bench, journal).close()
    assert bench.closed
    assert journal.count() == 0


SOURCES = {
    "the file itself": ("kernel.py", True),
    "a module beside it": ("helper.py", True),
    "what that one imports": ("deep.py", True),
    "a package beside it": ("package/__init__.py", True),
    "a module of that package": ("package/part.py", True),
    "its sibling, imported with a dot": ("package/sibling.py", True),
    "a file beside it that nothing imports": ("notes.py", False),
    "what is named like an installed package": ("triton.py", False),
}
WRITTEN = {
    "kernel.py": "import triton\nimport helper\nfrom package import part\n",
    "helper.py": "from deep import x\nimport helper\n",
    "package/part.py": "from . import sibling\nfrom .gone import y\n",
}


@pytest.mark.parametrize(("changed", "counts"), SOURCES.values(), ids=list(SOURCES))
def test_the_hash_of_a_file_is_that_of_the_code_it_stands_on(
    changed: str, counts: bool, tmp_path: Path
) -> None:
    for name, _ in SOURCES.values():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(WRITTEN.get(name, "x = 1\n"))
    before = source_hash(tmp_path / "kernel.py")
    (tmp_path / changed).write_text((tmp_path / changed).read_text() + "# changed\n")
    assert (source_hash(tmp_path / "kernel.py") != before) is counts


def test_the_hash_of_a_file_that_python_cannot_read_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import (\n")
    (tmp_path / "b.py").write_text("import ((\n")
    assert source_hash(tmp_path / "a.py") != source_hash(tmp_path / "b.py")


VALUES: dict[str, tuple[Any, Any]] = {
    "a case with tensors and scalars": (Case, CASES[1]),
    "a subject with a path": (Subject, subjects_of(Path("/a/b.py"), 1)[0]),
    "a baseline": (Subject, Subject("eager", baseline="eager")),
    "a race": (Race, Race(("a", "b"), ((1.5, 2.0),), "graph", (Clocks(1, 2, 3.0, 4, ("x",)),), (("c", "hangs"),))),
    "a verdict": (Verdict, Verdict(True, False, "équal", Interval(0.9, 1.0, 1.1, 0.999))),
    "an error beyond all numbers": (Finding, Finding("x", float("inf"), float("-inf"), None, 1.0)),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "value"), VALUES.values(), ids=list(VALUES))
def test_evidence_travels_as_json(kind: Any, value: Any) -> None:
    assert from_wire(kind, json.loads(json.dumps(to_wire(value), allow_nan=False))) == value


def test_nan_travels_as_json() -> None:
    finding = from_wire(Finding, to_wire(Finding("x", float("nan"), 1.0, float("nan"), 1.0)))
    assert finding.relative_error != finding.relative_error
    assert isinstance(finding.library_error, float)


MISFITS: dict[str, tuple[Any, Any]] = {
    "a word for a number": (Interval, {"low": "1", "estimate": 1, "high": 1, "confidence": 1}),
    "a missing field": (Interval, {"low": 1.0}),
    "an unknown field": (Checkup, {"label": "x", "findings": [], "colour": "red"}),
    "a list for an object": (Checkup, []),
    "too many values": (Race, {"labels": [], "rounds_us": [], "method": "x", "failures": [["a", "b", "c"]]}),
    "true for a number": (Clocks, {"sm_mhz": True, "memory_mhz": 1, "watts": 1, "celsius": 1, "throttled": []}),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "data"), MISFITS.values(), ids=list(MISFITS))
def test_data_that_does_not_fit_is_refused(kind: Any, data: Any) -> None:
    with pytest.raises(ValueError):
        from_wire(kind, data)
