"""What is compiled ahead of timing: the configs that fit, what else a call launches, and nothing twice."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from codegen import ahead, build
from codegen.ahead import Ahead, compile_file, settled
from codegen.fitting import settle
from codegen.gpu import find_gpu
from codegen.outcome import BadInput, Resources
from codegen.problem import Problem
from codegen.render import choose, render
from codegen.toolchain import Built

H200 = find_gpu("h200")
SPLIT = Problem(
    "gemm", 512, 512, 512, precision="fp16"
)  # launches two kernels that are not autotuned


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Lists of one, and a cache of Triton's own that is empty."""
    for limit in ("MIN_CONFIGS", "MAX_CONFIGS"):
        monkeypatch.setattr(f"codegen.render.{limit}", 1)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_was_compiled_ahead_is_found_again(few, monkeypatch, tmp_path):
    """By another process and in another file, to the last kernel."""
    monkeypatch.setattr(ahead, "_CHILDS", 1)
    with Ahead(H200) as workers:
        found = workers.submit(partial(settled, SPLIT, H200)).result()
    kernels = {path.stem for path in few.rglob("*.cubin")}
    assert kernels == {"split_kernel", "gemm_parts_kernel"}
    compiled = sorted(few.rglob("*.cubin"))
    path = tmp_path / "elsewhere.py"
    path.write_text(render(SPLIT, H200, found))
    with Ahead(H200) as workers:
        workers.submit(partial(compile_file, path, SPLIT)).result()
    assert sorted(few.rglob("*.cubin")) == compiled


def test_a_config_that_does_not_fit_makes_room_and_the_others_are_not_compiled_again():
    problem = Problem("gemm", 4096, 4096, 4096, dtype="bfloat16")
    needs = Resources(shared_bytes=1, registers=64, spill_bytes=0, num_warps=4, binary="")
    first, *others = choose(problem, H200)["gemm_tma_kernel"]
    asked = []

    def compile_new(configs, known):
        new = [c for c in configs["gemm_tma_kernel"] if ("gemm_tma_kernel", c) not in known]
        asked.append(len(new))
        over = replace(needs, shared_bytes=H200.shared_per_block + 1)
        return {("gemm_tma_kernel", c): Built(over if c == first else needs, 1) for c in new}

    configs, _ = settle(problem, H200, compile_new, ["gemm_tma_kernel"])
    assert asked == [6, 1]
    assert configs["gemm_tma_kernel"][:-1] == tuple(others)
    assert configs["gemm_kernel"] == choose(problem, H200)["gemm_kernel"]


class FakeCompiler:
    """Notes which files it is turned to; one that is named `bad` ends it."""

    def __init__(self, file, gpu):
        self.files, self.stopped, self.closed = [], False, False
        self.turn_to(file)

    def turn_to(self, file):
        self.files.append(file.path.stem)

    def stop(self):
        self.stopped = True

    def close(self):
        self.closed = True


def test_a_compiler_goes_from_file_to_file_and_one_that_failed_is_replaced(monkeypatch):
    monkeypatch.setattr(ahead, "_CHILDS", 1)
    monkeypatch.setattr(ahead, "stand_back", lambda: None)
    made = []

    def compiler(file, gpu):
        made.append(FakeCompiler(file, gpu))
        return made[-1]

    monkeypatch.setattr(ahead, "Compiler", compiler)

    def task(name, turn_to):
        turn_to(Path(f"{name}.py"))
        if name == "bad":
            raise BadInput("the child died")
        return name

    with Ahead(H200) as workers:
        futures = [workers.submit(partial(task, name)) for name in ("a", "b", "bad", "c")]
        assert [futures[n].result() for n in (0, 1, 3)] == ["a", "b", "c"]
        with pytest.raises(BadInput, match="the child died"):
            futures[2].result()
    assert [each.files for each in made] == [["a", "b", "bad"], ["c"]]
    assert all(each.stopped and each.closed for each in made)


def test_machine_code_that_was_read_before_is_not_read_again():
    kernel = SimpleNamespace(asm={"cubin": b"no machine code", "ptx": ""})
    known = {"9d1c": {"binary": "another"}}
    with pytest.raises(Exception, match="cuobjdump"):
        build.resources(kernel, known)
    name = hashlib.sha256(b"no machine code").hexdigest()
    assert build.resources(kernel, {name: {"binary": name}}) == {"binary": name}
