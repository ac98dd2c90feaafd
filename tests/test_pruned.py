"""Configs that a file's own `early_config_prune` removes: where it does nothing is said of them."""

from __future__ import annotations

import json

import pytest
from accept_cases import FOLDER

from codegen.cli import main
from codegen.gpu import find_gpu
from codegen.inputs import parse_inputs
from codegen.outcome import PRUNED, Rejected
from codegen.sites import find_sites
from codegen.toolchain import Built, Compilation, Compiler, UserFile

PATH = FOLDER / "pruned" / "softmax_of_rows.py"
CODE = PATH.read_text()
TERMS = ["--gpu", "h200", "--inputs", "float32[40,100]", "--reference", "torch.softmax(x, 1)"]


def test_retune_keeps_what_is_pruned_and_judges_the_rest(tmp_path, capfd):
    out, report = tmp_path / "out.py", tmp_path / "out.json"
    assert main(["retune", str(PATH), *TERMS, "-o", str(out), "--json", str(report)]) == 0
    written = json.loads(report.read_text())
    (site,) = written["sites"]
    assert find_sites(out.read_bytes())[0].configs[:4] == find_sites(PATH.read_bytes())[0].configs
    assert [row["status"] for row in site["configs"][:4]] == ["kept"] * 4
    assert [PRUNED in row["reason"] for row in site["configs"]][:4] == [True, True, False, False]
    assert [row["accuracy"] is None for row in site["configs"]][:4] == [True, True, False, False]
    assert written["verdict"]["reason"] == "verified, not measured"


def test_a_config_that_is_wrong_where_it_stands_is_dropped_all_the_same(tmp_path, capfd):
    path, report = tmp_path / "k.py", tmp_path / "out.json"
    path.write_text(CODE.replace("mask=i < n)", "mask=(i < n) & ((BLOCK != 256) | (i != 3)))"))
    assert main(["retune", str(path), *TERMS, "-w", "--json", str(report)]) == 0
    (site,) = json.loads(report.read_text())["sites"]
    statuses = [row["status"] for row in site["configs"]]
    assert statuses[:4] == ["kept", "kept", "kept", "dropped"]


def test_accept_holds_no_pruned_config_against_the_file(tmp_path, capfd):
    path, evidence = tmp_path / "k.py", tmp_path / "e.json"
    path.write_text(CODE)
    html = tmp_path / "e.html"
    files = ["--json", str(evidence), "--html", str(html)]
    assert main(["accept", str(path), *TERMS, "--no-measure", *files]) == 0
    said = capfd.readouterr().err
    assert f"#0 kept: original; {PRUNED}" in said
    assert "#1 kept: original; pruned by prune_configs_by at the given sizes\n" in said
    assert html.read_text().count(PRUNED) == 1
    entries = json.loads(evidence.read_text())["candidate"]["entries"]
    refused = [[f["refused"] for f in entry["checkup"]["findings"]] for entry in entries]
    # On 100 columns, on 17, and on 100 with NaN among the values.
    assert refused == [[PRUNED] * 3, [PRUNED, None, PRUNED], [None] * 3, [None] * 3]


def test_a_config_that_stands_at_one_of_two_launches_is_judged_there(tmp_path, capfd):
    path, report = tmp_path / "k.py", tmp_path / "out.json"
    both = "        if n == 100:\n            y[:, :50] = self.forward(x[:, :50].contiguous())\n        return y\n"
    path.write_text(CODE.replace("        return y\n", both))
    reference = "torch.cat([torch.softmax(x[:, :50], 1), torch.softmax(x, 1)[:, 50:]], 1)"
    terms = [*TERMS[:-1], reference, "--json", str(report)]
    assert main(["retune", str(path), "-w", *terms]) == 0
    (site,) = json.loads(report.read_text())["sites"]
    assert [row["status"] for row in site["configs"]][:4] == ["kept"] * 4
    assert [row["accuracy"] is None for row in site["configs"]][:4] == [True, False, False, False]
    assert [row["resources"] is None for row in site["configs"]][:4] == [True, False, False, False]


@pytest.fixture(scope="module")
def compiler():
    with Compiler(UserFile("k.py", PATH), find_gpu("h200")) as compiler:
        compiler.launches(None, parse_inputs("float32[40,100]"))
        yield compiler


@pytest.mark.parametrize(
    ("config", "warps", "stages", "pruned"),
    [
        pytest.param(0, 1, 2, True, id="an original that is pruned"),
        pytest.param(0, 2, 2, True, id="its neighbour"),
        pytest.param(2, 4, 3, False, id="an original that stands"),
        pytest.param(2, 8, 3, False, id="its neighbour that stands too"),
        pytest.param(2, 4, 4, True, id="its neighbour that is pruned"),
    ],
)
def test_what_is_pruned_is_not_compiled(compiler, config, warps, stages, pruned):
    (built,) = compiler.compile([Compilation(0, config, warps, stages)])
    assert built == Rejected("prune", PRUNED) if pruned else isinstance(built, Built)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param('named_args["m"]', "line 14: KeyError: 'm'", id="raises"),
        pytest.param("[]", "kernel: early_config_prune leaves no config", id="leaves none"),
        pytest.param(
            "[triton.Config({'BLOCK': 1024})]",
            "kernel: early_config_prune leaves configs that are not in the list",
            id="makes its own",
        ),
    ],
)
def test_a_prune_function_that_fails_is_named_in_one_line(tmp_path, capfd, body, said):
    path = tmp_path / "k.py"
    path.write_text(CODE.replace("    wide = [", f"    return {body}\n    wide = ["))
    assert main(["retune", str(path), *TERMS]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.endswith(said)
