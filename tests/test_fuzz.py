"""Mangled prompts, files and options: a result or one line, never a traceback, and the input stays as it is."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codegen import pipeline
from codegen.cli import main
from codegen.outcome import BadInput

ROOT = Path(__file__).parent
PROMPT = (ROOT.parent / "docs" / "examples" / "prompt.md").read_bytes()
SCALE = (ROOT / "cases" / "files" / "scale.py").read_bytes()

RUBBISH = st.one_of(
    st.binary(min_size=1, max_size=8),
    st.sampled_from(
        [
            b"\0",
            b"\r",
            b"\r\n",
            b"\xff",
            b"```",
            b"{",
            b"}",
            b"[",
            b"#",
            b"\t",
            b"\xef\xbb\xbf",
            b'"""',
            b"autotune",
        ]
    ),
    st.sampled_from(
        [b"nan", b"1e999", b"-1", b"9" * 400, b"(" * 300, b"\xe2\x80\xa8", b"None", b"lambda: 0"]
    ),
)


@st.composite
def mangled(draw: st.DrawFn, whole: bytes) -> bytes:
    """Cuts, copies and foreign bytes at up to five places."""
    data = whole
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 200)))
        kind = draw(st.sampled_from(["cut", "copy", "put", "end"]))
        if kind == "cut":
            data = data[:start] + data[end:]
        elif kind == "copy":
            data = data[:end] + data[start:end] + data[end:]
        elif kind == "put":
            data = data[:start] + draw(RUBBISH) + data[start:]
        else:
            data = data[:start]
    return data


def run(arguments):
    """Exit status and what went to standard error."""
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        status = main(arguments)
    return status, err.getvalue()


class NoChild:
    """Stands where the file would be imported: what is fuzzed here is everything before that."""

    def __init__(self, *_: object, **__: object) -> None:
        raise BadInput("reached the child")


def survives(path: Path, data: bytes, *options: str) -> None:
    path.write_bytes(data)
    status, said = run(["retune", str(path), "-w", *options])
    if status == 1:  # where the model's name was hit, the kernels are listed and nothing more
        assert "no ModelNew launches its kernels" in said.splitlines()[-1]
    else:
        assert status == 2
        assert len(said.strip().splitlines()) == 1, said
    assert path.read_bytes() == data


@pytest.fixture
def no_child(monkeypatch):
    monkeypatch.setattr(pipeline, "Compiler", NoChild)


FUZZ = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FUZZ
@given(data=mangled(PROMPT))
def test_mangled_prompts(tmp_path, no_child, data):
    survives(tmp_path / "prompt.md", data)


@FUZZ
@given(data=mangled(SCALE))
def test_mangled_files(tmp_path, no_child, data):
    survives(tmp_path / "kernel.py", data, "--gpu", "rtx-4090")


@FUZZ
@given(
    option=st.sampled_from(
        ["--gpu", "--inputs", "--reference", "--num-warps", "--num-stages", "--max-configs"]
    ),
    value=st.text(max_size=30).filter(lambda text: "\0" not in text),
)
def test_nonsense_options(tmp_path, no_child, option, value):
    path = tmp_path / "kernel.py"
    path.write_bytes(SCALE)
    status, said = run(["retune", str(path), "--gpu", "rtx-4090", f"{option}={value}"])
    assert status == 2
    assert "Traceback" not in said
