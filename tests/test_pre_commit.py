"""The hooks for other people's repositories, run by the real pre-commit against a temporary one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import black
import pytest

from codegen.rules import RULES

ROOT = Path(__file__).parents[1]
# All that the hooks are installed from, so that the suite also runs where there is no git clone.
INSTALLED_FROM = ("pyproject.toml", "README.md", "LICENSE", ".pre-commit-hooks.yaml")
FOLDERS = ("codegen", "templates")
PRE_COMMIT = (sys.executable, "-m", "pre_commit")

GOOD = RULES["CG001"].good
BAD = RULES["CG007"].bad

CONFIG = """
repos:
  - repo: {hooks}
    rev: {commit}
    hooks:
      - id: codegen-check
        files: ^kernels/
      - id: codegen-format
        files: ^kernels/
      - id: codegen-render-check
        args: [rendered]
"""


@dataclass(frozen=True)
class Home:
    """Where commands run with no git settings but these, and pre-commit keeps its installations."""

    path: Path

    def run(self, *command: str, cwd: Path, status: int = 0) -> str:
        # A git hook that runs the suite exports its own repository.
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
        settings = {
            "GIT_CONFIG_GLOBAL": str(self.path / "gitconfig"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "PRE_COMMIT_HOME": str(self.path / "pre-commit"),
            "PRE_COMMIT_COLOR": "never",
        }
        done = subprocess.run(
            command, cwd=cwd, env=inherited | settings, capture_output=True, text=True, check=False
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def commit_all(self, repository: Path) -> str:
        self.run("git", "init", "--quiet", cwd=repository)
        self.run("git", "add", "--all", cwd=repository)
        self.run("git", "commit", "--quiet", "--message", "all", cwd=repository)
        return self.run("git", "rev-parse", "HEAD", cwd=repository).strip()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "gitconfig").write_text("[user]\n  name = Test\n  email = test@example.com\n")
    return Home(tmp_path)


@pytest.fixture
def hooks(home: Home) -> Path:
    """A repository of this working tree."""
    hooks = home.path / "hooks"
    hooks.mkdir()
    for name in INSTALLED_FROM:
        shutil.copy(ROOT / name, hooks / name)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, hooks / name, ignore=shutil.ignore_patterns("__pycache__"))
    return hooks


@pytest.mark.timeout(600)  # the packages have to be fetched: a minute, more where the net is slow
def test_hooks_work_in_another_repository(home: Home, hooks: Path) -> None:
    config = CONFIG.format(hooks=hooks, commit=home.commit_all(hooks))
    repository = home.path / "repository"
    kernels = repository / "kernels"
    kernels.mkdir(parents=True)
    (repository / ".pre-commit-config.yaml").write_text(config)
    (repository / "rendered" / "deeper").mkdir(parents=True)
    (repository / "rendered" / "settings.json").write_text("{}\n")  # no record
    (repository / "setup.py").write_text(BAD + "x=1\n")  # not for these hooks
    (kernels / "notes.txt").write_text(BAD)
    (kernels / "good.py").write_text(GOOD)
    (kernels / "bad.py").write_text(BAD)
    (kernels / "unformatted.py").write_text(GOOD.replace("2 * tl", "2*tl"))
    home.commit_all(repository)

    run = (*PRE_COMMIT, "run", "--all-files")
    out = home.run(*run, "codegen-check", cwd=repository, status=1)
    findings = [line.split(" `")[0] for line in out.splitlines() if " CG" in line]
    assert findings == ["kernels/bad.py:24:1: CG007"]

    home.run(*run, "codegen-format", cwd=repository, status=1)
    assert home.run("git", "diff", "--name-only", cwd=repository) == "kernels/unformatted.py\n"
    assert (kernels / "unformatted.py").read_text() == GOOD
    home.run(*run, "codegen-format", cwd=repository)

    (kernels / "bad.py").unlink()
    home.commit_all(repository)
    home.run(*run, cwd=repository)

    # A file rendered from a record stays as it was rendered, and stays.
    kept = ROOT / "generated" / "gemm_tt_float32_rtx_4090.py"
    for path in (kept, kept.with_suffix(".json")):
        shutil.copy(path, repository / "rendered" / "deeper" / path.name)
    home.commit_all(repository)
    home.run(*run, "codegen-render-check", cwd=repository)
    file = repository / "rendered" / "deeper" / kept.name
    file.write_text(kept.read_text().replace("num_warps=8", "num_warps=4"))
    out = home.run(*run, "codegen-render-check", cwd=repository, status=1)
    assert f"rendered/deeper/{kept.name}: differs from what its record renders to" in out
    file.unlink()
    home.run("git", "add", "--all", cwd=repository)
    out = home.run(*run, "codegen-render-check", cwd=repository, status=1)
    assert f"rendered/deeper/{kept.name}: missing" in out

    # Installed are the pinned black and nothing heavy.
    (environment,) = (home.path / "pre-commit").glob("*/py_env-*")
    freeze = (str(environment / "bin" / "python"), "-m", "pip", "list", "--format=freeze")
    installed = home.run(*freeze, cwd=repository).split()
    assert f"black=={black.__version__}" in installed
    assert {"torch", "triton", "numpy"}.isdisjoint(line.partition("==")[0] for line in installed)


def test_manifest_and_own_configuration_are_valid(home: Home) -> None:
    home.run(*PRE_COMMIT, "validate-manifest", ".pre-commit-hooks.yaml", cwd=ROOT)
    home.run(*PRE_COMMIT, "validate-config", ".pre-commit-config.yaml", cwd=ROOT)
