"""Nsight Compute found, started and understood, with a fake of it in its place."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from fake_ncu import GRAM, fake_ncu

from codegen import nsight
from codegen.nsight import Nsight, find_ncu
from codegen.outcome import BadInput

QUESTIONS = [{"op": "load", "path": "k.py", "problem": None, "inputs": []}, {"op": "profile"}]


@pytest.fixture
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that stands for the one NVIDIA's packages put Nsight Compute in, empty."""
    folder = tmp_path / "opt"
    monkeypatch.setattr(nsight, "_INSTALLED", folder)
    return folder


class TestItIsFound:
    def test_on_path_first(self, tmp_path: Path, nothing_installed: Path) -> None:
        fake_ncu(tmp_path / "on_path")
        fake_ncu(_made(tmp_path / "cuda" / "bin"))
        environ = {"PATH": f"/nowhere:{tmp_path / 'on_path'}", "CUDA_HOME": str(tmp_path / "cuda")}
        assert find_ncu(environ) == tmp_path / "on_path" / "ncu"

    def test_then_in_cuda_home(self, tmp_path: Path, nothing_installed: Path) -> None:
        fake_ncu(_made(tmp_path / "cuda" / "bin"))
        fake_ncu(_made(nothing_installed / "2025.3.1"))
        environ = {"PATH": "/nowhere", "CUDA_HOME": str(tmp_path / "cuda")}
        assert find_ncu(environ) == tmp_path / "cuda" / "bin" / "ncu"

    def test_then_the_newest_of_nvidia_s_packages(self, nothing_installed: Path) -> None:
        for release in ("2024.3.2", "2025.10.0", "2025.3.1"):
            fake_ncu(_made(nothing_installed / release))
        assert find_ncu({"PATH": "/nowhere"}) == nothing_installed / "2025.10.0" / "ncu"

    def test_or_its_absence_is_said(self, nothing_installed: Path) -> None:
        with pytest.raises(
            BadInput, match=r"^Nsight Compute is not here: no ncu on PATH, .*CUDA_HOME"
        ):
            find_ncu({"PATH": "/nowhere"})

    def test_one_that_does_not_start_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "ncu").write_text("#!/nowhere/python\n")
        (tmp_path / "ncu").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(BadInput, match="ncu: does not start"):
            Nsight.find()


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def test_it_is_told_to_see_marked_launches_only_and_to_leave_the_clocks_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = fake_ncu(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = Nsight.find()
    assert found.version == "2025.3.1.0"
    assert found.run(QUESTIONS, "k.py") == GRAM.read_text()
    (call,) = fake.calls()
    told = " ".join(call["arguments"])
    for option in (
        "--profile-from-start off",
        "--clock-control none",
        "--target-processes application-only",
        "--csv --page raw --print-units base",
        "--section LaunchStats",
        "--section WarpStateStats",
    ):
        assert f"{option} " in told
    assert call["questions"] == QUESTIONS


PERMISSION = (
    "==ERROR== ERR_NVGPUCTRPERM - The user does not have permission to access NVIDIA GPU Performance "
    "Counters on the target device 0. For instructions on enabling permissions and to get more information "
    "see https://developer.nvidia.com/ERR_NVGPUCTRPERM"
)
UNABLE = "==ERROR== Failed to initialize the profiler: LibraryNotLoaded"
BUSY = "==ERROR== Profiling failed because a driver resource was unavailable."
ANSWER = "pathlib.Path(command[-1]).write_text(json.dumps({'error': 'line 5: ValueError: no'}))"

FAILURES = {
    "counters that only root may read, in the log": (
        f"log.write_text({PERMISSION!r})",
        r"the driver keeps the GPU's performance counters from this user \(ERR_NVGPUCTRPERM\): run as root",
    ),
    "counters that only root may read, printed": (f"print({PERMISSION!r})", r"ERR_NVGPUCTRPERM\)"),
    "a sandbox without the driver's interface": (
        f"log.write_text({UNABLE!r}); sys.exit(1)",
        r"can't reach the driver's profiling interface here: Failed to initialize .*gVisor",
    ),
    "whatever else it reports as an error": (
        f"log.write_text({BUSY!r})",
        "Nsight Compute says: Profiling failed because a driver resource was unavailable",
    ),
    "a program that fails": (
        f"{ANSWER}; log.write_text('==WARNING== No kernels were profiled.')",
        "running it under Nsight Compute failed: line 5: ValueError: no",
    ),
    "a program that launches nothing": (
        "log.write_text('==WARNING== No kernels were profiled.')",
        "Nsight Compute saw no launch",
    ),
    "an exit status": ("sys.exit(9)", "Nsight Compute ended with exit status 9"),
    "a crash": ("os.kill(os.getpid(), signal.SIGSEGV)", "Nsight Compute ended with SIGSEGV"),
    "a table that is none": ("log.write_text('')", "nothing of a profile"),
}


@pytest.mark.parametrize(("then", "said"), FAILURES.values(), ids=list(FAILURES))
def test_a_failure_is_said_in_one_line(then: str, said: str, tmp_path: Path) -> None:
    fake_ncu(tmp_path, then, csv=None)
    with pytest.raises(BadInput) as caught:
        Nsight(tmp_path / "ncu", "").run(QUESTIONS, "k.py")
    assert re.search(f"^k.py: .*{said}", str(caught.value))


def test_one_that_hangs_is_ended_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nsight, "PROFILE_SECONDS", 2)
    note = f"child = subprocess.Popen(['sleep', '60']); open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))"
    fake_ncu(tmp_path, f"{note}; time.sleep(60)")
    with pytest.raises(BadInput, match=r"k\.py: profiling took longer than 2 s"):
        Nsight(tmp_path / "ncu", "").run(QUESTIONS, "k.py")
    state = Path(f"/proc/{(tmp_path / 'pid').read_text()}/stat")
    ended = time.monotonic() + 10
    while state.exists() and state.read_text().split(") ")[1][0] != "Z":
        assert time.monotonic() < ended
        time.sleep(0.05)


def test_the_program_it_starts_is_our_child(tmp_path: Path) -> None:
    fake_ncu(tmp_path, "sys.exit(subprocess.call(command))", csv=None)
    missing = [{"op": "load", "path": str(tmp_path / "gone.py"), "problem": None, "inputs": []}]
    with pytest.raises(BadInput, match=r"under Nsight Compute failed: FileNotFoundError.*gone\.py"):
        Nsight(tmp_path / "ncu", "").run(missing, "gone.py")
