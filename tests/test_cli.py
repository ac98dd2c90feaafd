"""The command line as a whole: exit statuses, streams, and what starting it imports."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from codegen import __version__, cli, lint
from codegen.outcome import BadInput, Refused
from codegen.rules import RULES

ROOT = Path(__file__).parent.parent


def codegen(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "codegen", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    path = tmp_path / "kernel.py"
    path.write_text(RULES["CG001"].good)
    return path


def test_python_dash_m_starts_it() -> None:
    done = codegen("--version")
    assert (done.returncode, done.stdout) == (0, f"codegen, version {__version__}\n")


USAGE_ERRORS = {
    "no command": [],
    "an unknown command": ["tune"],
    "an unknown option": ["check", "--fix"],
    "no file": ["check"],
    "an unknown format": ["check", "--output-format", "xml", "x.py"],
    "two places to write to": ["retune", "k.py", "-w", "-o", "new.py"],
    "several files and one output": ["retune", "a.py", "b.py"],
    "no file to retune": ["retune"],
    "options that --set has no use for": [
        "retune",
        "--set",
        "c.json",
        "--gpu",
        "h200",
        "--json",
        "r.json",
    ],
}


@pytest.mark.parametrize("arguments", USAGE_ERRORS.values(), ids=list(USAGE_ERRORS))
def test_misuse_is_explained_with_status_2(arguments, capsys) -> None:
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    if arguments:
        assert err.startswith("codegen: ") and err.count("\n") == 1
        assert err.endswith("--help)\n")
    else:
        assert "Usage: codegen" in err


ENDINGS = {
    "input that can't be used": (BadInput("k.py:1: no"), 2, "codegen: k.py:1: no\n"),
    "nothing acceptable to write": (Refused("all wrong"), 1, "codegen: all wrong\n"),
    "an interrupt": (KeyboardInterrupt(), 130, "codegen: interrupted\n"),
}


@pytest.mark.parametrize(("error", "status", "said"), ENDINGS.values(), ids=list(ENDINGS))
def test_ending(error, status, said, kernel, capsys, monkeypatch) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(lint, "lint", fail)
    assert cli.main(["check", str(kernel)]) == status
    assert capsys.readouterr() == ("", said)


def test_surprise_is_not_swallowed(kernel, monkeypatch) -> None:
    monkeypatch.setattr(lint, "lint", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["check", str(kernel)])


def test_reader_that_left_is_no_error() -> None:
    command = [sys.executable, "-m", "codegen", "check", "-"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdout.close()
        process.stdin.write(b"import os\n" * 20_000)
        process.stdin.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (141, b"")


LIGHT = {
    "--help": ["--help"],
    "--version": ["--version"],
    "check --help": ["check", "--help"],
    "check": ["check", "{kernel}"],
    "check --explain": ["check", "--explain", "CG003"],
    "gpus": ["gpus"],
    "gpus --sources": ["gpus", "--sources"],
    "render --help": ["render", "--help"],
    "render --list": ["render", "--list"],
}


@pytest.mark.parametrize("arguments", LIGHT.values(), ids=list(LIGHT))
def test_starts_without_the_toolchain(arguments: list[str], kernel: Path) -> None:
    arguments = [argument.format(kernel=kernel) for argument in arguments]
    program = (
        "import sys; from codegen.cli import main; status = main(sys.argv[1:]);"
        "heavy = {'torch', 'triton', 'numpy', 'libcst', 'jinja2', 'black'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["--check"], ["gemm", "--gpu", "h200", "--precision", "tf32", "--no-verify"]],
    ids=["check", "without verification"],
)
def test_rendering_needs_no_toolchain_and_under_two_seconds(arguments: list[str]) -> None:
    program = (
        "import sys, time; start = time.perf_counter();"
        "from codegen.cli import main; status = main(['render', *sys.argv[1:]]);"
        "heavy = {'torch', 'triton', 'numpy', 'libcst'} & set(sys.modules);"
        "print(time.perf_counter() - start, file=sys.stderr);"
        "sys.exit(f'imported {heavy}' if heavy else status)"
    )

    def seconds() -> float:
        command = [sys.executable, "-c", program, *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return float(done.stderr.splitlines()[-1])

    files = len(list((ROOT / "generated").glob("*.json"))) if "--check" in arguments else 1
    assert any(seconds() < 2 * files for _ in range(3))


def test_one_file_takes_well_under_half_a_second(kernel: Path) -> None:
    def seconds() -> float:
        start = time.perf_counter()
        assert codegen("check", str(kernel)).returncode == 0
        return time.perf_counter() - start

    assert min(seconds() for _ in range(5)) < 0.5


def test_a_thousand_files_take_less_than_a_minute(tmp_path: Path) -> None:
    source = (Path(__file__).parent / "cases/check/keeps_the_shape_of_the_prompts.py").read_bytes()
    for number in range(200):
        (tmp_path / f"kernel_{number}.py").write_bytes(source)
    start = time.perf_counter()
    assert cli.main(["check", str(tmp_path)]) == 0
    assert time.perf_counter() - start < 60 * 200 / 1000
