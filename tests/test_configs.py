"""`codegen configs`, `retune --set` and `retune --launch`: files whose configs are made elsewhere, and libraries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codegen.cli import main
from codegen.config import Config, Source
from codegen.interchange import config_from_json, config_to_json, read_sets
from codegen.outcome import BadInput

CASES = Path(__file__).parent / "cases" / "files"
LIBRARY = (CASES / "library.py").read_text()


@pytest.fixture
def library(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("library.py").write_text(LIBRARY)
    return Path("library.py")


def listed(capfd, *options):
    status = main(["configs", "--json", *options])
    out, err = capfd.readouterr()
    return status, json.loads(out)["files"], err


def test_what_the_source_settles_is_read_from_it_and_the_rest_from_the_live_kernel(library, capfd):
    status, (file,), err = listed(capfd, ".")
    assert status == 0
    triple, double = file["sites"]
    assert (triple["kernel"], triple["form"], triple["read_from"]) == (
        "triple_kernel",
        "factory in this file",
        "live",
    )
    assert [(c["meta"], c["num_warps"], c["num_stages"]) for c in triple["configs"]] == [
        ({"BLOCK": 128}, 4, 3),
        ({"BLOCK": 256}, 4, 3),
    ]
    assert (double["form"], double["read_from"], len(double["configs"])) == (
        "comprehension",
        "source",
        4,
    )
    assert double["configs"][0] == {
        "meta": {"BLOCK": 64},
        "num_warps": 2,
        "num_stages": None,
        "extra": {},
    }
    assert err == "2 sites in 1 of 1 file: 1 factory in this file, 1 comprehension\n"


def test_static_imports_nothing_and_says_what_is_not_known(library, capfd):
    library.write_text(LIBRARY + "\nraise SystemExit('imported')\n")
    _, (file,), _ = listed(capfd, "--static", "library.py")
    assert file["sites"][0]["configs"] is None
    assert "os.environ" in file["sites"][0]["why_not"]
    assert main(["configs", "library.py"]) == 0
    assert "calls sys.exit('imported')" in capfd.readouterr().out


def test_a_file_that_can_not_be_read_does_not_hide_the_others(library, capfd):
    Path("broken.py").write_text("autotune(\n")
    status, files, err = listed(capfd, "--static", ".")
    assert status == 2
    assert [len(file["sites"]) for file in files] == [0, 2]
    assert "broken.py: line 1" in err


def test_a_module_of_a_package_is_imported_within_it(library, capfd):
    Path("pkg").mkdir()
    Path("pkg/__init__.py").touch()
    Path("pkg/sizes.py").write_text("BLOCKS = [32, 64, 128]\n")
    start = LIBRARY.index("BLOCKS = ")
    end = LIBRARY.index("\n", start)
    Path("pkg/library.py").write_text(LIBRARY[:start] + "from .sizes import BLOCKS" + LIBRARY[end:])
    _, files, _ = listed(capfd, "pkg")
    triple, _ = next(file["sites"] for file in files if file["path"].endswith("library.py"))
    assert [config["meta"]["BLOCK"] for config in triple["configs"]] == [32, 64, 128]


def test_setting_what_was_listed_changes_nothing(library, capfd):
    _, files, _ = listed(capfd, ".")
    assert [site["read_from"] for site in files[0]["sites"]] == ["live", "source"]
    Path("set.json").write_text(json.dumps({"files": files}))
    assert main(["retune", "--set", "set.json", "-w"]) == 0
    assert library.read_text() == LIBRARY
    assert capfd.readouterr().err == ""


def test_a_changed_list_is_written_and_a_second_run_changes_nothing(library, capfd):
    _, files, _ = listed(capfd, ".")
    first, second = (site["configs"] for site in files[0]["sites"])
    first[0]["num_warps"] = 8
    Path("set.json").write_text(json.dumps({"files": files}))
    assert main(["retune", "--set", "set.json", "-w", "--json", "out.json"]) == 0
    _, again, _ = listed(capfd, ".", "--static")
    assert [site["configs"] for site in again[0]["sites"]] == [first, second]
    assert again[0]["sites"][1]["form"] == "comprehension"
    assert json.loads(Path("out.json").read_text()) == {
        "reports": [
            {
                "file": "library.py",
                "sites": [
                    {"kernel": "triple_kernel", "line": 18, "configs": 2, "changed": True},
                    {"kernel": "double_kernel", "line": 26, "configs": 4, "changed": False},
                ],
                "left_behind": [{"line": 11, "name": "make"}],
            }
        ]
    }

    changed = library.read_bytes()
    assert main(["retune", "--set", "set.json", "-w"]) == 0
    assert library.read_bytes() == changed


NAMESAKES = """
import triton
from project import MODERN

if MODERN:
    @triton.autotune([triton.Config({"B": b}) for b in (1, 2)], ["n"])
    @triton.jit
    def kernel(n, B): pass
else:
    @triton.autotune([triton.Config({"B": b}) for b in (3, 4)], ["n"])
    @triton.jit
    def kernel(n, B): pass
"""


def test_namesakes_are_told_apart_after_their_lines_have_moved(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    Path("two.py").write_text(NAMESAKES)
    _, files, _ = listed(capfd, "--static", "two.py")
    for site in files[0]["sites"]:
        del site["configs"][0]
    Path("set.json").write_text(json.dumps({"files": files}))
    assert main(["retune", "--set", "set.json", "-w", "./two.py"]) == 0
    once = Path("two.py").read_bytes()
    _, again, _ = listed(capfd, "--static", "two.py")
    assert [s["configs"] for s in again[0]["sites"]] == [s["configs"] for s in files[0]["sites"]]
    assert main(["retune", "--set", "set.json", "-w"]) == 0
    assert Path("two.py").read_bytes() == once


def test_one_site_s_trouble_does_not_hold_up_other_files(library, capfd):
    Path("other.py").write_text(LIBRARY)
    one = [{"meta": {"BLOCK": 64}}]
    wrong = [{"meta": {"BLOCK": {"source": "NOWHERE"}}}]
    files = [
        {"path": path, "sites": [{"kernel": "double_kernel", "configs": configs}]}
        for path, configs in (("library.py", wrong), ("other.py", one), ("none.py", one))
    ]
    Path("set.json").write_text(json.dumps({"files": files}))
    assert main(["retune", "--set", "set.json", "-w", "--json", "out.json"]) == 2
    assert library.read_text() == LIBRARY != Path("other.py").read_text()
    reports = json.loads(Path("out.json").read_text())["reports"]
    assert [one["file"] for one in reports] == ["library.py", "other.py", "none.py"]
    assert "nothing in the file binds `NOWHERE`" in reports[0]["failure"]
    assert reports[1]["sites"][0]["changed"]


def test_set_says_what_it_leaves_behind(library, capfd):
    sites = [{"kernel": "triple_kernel", "configs": [{"meta": {"BLOCK": 64}}]}]
    Path("set.json").write_text(json.dumps({"files": [{"path": "library.py", "sites": sites}]}))
    assert main(["retune", "--set", "set.json", "--diff"]) == 0
    first, *rest = capfd.readouterr().err.splitlines()
    assert first.endswith("triple_kernel: set to 1 config, not verified")
    assert [line.split(": ", 1)[1] for line in rest] == [
        "make is no longer read: remove it if nothing else needs it"
    ]


def test_set_changes_only_the_named_site(library, capfd):
    configs = [{"meta": {"BLOCK": 512}, "num_warps": 8, "num_stages": 2}]
    configs.append(
        {"meta": {"BLOCK": {"source": "BLOCKS[0]"}}, "num_warps": None, "extra": {"num_ctas": "1"}}
    )
    sites = [{"kernel": "double_kernel", "configs": configs}]
    Path("set.json").write_text(json.dumps({"files": [{"path": "library.py", "sites": sites}]}))
    assert main(["retune", "--set", "set.json", "--diff"]) == 0
    added = [
        line
        for line in capfd.readouterr().out.splitlines()
        if line.lstrip("+ ").startswith("triton.Config(") and line.startswith("+")
    ]
    assert [line.strip("+ ,") for line in added] == [
        'triton.Config({"BLOCK": 512}, num_warps=8, num_stages=2)',
        'triton.Config({"BLOCK": BLOCKS[0]}, num_ctas=1)',
    ]
    assert library.read_text() == LIBRARY


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("{", "not JSON"),
        ("[]", "expected an object with 'files'"),
        ('{"files": 3}', "files: expected a list"),
        ('{"files": [{"path": "k.py"}]}', "files[0]: expected an object with 'sites'"),
    ],
)
def test_a_set_that_can_not_be_read_says_where(data, said):
    with pytest.raises(BadInput) as caught:
        read_sets(data)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "expected an object with 'meta'"),
        ({"meta": []}, "meta: expected an object"),
        ({"meta": {"A B": 1}}, "no name of a parameter"),
        ({"meta": {"A": [1]}}, "c.meta.A: expected a number"),
        ({"meta": {}, "num_warps": True}, "c.num_warps: expected a whole number"),
        ({"meta": {}, "num_warps": 1.5}, "c.num_warps: expected a whole number"),
        ({"meta": {}, "num_stages": -1}, "c.num_stages: expected a whole number"),
        ({"meta": {}, "num_ctas": 2}, "unknown 'num_ctas'"),
        ({"meta": {}, "extra": {"pre_hook": "a b"}}, "no Python expression"),
        ({"meta": {"A": {"source": "("}}}, "no Python expression"),
    ],
)
def test_a_config_that_can_not_be_read_says_where(config, said):
    with pytest.raises(BadInput) as caught:
        config_from_json(config, "c")
    assert said in str(caught.value)


def test_configs_survive_json():
    config = Config(
        (("A", 1), ("B", Source("x + 1")), ("C", "s"), ("D", None)),
        Source("w()"),
        0,
        (("pre_hook", "h"),),
    )
    assert config_from_json(json.loads(json.dumps(config_to_json(config))), "c") == config


@pytest.mark.parametrize(
    ("sites", "said"),
    [
        ([{"kernel": "no_kernel", "configs": []}], "no_kernel: no autotune site of that name"),
        ([{"kernel": "double_kernel", "configs": []}] * 2, "names 2 autotune site(s) of that name"),
    ],
)
def test_a_set_for_what_is_not_there_is_refused(library, capfd, sites, said):
    Path("set.json").write_text(json.dumps({"files": [{"path": "library.py", "sites": sites}]}))
    assert main(["retune", "--set", "set.json", "-w"]) == 2
    assert said in capfd.readouterr().err
    assert library.read_text() == LIBRARY


CHOSEN = """
import triton
import triton.language as tl
from project import IS_HOPPER


@triton.autotune(configs=[triton.Config({"BLOCK": b}) for b in ([64] if IS_HOPPER else [32, 64])], key=["n"])
@triton.jit
def twice_kernel(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + offsets, 2 * tl.load(x_ptr + offsets, offsets < n), offsets < n)


def twice(x):
    y = x.new_empty(x.shape)
    twice_kernel[lambda meta: (triton.cdiv(x.numel(), meta["BLOCK"]),)](x, y, x.numel())
    return y
"""


def test_a_refusal_is_in_the_report_too(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    Path("project.py").write_text("IS_HOPPER = False\n")
    Path("chosen.py").write_text(CHOSEN)
    Path("run.py").write_text(
        "import torch, chosen\nchosen.twice(torch.ones(1000, device='cuda'))\n"
    )
    arguments = ["--launch", "run.py", "--gpu", "rtx-4090", "-w", "--json", "out.json"]
    assert main(["retune", "chosen.py", *arguments]) == 1
    said = capfd.readouterr().err
    assert (
        "chosen.py:7: which configs there are depends on more than this file: line 7: `IS_HOPPER`"
        in said
    )
    report = json.loads(Path("out.json").read_text())
    assert report["verdict"] == {
        "accepted": False,
        "reason": said.strip().removeprefix("codegen: "),
    }
    assert Path("chosen.py").read_text() == CHOSEN


TEST = """
import pytest, torch, library

@pytest.mark.parametrize("n", [1000, 100000])
def test_six_times(n):
    x = torch.randn(n, device="cuda")
    torch.testing.assert_close(library.six_times(x), 6 * x)
"""


@pytest.mark.parametrize(
    "command",
    ["pytest -q test_library.py -k 100000", "python -m pytest test_library.py", "run.py 7"],
)
def test_a_run_of_the_users_own_is_recorded(library, capfd, command):
    Path("test_library.py").write_text(TEST)
    Path("run.py").write_text(
        "import sys, torch, library\nassert sys.argv[1:] == ['7']\nlibrary.six_times(torch.ones(100000, device='cuda'))"
    )
    arguments = [
        "retune",
        "library.py",
        "--launch",
        command,
        "--gpu",
        "rtx-4090",
        "--json",
        "out.json",
        "-o",
        "out.py",
    ]
    assert main(arguments) == 0
    report = json.loads(Path("out.json").read_text())
    assert [site["kernel"] for site in report["sites"]] == ["triple_kernel", "double_kernel"]
    assert all(config["resources"] for site in report["sites"] for config in site["configs"])
    assert report["verdict"]["reason"].startswith("fits the GPU, not verified")
    assert Path("out.py").read_text() == LIBRARY


@pytest.mark.parametrize("ci", ["", "true"])  # pytest's summary is another on a CI machine
def test_a_run_that_fails_is_reported_with_what_it_said(library, capfd, monkeypatch, ci):
    monkeypatch.setenv("CI", ci)
    monkeypatch.delenv("BUILD_NUMBER", raising=False)
    Path("test_library.py").write_text(TEST.replace("6 * x", "5 * x + 1").replace("1000, ", ""))
    arguments = ["--launch", "pytest -q test_library.py", "--gpu", "rtx-4090", "--diff"]
    assert main(["retune", "library.py", *arguments]) == 0
    (said,) = [line for line in capfd.readouterr().err.splitlines() if "ended early" in line]
    assert said.startswith("the run ended early: exit status 1: ")
    assert "FAILED test_library.py::test_six_times[100000]" in said and "1 failed" in said


def test_a_run_that_launches_nothing_is_reported_with_how_it_ended(library, capfd):
    Path("run.py").write_text("raise ValueError('no')")
    assert main(["retune", "library.py", "--launch", "run.py", "--gpu", "rtx-4090"]) == 2
    assert "the run launches no autotuned kernel" in (said := capfd.readouterr().err)
    assert "ValueError: no" in said


def test_a_library_without_a_run_says_what_to_do(library, capfd):
    assert main(["retune", "library.py", "--gpu", "rtx-4090"]) == 1
    assert "--launch" in capfd.readouterr().err


def test_a_file_that_is_named_must_be_python(tmp_path, capfd):
    (path := tmp_path / "broken.py").write_text("x = (\n")
    assert main(["configs", str(path)]) == 2
    assert f"codegen: {path}: " in capfd.readouterr().err
    assert (
        main(["configs", str(tmp_path)]) == 0
    )  # in a tree what says nothing of autotune is passed by


def test_several_files_get_one_report(library, capfd):
    scale = (CASES / "scale.py").read_text()
    for name in ("a.py", "b.py"):
        Path(name).write_text(scale)
    Path("c.py").write_text("x = 1\n")
    options = [
        "--gpu",
        "rtx-4090",
        "--inputs",
        "float32[65536]",
        "--max-configs",
        "2",
        "--json",
        "out.json",
    ]
    assert main(["retune", "a.py", "b.py", "c.py", "-w", *options]) == 2
    assert "c.py: no @triton.autotune" in capfd.readouterr().err
    assert Path("a.py").read_text() == Path("b.py").read_text() != scale
    assert [one["file"] for one in json.loads(Path("out.json").read_text())["reports"]] == [
        "a.py",
        "b.py",
    ]


def test_a_file_that_was_listed_without_sites_stays_as_it_is(library, capfd):
    Path("tuning.py").write_text("BLOCKS = (64, 128)\n")
    listed_files = {"files": listed(capfd, "library.py", "tuning.py")[1]}
    assert [len(file["sites"]) for file in listed_files["files"]] == [2, 0]
    Path("set.json").write_text(json.dumps(listed_files))
    for named in ((), ("library.py", "tuning.py")):
        assert main(["retune", "--set", "set.json", "-w", *named]) == 0
    assert Path("tuning.py").read_text() == "BLOCKS = (64, 128)\n"
    assert library.read_text() == LIBRARY
