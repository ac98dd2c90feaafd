"""Children that are forks: each as new as a process of its own, and no worse off when the one it is forked from ends."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from codegen import warm
from codegen.ahead import stand_back
from codegen.child import INTERPRETED, Child, ChildFailed
from codegen.gpu import find_gpu
from codegen.outcome import BadInput
from codegen.toolchain import Compiler, UserFile

NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def said_on_import(tmp_path: Path, code: str) -> str:
    """What a file's import raises, in a child that compiles."""
    path = tmp_path / "kernel.py"
    path.write_text(code)
    with pytest.raises(BadInput) as caught:
        Compiler(UserFile("kernel.py", path), find_gpu("h200"))
    return str(caught.value)


def test_two_children_of_a_role_have_one_parent_that_is_not_this_process() -> None:
    with Child("interpret", env=INTERPRETED) as one, Child("interpret", env=INTERPRETED) as other:
        assert one.pid != other.pid
        assert parent_of(one.pid) == parent_of(other.pid) != os.getpid()


def test_what_code_does_to_its_process_is_not_seen_by_the_next(tmp_path: Path) -> None:
    code = (
        "import os, torch\n"
        "before = (hasattr(torch, 'zeros'), 'MARK' in os.environ)\n"
        "del torch.zeros\n"
        "os.environ['MARK'] = 'x'\n"
        "raise ValueError(before)\n"
    )
    assert "(True, False)" in said_on_import(tmp_path, code)
    assert "(True, False)" in said_on_import(tmp_path, code)


def test_a_child_has_the_environment_and_the_folder_of_the_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import os\nraise ValueError(os.environ.get('MARK'), os.getcwd())"
    (tmp_path / "there").mkdir()
    for mark, folder in (("first", tmp_path), ("second", tmp_path / "there")):
        monkeypatch.setenv("MARK", mark)
        monkeypatch.chdir(folder)
        assert f"({mark!r}, {str(folder)!r})" in said_on_import(tmp_path, code)


def test_what_a_thread_starts_stands_back_as_it_does_and_what_others_start_does_not() -> None:
    def niceness() -> int:
        with Child("devices", env=NO_GPU) as child:
            assert parent_of(child.pid) != os.getpid()
            return os.getpriority(os.PRIO_PROCESS, child.pid)

    before = niceness()
    with ThreadPoolExecutor(1, initializer=stand_back) as pool:
        assert pool.submit(niceness).result() == 19
    assert niceness() == before == os.getpriority(os.PRIO_PROCESS, 0)


def test_a_child_that_may_see_a_gpu_is_a_process_like_any_other() -> None:
    with Child("devices", env={}) as child:
        assert parent_of(child.pid) == os.getpid()


def test_when_the_one_it_is_forked_from_ends_a_child_ends_and_the_next_is_started_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(warm, "_origins", {})
    with Child("devices", env=NO_GPU) as child:
        assert child.ask({}, seconds=60) == []
        assert parent_of(child.pid) != os.getpid()
        os.kill(parent_of(child.pid), signal.SIGKILL)
        with pytest.raises(ChildFailed, match="was ended by SIGKILL"):
            while True:  # until the news has reached it
                child.ask({}, seconds=60)
    with Child("devices", env=NO_GPU) as child:
        assert child.ask({}, seconds=60) == []
        assert parent_of(child.pid) == os.getpid()


def test_what_a_child_ends_with_is_known() -> None:
    with Child("interpret", env=INTERPRETED) as child:
        os.kill(child.pid, signal.SIGABRT)
        with pytest.raises(ChildFailed, match="was ended by SIGABRT"):
            child.ask({}, seconds=60)
