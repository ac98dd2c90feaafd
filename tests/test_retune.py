"""`codegen retune` and `inspect` end to end, with no GPU."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from codegen.cli import main
from codegen.gpu import find_gpu
from codegen.inputs import parse_inputs
from codegen.prompt import read_prompt
from codegen.sites import find_sites
from codegen.toolchain import Compilation, Compiler, UserFile

CASES = Path(__file__).parent / "cases" / "files"
PROMPT = Path(__file__).parent.parent / "docs" / "examples" / "prompt.md"
SCALE = (CASES / "scale.py").read_text()


def retune(tmp_path, path, *options):
    """The retuned code and the report."""
    code, report = tmp_path / "out.py", tmp_path / "out.json"
    assert main(["retune", str(path), "-o", str(code), "--json", str(report), *options]) == 0
    return code.read_bytes(), json.loads(report.read_text())


def knobs(config):
    return (*config["meta"].values(), config["num_warps"], config["num_stages"])


def by_status(site, status):
    return [knobs(config) for config in site["configs"] if config["status"] == status]


def keeps_the_rules(site):
    originals = [config for config in site["configs"] if config["origin"] == "original"]
    for config in site["configs"]:
        if config["status"] == "added":
            near = [o for o in originals if o["meta"] == config["meta"]]
            assert any(abs(o["num_stages"] - config["num_stages"]) <= 1 for o in near)
            assert config["num_warps"] in (2, 4, 8, 16) and config["num_stages"] in (2, 3, 4)
        if config["status"] != "dropped":
            assert config["resources"]["blocks_per_sm"] >= 1
    kept = [config for config in site["configs"] if config["status"] != "dropped"]
    assert 3 <= len(kept) <= 6
    machine_code = [config["resources"]["machine_code"] for config in kept]
    assert len(set(machine_code)) == len(machine_code)


def test_a_config_that_cannot_launch_and_a_profile_of_two(tmp_path, seed, capfd):
    inputs = ("--inputs", "float32[8192,2048] float32[4096,8192]")
    code, report = retune(tmp_path, seed("003"), *inputs)
    (site,) = report["sites"]
    assert report["gpu"] == "NVIDIA GeForce RTX 4090"
    assert by_status(site, "dropped") == [(64, 64, 128, 8, 3)]
    dropped = site["configs"][3]
    assert "131,072 > 101,376 bytes" in dropped["reason"]
    assert dropped["resources"]["shared_bytes"] == 131072
    assert by_status(site, "kept") == [
        (64, 128, 64, 4, 3),
        (128, 64, 64, 4, 3),
        (128, 128, 32, 8, 3),
    ]
    assert [config["resources"]["occupancy_pct"] for config in site["configs"][:3]] == [
        8.33,
        8.33,
        16.67,
    ]
    assert site["profile"]["attributed_to"] == [0, 1]
    assert site["profile"]["bound"] == "too few warps"
    assert report["verdict"] == {"accepted": True, "reason": "verified, not measured"}
    keeps_the_rules(site)

    # What was kept is what was there, byte for byte, and what is written is what is reported.
    original = read_prompt(seed("003").read_text()).code.encode()
    before, after = original.split(b"triton.Config("), code.split(b"triton.Config(")
    assert before[0] == after[0] and before[1:4] == after[1:4]
    (written,) = find_sites(code)
    kept = [knobs(config) for config in site["configs"] if config["status"] != "dropped"]
    assert [(*(v for _, v in c.meta), c.warps, c.stages) for c in written.configs] == kept

    assert main(["check", str(tmp_path / "out.py")]) == 0
    again, _ = retune(tmp_path, tmp_path / "out.py", "--gpu", "rtx-4090", *inputs)
    assert again == code


def test_a_config_that_is_wrong_and_a_profile_of_it(tmp_path, seed, capfd):
    _, report = retune(tmp_path, seed("000"))
    (site,) = report["sites"]
    assert report["inputs"] == {"guessed": ["float32[4096,4096]", "float32[4096,4096]"]}
    assert by_status(site, "dropped") == [(256, 64, 32, 8, 3)]
    dropped = site["configs"][2]
    assert dropped["resources"]["grid"] == 136
    assert dropped["accuracy"]["relative_error"] > 0.1
    assert dropped["accuracy"]["inputs"] in dropped["reason"]
    assert site["profile"]["attributed_to"] == [2]
    assert "wrong result" in site["profile"]["line"]
    keeps_the_rules(site)
    assert main(["check", str(tmp_path / "out.py")]) == 0


def test_the_profile_is_attributed_by_occupancy_where_sizes_are_guessed(tmp_path, seed, capfd):
    report = tmp_path / "out.json"
    assert main(["inspect", str(seed("003")), "--json", str(report)]) == 0
    (one,) = json.loads(report.read_text())["reports"]
    assert "guessed" in one["inputs"]
    assert one["sites"][0]["profile"]["attributed_to"] == [0, 1]


def test_another_gpu_drops_nothing_that_fits_it(tmp_path, seed, capfd):
    _, report = retune(
        tmp_path, seed("003"), "--inputs", "float32[8192,2048] float32[4096,8192]", "--gpu", "h200"
    )
    (site,) = report["sites"]
    assert by_status(site, "dropped") == []
    assert site["profile"] is None
    assert "the prompt's profile is of another GPU: not used" in report["notes"]


def test_the_example_prompt(tmp_path, capfd):
    options = ("--inputs", "float32[8192,4096]", "--reference", "X @ X.T")
    code, report = retune(tmp_path, PROMPT, *options)
    (site,) = report["sites"]
    reasons = {knobs(c): c["reason"] for c in site["configs"] if c["status"] == "dropped"}
    assert "never written, or memory read that nobody wrote" in reasons[128, 64, 32, 4, 4]
    assert "cannot launch: shared memory 262,144 > 232,448 bytes" in reasons[128, 128, 64, 8, 4]
    # Triton 3.6 gives #1 so many registers that it has the same occupancy.
    assert site["profile"]["attributed_to"] in ([2], [1, 2])
    assert b"# wide tiles: fewer loads a flop\n" in code
    keeps_the_rules(site)


def test_write_edits_only_the_code_of_a_prompt(tmp_path, capfd):
    prompt = tmp_path / "p.md"
    before = f"Intro é\r\n\r\n# Current Code\r\n```python\r\n{SCALE}```\r\n# Task\r\ntune"
    prompt.write_bytes(before.encode())
    options = ["--gpu", "rtx-4090", "--inputs", "float32[1000000]", "--max-configs", "2", "-w"]
    assert main(["retune", str(prompt), *options]) == 0
    after = prompt.read_bytes().decode()
    head, tail = before.split(SCALE)
    assert after.startswith(head) and after.endswith(tail) and after != before
    assert after.count("triton.Config(") == 2


def test_a_file_in_place_keeps_its_permissions_and_its_neighbours_import(tmp_path, capfd):
    (tmp_path / "helper.py").write_text("FACTOR = 3\n")
    path = tmp_path / "k.py"
    path.write_text(f"from helper import FACTOR\n{SCALE}")
    path.chmod(0o750)
    options = ["--gpu", "a100-sxm-80gb", "--inputs", "float32[1000000]", "-w"]
    assert main(["retune", str(path), *options]) == 0
    assert path.stat().st_mode & 0o777 == 0o750
    assert sorted(p.name for p in tmp_path.iterdir()) == ["helper.py", "k.py"]
    text = path.read_text()
    assert main(["retune", str(path), *options]) == 0
    assert path.read_text() == text


def test_neighbours_with_the_same_machine_code_are_not_added(tmp_path, capfd):
    path = tmp_path / "k.py"
    path.write_text(SCALE)  # no loop: nothing for num_stages to pipeline
    options = ("--gpu", "rtx-4090", "--inputs", "float32[1000000]")
    code, report = retune(tmp_path, path, *options)
    assert code == SCALE.encode()
    assert {config["status"] for config in report["sites"][0]["configs"]} == {"kept"}
    assert retune(tmp_path, path, *options) == (code, report)


def test_machine_code_is_the_same_wherever_the_file_lies(tmp_path, monkeypatch):
    found = set()
    for name in ("here", "there"):
        # Each compiles anew: from one cache both would get the same answer.
        monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / name / "cache"))
        path = tmp_path / name / "k.py"
        path.parent.mkdir()
        path.write_text(SCALE)
        with Compiler(UserFile("k.py", path), find_gpu("rtx-4090")) as compiler:
            compiler.launches(None, parse_inputs("float32[1000]"))
            (built,) = compiler.compile([Compilation(0, 0, 4, 3)])
            found.add(built.resources.binary)
    assert len(found) == 1


def test_all_versions_of_a_kernel_are_compiled_however_many_sizes_share_one(tmp_path):
    path = tmp_path / "k.py"
    path.write_text(SCALE)
    binaries = []
    for sizes in ((1024,), (1024, 2048, 3072, 4096, 5120, 6144, 7168, 1001)):
        with Compiler(UserFile("k.py", path), find_gpu("rtx-4090")) as compiler:
            for size in sizes:
                compiler.launches(None, parse_inputs(f"float32[{size}]"))
            (built,) = compiler.compile([Compilation(0, 2, 4, 3)])
            binaries.append(built.resources.binary)
    even, both = binaries
    assert even != both


def test_max_configs_keeps_the_best_and_says_which_went(tmp_path, capfd):
    path = tmp_path / "k.py"
    path.write_text(SCALE)
    options = ("--gpu", "rtx-4090", "--inputs", "float32[1000000]", "--max-configs", "2")
    code, report = retune(tmp_path, path, *options)
    (site,) = report["sites"]
    assert len(by_status(site, "kept")) == 2
    (dropped,) = [config for config in site["configs"] if config["status"] == "dropped"]
    assert "--max-configs 2" in dropped["reason"]
    assert len(find_sites(code)[0].configs) == 2


ODD = """\
        triton.Config({"BLOCK": 64}, num_warps=1, num_stages=7),
        triton.Config({"BLOCK": 128}, num_warps=32),
        triton.Config({"BLOCK": 128}),
        triton.Config({"BLOCK": 256}, num_stages=1, num_warps=4 if is_hip() else 2),
        triton.Config({"BLOCK": 256}, num_warps=1, num_stages=6),
        triton.Config({"BLOCK": 512}, num_warps=4, num_stages=5),
        triton.Config({"BLOCK": 1024}, num_warps=16, num_stages=1),
"""


def test_more_originals_than_the_stage_adds_to_are_all_kept_whatever_their_knobs(tmp_path, capfd):
    path = tmp_path / "k.py"
    start, end = SCALE.index("        triton.Config("), SCALE.index("    ],")
    path.write_text(f"{SCALE[:start]}{ODD}{SCALE[end:]}".replace("is_hip()", "False"))
    code, report = retune(tmp_path, path, "--gpu", "rtx-4090", "--inputs", "float32[65536]")
    assert code == path.read_bytes()
    assert len(by_status(report["sites"][0], "kept")) == 7


def test_code_goes_to_standard_output_and_everything_else_does_not(tmp_path, capfd):
    path = tmp_path / "k.py"
    path.write_text(SCALE)
    options = ["--gpu", "rtx-4090", "--inputs", "float32[1000000]"]
    assert main(["retune", str(path), *options]) == 0
    out, err = capfd.readouterr()
    compile(out, "out", "exec")
    assert "scale_kernel (line 7)" in err and "verified, not measured" in err
    assert main(["retune", str(path), *options, "--diff", "--max-configs", "2"]) == 0
    changed = [line for line in capfd.readouterr().out.splitlines() if line[:1] in "+-"][2:]
    assert len(changed) == 1 and changed[0].startswith("-        triton.Config(")


def test_several_gpus_side_by_side(tmp_path, capfd):
    path, report = tmp_path / "k.py", tmp_path / "out.json"
    path.write_text(SCALE)
    gpus = ["--gpu", "rtx-4090", "--gpu", "b200"]
    assert (
        main(["inspect", str(path), *gpus, "--inputs", "float32[1000000]", "--json", str(report)])
        == 0
    )
    out = capfd.readouterr().out
    assert "NVIDIA GeForce RTX 4090" in out and "NVIDIA B200" in out
    assert [one["compute_capability"] for one in json.loads(report.read_text())["reports"]] == [
        "8.9",
        "10.0",
    ]


@pytest.mark.skipif(shutil.which("patch") is None, reason="there is no `patch` here")
def test_in_a_prompt_lines_are_the_prompts_own_and_the_diff_is_a_patch(
    tmp_path, capfd, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    before = f"# Über\r\n\r\n# Current Code\n```python\n{SCALE}```\nAfter\x0cthat,\u2028more\n"
    Path("p.md").write_bytes(before.encode())
    line = before[: before.index("@triton.autotune")].count("\n") + 1
    arguments = ["--gpu", "rtx-4090", "--inputs", "float32[65536]", "--max-configs", "2"]
    assert main(["retune", "p.md", *arguments, "--diff", "--json", "out.json"]) == 0
    out, err = capfd.readouterr()
    assert f"scale_kernel (line {line})" in err
    assert json.loads(Path("out.json").read_text())["sites"][0]["line"] == line

    Path("change.patch").write_bytes(out.encode())
    subprocess.run(["patch", "--binary", "p.md", "change.patch"], check=True, capture_output=True)
    patched = Path("p.md").read_bytes()
    Path("p.md").write_bytes(before.encode())
    assert main(["retune", "p.md", *arguments, "-w"]) == 0
    assert Path("p.md").read_bytes() == patched != before.encode()


def test_code_in_a_prompt_that_fails_is_named_by_the_prompts_lines(tmp_path, capfd):
    path = tmp_path / "p.md"
    path.write_text(f"# Task\n\n# Current Code\n```python\n{SCALE}raise ValueError('no')\n```\n")
    line = path.read_text().split("\n").index("raise ValueError('no')") + 1
    assert main(["retune", str(path), "--gpu", "rtx-4090", "--inputs", "float32[65536]"]) == 2
    assert f"line {line}: ValueError: no" in capfd.readouterr().err


def test_what_a_stage_asks_for_and_does_not_get_is_told(tmp_path, capfd):
    path = tmp_path / "p.md"
    stage = "# Stage\nUse 5-8 configs. You may change the block sizes.\n"
    path.write_text(f"{stage}\n# Current Code\n```python\n{SCALE}```\n")
    _, report = retune(tmp_path, path, "--gpu", "rtx-4090", "--inputs", "float32[65536]")
    assert report["sites"][0]["note"].startswith("the stage asks for 5 configs or more")
    assert any(note.startswith("the stage lets block sizes change") for note in report["notes"])


def test_one_config_that_must_stay_one_gets_no_neighbours(tmp_path, capfd):
    inputs = ("--inputs", "float32[100000]", "--reference", "3 * x", "--gpu", "rtx-4090")
    code, report = retune(tmp_path, CASES / "in_place.py", *inputs)
    written, made, restored = report["sites"]
    assert len(written["configs"]) == len(made["configs"]) == 1 < len(restored["configs"])
    assert written["note"].startswith("none added: it reads and writes y_ptr, and with more")
    assert made["note"].startswith("none added: it accumulates into y_ptr with an atomic, and")
    before, after = (find_sites(text) for text in ((CASES / "in_place.py").read_bytes(), code))
    assert [site.configs for site in before[:2]] == [site.configs for site in after[:2]]


def test_what_triton_makes_of_an_empty_list_is_an_original(tmp_path, capfd):
    path = tmp_path / "empty.py"
    start, end = SCALE.index("[\n"), SCALE.index("    ],") + len("    ]")
    path.write_text(f"{SCALE[:start]}[]{SCALE[end:]}".replace("constexpr", "constexpr = 16384"))
    code, report = retune(tmp_path, path, "--inputs", "float32[65536]", "--gpu", "rtx-4090")
    assert by_status(report["sites"][0], "kept") == [(4, 3)]
    added = by_status(report["sites"][0], "added")
    assert added
    written = [(config.warps, config.stages) for config in find_sites(code)[0].configs]
    assert written == [(4, 3), *added]


def test_max_configs_keeps_no_twin_where_another_kernel_is_left(tmp_path, capfd):
    path = tmp_path / "twins.py"
    twins = "".join(f'triton.Config({{"BLOCK": 512}}, num_stages={n}), ' for n in (2, 3, 4))
    path.write_text(SCALE.replace("# small\n", f"# small\n        {twins}\n"))
    options = ("--gpu", "rtx-4090", "--inputs", "float32[1000000]", "--max-configs", "4")
    _, report = retune(tmp_path, path, *options)
    kept = by_status(report["sites"][0], "kept")
    assert len(kept) == 4 and len({config[:2] for config in kept}) == 4
    gone = [c["reason"] for c in report["sites"][0]["configs"] if c["status"] == "dropped"]
    assert gone == ["beyond --max-configs 4: the same machine code as #1"] * 2
