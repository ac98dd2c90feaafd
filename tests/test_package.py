"""The package: what its wheel and sdist hold, and that imports between its modules go one way."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import black
import pytest

import codegen

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

# A module imports from its own floor and below. A new module finds its place here.
FLOORS = {
    "data": "closing config gpu interface outcome problem spec stage rules",
    "pure": """
        axes benchmark cases constructor counters cover dossier effects entries evaluate evidence families
        fingerprint float32_grade forms gemm gemm_configs gemm_sliced gemm_split gemm_times gemm_view graph hazard imports
        inputs interchange
        journal judge limits ncu occupancy operands order page picture places precision profile prompt prompt_gpu
        propose rank
        recognize record render rewrite roofline scoreboard sections sites slices source spelling static.configs
        static.expressions static.known static.platforms static.scopes static.statements
        static.surroundings static.values targets tolerance trimm trimm_configs trimm_split wire work writing
    """,
    "toolchain": """
        build child devices examine failure fitting forced gauge guard here interpret journaled launch load local_gpu
        measure noting nsight on_gpu patched pretend products reference repair replay sensors spelled_out subjects timing toolchain trace
        tracing trial unrounded verify warm watch worker
        workload
    """,
    "shell": """
        __main__ accept accept_command ahead bench_command benches cli contest final gpu_table job keep lint listing measured
        pipeline present profile_command profile_text profiling question render_check render_command report results rows search
        side_by_side stand_in steps sweep
        tune tune_command write
    """,
}
FLOOR = {name: floor for floor, names in enumerate(FLOORS.values()) for name in names.split()}
TOOLCHAIN = {"torch", "triton", "numpy"}


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it: `codegen.gpu`, `torch`, ..."""
    found = set()
    for node in _running(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "codegen":
            found |= {f"codegen.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


PACKAGE = ROOT / "codegen"


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those under `if TYPE_CHECKING`, which never run."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from _running(child)


MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): imports(path)
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py"
}
OWN = {
    name: {m.removeprefix("codegen.") for m in found if m.startswith("codegen.")} & set(MODULES)
    for name, found in MODULES.items()
}


def test_every_module_has_a_floor() -> None:
    assert sorted(FLOOR) == sorted(OWN)


@pytest.mark.parametrize("name", FLOOR)
def test_imports_go_down(name: str) -> None:
    assert [other for other in OWN[name] if FLOOR.get(other, 0) > FLOOR[name]] == []


def test_imports_never_go_round() -> None:
    TopologicalSorter(OWN).prepare()


@pytest.mark.parametrize("name", [name for name, floor in FLOOR.items() if floor < 2])
def test_lower_floors_know_no_toolchain(name: str) -> None:
    assert {module.partition(".")[0] for module in MODULES[name]}.isdisjoint(TOOLCHAIN)


def test_version_is_stated_once_more_and_the_same() -> None:
    assert PROJECT["version"] == codegen.__version__


def test_black_is_the_one_that_is_pinned() -> None:
    assert f"black=={black.__version__}" in PROJECT["dependencies"]


def build(target: str, project: Path, folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.iterdir()
    return built


def packaged(folder: Path, under: str) -> set[str]:
    """The files of a folder as the wheel is to hold them, below `under`."""
    return {
        f"{under}/{path.relative_to(folder)}"
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in {".pyc", ".pyo"}
    }


def test_wheel_holds_the_package_and_its_data_and_works_where_it_is_put(tmp_path: Path) -> None:
    with zipfile.ZipFile(build("wheel", ROOT, tmp_path / "wheel")) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
        wheel.extractall(tmp_path / "site")
    templates = packaged(ROOT / "templates", "codegen/templates")
    assert "codegen/templates/base.py.jinja" in templates
    assert {"codegen/py.typed", "codegen/gpus.toml"} <= held
    assert held == packaged(ROOT / "codegen", "codegen") | templates

    program = (
        "import codegen, codegen.cli, codegen.render as render; print(codegen.__file__);"
        "print(render.template_dir()); raise SystemExit(codegen.cli.main(['gpus']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path / "site",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    where, templates_are, *gpus = done.stdout.splitlines()
    assert Path(where) == tmp_path / "site/codegen/__init__.py"
    assert Path(templates_are) == tmp_path / "site/codegen/templates"
    assert any(line.startswith("rtx-4090") for line in gpus)


def test_sdist_makes_the_same_wheel(tmp_path: Path) -> None:
    shutil.unpack_archive(build("sdist", ROOT, tmp_path / "sdist"), tmp_path)
    (unpacked,) = tmp_path.glob("triton_codegen-*")
    assert (unpacked / "tests" / Path(__file__).name).exists()
    with (
        zipfile.ZipFile(build("wheel", unpacked, tmp_path / "from-sdist")) as from_sdist,
        zipfile.ZipFile(build("wheel", ROOT, tmp_path / "from-tree")) as from_tree,
    ):
        assert sorted(from_sdist.namelist()) == sorted(from_tree.namelist())


MISSING = {
    "no Python": ("exit 127", "codegen needs Python 3.11 or newer"),
    "an old Python": ('case "$2" in *version*) exit 1; esac', "codegen needs Python 3.11 or newer"),
    "no venv module": ('case "$2" in *ensurepip*) exit 1; esac', "apt-get install python3-venv"),
}


@pytest.mark.parametrize(("script", "said"), MISSING.values(), ids=list(MISSING))
def test_set_up_says_what_is_missing(script: str, said: str, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    command = ["make", "setup", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert said in done.stderr
    assert not (tmp_path / "venv").exists()
