"""Input that can't be used: one line on standard error, exit status 2, the file as it was, no traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codegen.cli import main

CASES = Path(__file__).parent / "cases" / "files"
SCALE = (CASES / "scale.py").read_text()
FENCED = "# Current Code\n```python\n{}```\n"
RETUNE = ["retune", "--gpu", "rtx-4090", "--inputs", "float32[65536]"]


def refused(capfd, arguments, status=2):
    """Runs the command; returns its one line."""
    assert main(arguments) == status
    out, err = capfd.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1, err
    return err


@pytest.mark.parametrize("command", ["retune", "inspect"])
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        pytest.param("absent.py", None, "can't be read: No such file", id="no such file"),
        pytest.param("a\0b.py", None, "can't be read", id="a name that can't be one"),
        pytest.param("k.py", b"def f(:\n", "line 1", id="not Python"),
        pytest.param("k.py", b"", "no @triton.autotune", id="empty"),
        pytest.param("k.py", b"\xff\xfe\x00", "NUL bytes", id="not text"),
        pytest.param("k.py", b"x = '\xe9'  # autotune\n", "save it as UTF-8", id="not UTF-8"),
        pytest.param("k.py", b"x = 1\n", "no @triton.autotune", id="no autotune"),
        pytest.param("p.md", b"# Task\nmake it fast\n", "no code", id="a prompt without code"),
        pytest.param("p.txt", b"\xff\xff", "no UTF-8 at byte 0", id="a prompt that is not text"),
    ],
)
def test_what_is_no_kernel_file(tmp_path, capfd, command, name, content, said):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    line = refused(capfd, [command, str(path), "--gpu", "rtx-4090"])
    assert said in line and line.startswith("codegen: ")
    if content is not None:
        assert path.read_bytes() == content


ODD = [
    pytest.param(
        b"# coding: ascii\n# autotune \xe9\n", "save it as UTF-8", id="not in its encoding"
    ),
    pytest.param(b"# autotune \xff\n", "save it as UTF-8", id="not UTF-8"),
    pytest.param(b"autotune = 1\ry = 2\n", "a carriage return alone", id="a lone carriage return"),
    pytest.param(b"autotune = '\0'\n", "NUL bytes", id="NUL bytes"),
    pytest.param("autotune = 1\n".encode("utf-16"), "NUL bytes", id="UTF-16"),
    pytest.param(
        b"autotune = " + b"(" * 300 + b")" * 300, "can't parse it", id="brackets too deep"
    ),
    pytest.param(
        b"autotune = " + b"-" * 99_999 + b"1", "nested too deeply", id="operators too deep"
    ),
    pytest.param(
        b"autotune = 1 +" + b"1 +" * 9_999 + b"1", "nested too deeply", id="a sum too long"
    ),
    pytest.param(
        b"autotune: = 1\n", "line 1: Python 3.", id="syntax that this Python does not have"
    ),
]


@pytest.mark.parametrize("command", ["configs", "static", "set", "retune"])
@pytest.mark.parametrize(("content", "said"), ODD)
def test_a_file_that_can_not_be_read(tmp_path, capfd, monkeypatch, command, content, said):
    monkeypatch.chdir(tmp_path)
    Path("k.py").write_bytes(content)
    sites = [{"kernel": "k", "configs": [{"meta": {}}]}]
    Path("set.json").write_text(json.dumps({"files": [{"path": "k.py", "sites": sites}]}))
    arguments = {
        "configs": ["configs", "k.py"],
        "static": ["configs", "--static", "k.py"],
        "set": ["retune", "--set", "set.json", "-w"],
        "retune": [*RETUNE, "k.py", "-w"],
    }
    assert main(arguments[command]) == 2
    out, err = capfd.readouterr()
    line, *rest = err.splitlines()
    assert out == "" and line.startswith("codegen: k.py: ") and said in line
    assert rest == ([] if "retune" in arguments[command] else ["0 sites in 0 of 1 file"])
    assert Path("k.py").read_bytes() == content


def test_a_folder(tmp_path, capfd):
    assert "is a folder" in refused(capfd, [*RETUNE, str(tmp_path)])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param([], "which GPU is this for?", id="no GPU named"),
        pytest.param(
            ["--gpu", "4009"],
            "unknown GPU '4009': the nearest known are",
            id="a GPU that is not known",
        ),
        pytest.param(
            ["--gpu", "h200", "--inputs", "float32[4"],
            "--inputs: can't read",
            id="inputs that can't be read",
        ),
        pytest.param(
            ["--gpu", "h200", "--problem", "none.py"], "no such file", id="no such problem file"
        ),
        pytest.param(["--gpu", "h200", "--ncu", "none.csv"], "can't be read", id="no such profile"),
        pytest.param(
            ["--gpu", "h200", "--reference", "A @"],
            "no Python expression",
            id="a reference that is no code",
        ),
        pytest.param(
            ["--gpu", "h200", "--num-warps", "3"],
            "--num-warps",
            id="warps that are no power of two",
        ),
        pytest.param(
            ["--gpu", "h200", "--num-stages", "two"], "--num-stages", id="stages that are no number"
        ),
    ],
)
def test_options_that_make_no_sense(tmp_path, capfd, arguments, said):
    path = tmp_path / "k.py"
    path.write_text(SCALE)
    assert said in refused(capfd, ["retune", str(path), *arguments])


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        pytest.param('{"scale_kernel": {"launch__grid_size": 136', "metrics", id="broken JSON"),
        pytest.param(
            '{"other_kernel": {"launch__grid_size": 136}}',
            "the metrics are of other_kernel",
            id="another kernel's",
        ),
        pytest.param("", "empty", id="nothing in it"),
    ],
)
def test_metrics_that_can_not_be_used(tmp_path, capfd, metrics, said):
    profile, path = tmp_path / "ncu.json", tmp_path / "k.py"
    profile.write_text(metrics)
    path.write_text(SCALE)
    assert said in refused(capfd, [*RETUNE, str(path), "--ncu", str(profile)])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(
            ("return scale(x)", "return x"), "launches no autotuned kernel", id="no launch"
        ),
        pytest.param(
            ("assert x.is_cuda", "assert x.dim() == 3"),
            "AssertionError",
            id="inputs the wrapper refuses",
        ),
        pytest.param(("y_ptr + i,", "y_ptr + j,"), "NameError", id="no config compiles"),
        pytest.param(("forward(self, x)", "forward(self, x, y)"), "TypeError", id="too few inputs"),
        pytest.param(("key=[", "kye=["), "TypeError", id="autotune itself refuses"),
    ],
)
def test_code_that_can_not_be_used(tmp_path, capfd, change, said):
    path = tmp_path / "k.py"
    path.write_text(SCALE.replace(*change))
    before = path.read_bytes()
    assert said in refused(capfd, [*RETUNE, str(path), "-w", "--reference", "3 * x"])
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["k.py"]


def test_a_file_whose_configs_are_all_wrong_is_looked_at_and_refused(tmp_path, capfd):
    path = tmp_path / "k.py"
    path.write_text(before := SCALE.replace("x * 2 + x", "x * 2"))
    assert main([*RETUNE, str(path), "-w", "--reference", "3 * x"]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"codegen: {path}: no config gives a right result, so there is nothing")
    assert path.read_text() == before


def test_kernels_that_nothing_launches_are_reported_and_left_alone(tmp_path, capfd):
    path, report = tmp_path / "k.py", tmp_path / "report.json"
    path.write_text(SCALE.replace("class ModelNew", "class Model"))
    before = path.read_bytes()
    assert main([*RETUNE, str(path), "-w", "--json", str(report)]) == 1
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "codegen: " + str(path) + ": no ModelNew launches its kernels" in printed.err
    assert path.read_bytes() == before
    told = json.loads(report.read_text())
    assert told["verdict"]["accepted"] is False
    (site,) = told["sites"]
    assert [config["num_warps"] for config in site["configs"]] and all(
        config["resources"] is None for config in site["configs"]
    )


def test_configs_that_all_return_nothing_but_nan_agree_on_nothing(tmp_path, capfd):
    path = tmp_path / "k.py"
    path.write_text(SCALE.replace("x * 2 + x", "x * float('nan')"))
    assert "nothing but NaN" in refused(capfd, [*RETUNE, str(path)])


def test_two_things_on_standard_output(tmp_path, capfd):
    path = tmp_path / "k.py"
    path.write_text(SCALE)
    assert "--json -" in refused(capfd, [*RETUNE, str(path), "--diff", "--json", "-"])


def test_a_folder_that_is_a_file(tmp_path, capfd):
    path = tmp_path / "k.py"
    path.write_text(SCALE)
    rendering = ["render", "gemm", "--gpu", "h200", "--no-verify", "-o", str(path)]
    assert "can't be made a folder" in refused(capfd, rendering)


def test_configs_that_contradict_each_other_are_refused(tmp_path, capfd):
    path = tmp_path / "k.py"
    path.write_text(SCALE.replace("x * 2 + x", "x * BLOCK"))
    assert "disagree" in refused(capfd, [*RETUNE, str(path)], status=1)


def test_a_place_that_can_not_be_written(tmp_path, capfd):
    path = tmp_path / "k.py"
    path.write_text(SCALE)
    line = refused(capfd, [*RETUNE, str(path), "-o", str(tmp_path / "no" / "such" / "out.py")])
    assert "can't write there" in line
