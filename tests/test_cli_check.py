"""`codegen check`: which files it looks at, what it prints, its exit status."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from codegen.cli import main
from codegen.rules import RULES, explain

GOOD = RULES["CG001"].good
BAD = RULES["CG006"].bad
BOTH = GOOD.replace("import torch\n", "import torch\nimport math\n") + "\nprint(math.pi)\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(*paths: str, source: str = BAD) -> None:
    for path in map(Path, paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)


def found(out: str) -> list[str]:
    return [line.split(" ")[0] for line in out.splitlines()]


def test_good_file_prints_nothing_but_a_summary(capsys) -> None:
    write("good.py", source=GOOD)
    assert main(["check", "good.py"]) == 0
    assert capsys.readouterr() == ("", "1 file checked: 0 findings\n")


def test_finding_is_printed_as_linters_do(capsys) -> None:
    write("bad.py")
    assert main(["check", "bad.py"]) == 1
    out, err = capsys.readouterr()
    message = "this statement is no import, kernel, wrapper, constant or class ModelNew"
    assert out == f"bad.py:24:1: CG006 {message}\n"
    assert err == "1 file checked: 1 finding\n"


def test_quiet_leaves_the_summary_out(capsys) -> None:
    write("bad.py")
    assert main(["check", "-q", "bad.py"]) == 1
    assert capsys.readouterr().err == ""


def test_folder_is_searched_for_kernels_once_each_in_order(capsys) -> None:
    write("b.py", "a/deep/er/k.py", "a/z.py", "a-b.py", "notes.txt", "a/k.pyi")
    assert main(["check", ".", "a", "./b.py"]) == 1
    out = capsys.readouterr().out
    assert found(out) == ["a-b.py:24:1:", "a/deep/er/k.py:24:1:", "a/z.py:24:1:", "b.py:24:1:"]


def test_hidden_folders_and_environments_are_skipped_unless_named(capsys) -> None:
    write(".git/k.py", ".venv/k.py", "env/lib/k.py", "env/pyvenv.cfg", "k.py", ".hidden.py")
    assert main(["check", "."]) == 1
    assert found(capsys.readouterr().out) == [".hidden.py:24:1:", "k.py:24:1:"]
    assert main(["check", "env", ".git/k.py"]) == 1
    assert found(capsys.readouterr().out) == [".git/k.py:24:1:", "env/lib/k.py:24:1:"]


def test_folder_without_kernels_is_clean(capsys) -> None:
    assert main(["check", "."]) == 0
    assert capsys.readouterr().err == "0 files checked: 0 findings\n"


def test_only_regular_files_of_a_folder_are_opened(here: Path) -> None:
    os.mkfifo(here / "pipe.py")
    (here / "folder.py").mkdir()
    (here / "dangling.py").symlink_to("nowhere")
    assert main(["check", "."]) == 0


def test_file_of_any_name_is_checked_if_named(capsys) -> None:
    write("kernel.txt")
    assert main(["check", "kernel.txt"]) == 1
    assert found(capsys.readouterr().out) == ["kernel.txt:24:1:"]


def test_dash_is_standard_input(capsys, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(BAD.encode())))
    assert main(["check", "-"]) == 1
    assert found(capsys.readouterr().out) == ["<stdin>:24:1:"]


def test_unreadable_file_is_named_and_the_others_are_checked(capsys) -> None:
    write("bad.py")
    assert main(["check", "gone.py", "bad.py"]) == 2
    out, err = capsys.readouterr()
    assert found(out) == ["bad.py:24:1:"]
    assert err == "codegen: gone.py: No such file or directory\n1 file checked: 1 finding\n"


def test_name_that_is_no_text_is_printed_all_the_same(here: Path) -> None:
    import subprocess

    (here / os.fsdecode(b"caf\xe9.py")).write_text(BAD)
    done = subprocess.run(
        [sys.executable, "-m", "codegen", "check", "."],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("caf\\udce9.py:24:1: CG006")


SELECTIONS = {
    "all": ([], {"CG002", "CG006"}),
    "one": (["--select", "CG006"], {"CG006"}),
    "two in one list": (["--select", "CG002, cg006"], {"CG002", "CG006"}),
    "two options": (["--select", "CG002", "--select", "CG006"], {"CG002", "CG006"}),
    "a beginning": (["--select", "CG"], {"CG002", "CG006"}),
    "all but one": (["--ignore", "CG006"], {"CG002"}),
    "a selection but one": (["--select", "CG00", "--ignore", "CG002"], {"CG006"}),
    "what is not there": (["--select", "CG009"], set()),
}


@pytest.mark.parametrize(("options", "expected"), SELECTIONS.values(), ids=list(SELECTIONS))
def test_selection(options: list[str], expected: set[str], capsys) -> None:
    write("both.py", source=BOTH)
    assert main(["check", *options, "both.py"]) == bool(expected)
    assert {line.split()[1] for line in capsys.readouterr().out.splitlines()} == expected


@pytest.mark.parametrize("option", ["--select", "--ignore", "--explain"])
@pytest.mark.parametrize("code", ["CG999", "E501", "CG001,", "1"])
def test_unknown_rule_is_refused(option: str, code: str, capsys) -> None:
    write("good.py", source=GOOD)
    assert main(["check", option, code, "good.py"]) == 2
    assert "the rules are CG000 to CG011" in capsys.readouterr().err


def test_file_that_is_not_python_is_reported_whatever_is_selected(capsys) -> None:
    write("bad.py", source="def f(:\n")
    assert main(["check", "--select", "CG001", "--ignore", "CG000", "bad.py"]) == 1
    assert "CG000 not Python: " in capsys.readouterr().out


def test_json_holds_every_field(capsys) -> None:
    write("bad.py")
    assert main(["check", "--output-format", "json", "bad.py"]) == 1
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry.pop("message").startswith("this statement is")
    assert entry == {
        "path": "bad.py",
        "line": 24,
        "column": 1,
        "code": "CG006",
        "rule": "stray-code",
    }


def test_json_of_nothing_is_an_empty_list(capsys) -> None:
    write("good.py", source=GOOD)
    assert main(["check", "--output-format", "json", "good.py"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_github_annotations_are_escaped(capsys) -> None:
    write("100%,\nbad.py")
    assert main(["check", "--output-format", "github", "."]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(
        "::error title=codegen CG006,file=100%25%2C%0Abad.py,line=24,col=1::100%25,%0Abad.py:24:1: CG006 "
    )


@pytest.mark.parametrize("code", ["CG003", "cg003"])
def test_explain_prints_the_rule(code: str, capsys) -> None:
    assert main(["check", "--explain", code]) == 0
    assert capsys.readouterr() == (explain(RULES["CG003"]), "")
