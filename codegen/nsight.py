"""Runs questions to a GPU child under Nsight Compute: finds `ncu`, starts it, says why it failed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codegen.counters import METRICS, SECTIONS
from codegen.local_gpu import ENVIRONMENT
from codegen.outcome import BadInput
from codegen.warm import command

PROFILE_SECONDS = 300
_VERSION_SECONDS = 30
_INSTALLED = Path("/opt/nvidia/nsight-compute")  # NVIDIA's own packages put each version there

# Clocks stay as they are: setting them asks for rights, and lasts if the profiler is killed. Launches outside
# the child's cudaProfilerStart and cudaProfilerStop (warm-up, other kernels) are not profiled.
OPTIONS = (
    *("--profile-from-start", "off"),
    *("--clock-control", "none"),
    *("--target-processes", "application-only"),
    *("--csv", "--page", "raw", "--print-units", "base"),
    *(word for section in SECTIONS for word in ("--section", section)),
    *("--metrics", ",".join(METRICS)),
)


@dataclass(frozen=True)
class Nsight:
    """An installed Nsight Compute."""

    path: Path
    version: str  # `2025.3.1.0`

    @classmethod
    def find(cls) -> Nsight:
        """Raises BadInput where there is none, or it does not start."""
        path = find_ncu(os.environ)
        return cls(path, _version(path))

    def run(self, questions: Sequence[Mapping[str, Any]], name: str) -> str:
        """What ncu wrote as CSV while a child of role `gpu` answered the questions, one after another.

        Raises BadInput, starting with `name`, when the child fails or nothing was profiled.
        """
        with tempfile.TemporaryDirectory(prefix="codegen-") as place:
            folder = Path(place)
            asked, answered, log = (folder / part for part in ("ask.json", "answer.json", "log"))
            asked.write_text(json.dumps(list(questions)))
            child = command("main_of_files", "gpu", str(asked), str(answered))
            said, ending = _run([str(self.path), *OPTIONS, "--log-file", str(log), *child])
            text = log.read_text(errors="replace") if log.exists() else ""
            answer = json.loads(answered.read_text()) if answered.exists() else {}
        reason = _failure(f"{text}\n{said}", answer, ending)
        if reason is None and not re.search('(?m)^"ID"', text):
            reason = "Nsight Compute wrote nothing of a profile"
        if reason:
            raise BadInput(f"{name}: {reason}")
        return text


def find_ncu(environ: Mapping[str, str]) -> Path:
    """The ncu on PATH, else that of $CUDA_HOME, else the newest of NVIDIA's packages. Raises BadInput."""
    if found := shutil.which("ncu", path=environ.get("PATH")):
        return Path(found)
    homes = [Path(environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if environ.get(name)]
    places = [
        *(home / "bin" / "ncu" for home in homes),
        *sorted(_INSTALLED.glob("*/ncu"), key=_release, reverse=True),
    ]
    for place in places:
        if os.access(place, os.X_OK):
            return place
    raise BadInput(
        f"Nsight Compute is not here: no ncu on PATH, in $CUDA_HOME/bin or in {_INSTALLED}/*; it comes with "
        "the CUDA Toolkit, or alone from https://developer.nvidia.com/nsight-compute"
    )


def _release(path: Path) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", path.parent.name)]


def _version(ncu: Path) -> str:
    try:
        done = subprocess.run(
            [ncu, "--version"],
            capture_output=True,
            text=True,
            timeout=_VERSION_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BadInput(f"{ncu}: does not start: {error}") from None
    found = re.search(r"Version (\S+)", done.stdout)
    return found[1] if found else "unknown"


def _run(command: Sequence[str]) -> tuple[str, str | None]:
    """What a program printed, and how it failed, if it did."""
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **ENVIRONMENT},
                start_new_session=True,  # so that the program under it ends with it
            )
        except OSError as error:
            return "", f"{command[0]} does not start: {error.strerror}"
        ending = None
        try:
            status = process.wait(PROFILE_SECONDS)
            if status:
                ending = f"Nsight Compute ended with {_status(status)}"
        except subprocess.TimeoutExpired:
            ending = f"profiling took longer than {PROFILE_SECONDS} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        return output.read().decode(errors="replace"), ending


def _status(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


def _failure(said: str, answer: Mapping[str, Any], ending: str | None) -> str | None:
    """Why there is no profile; None: there is one."""
    if "ERR_NVGPUCTRPERM" in said:
        return (
            "the driver keeps the GPU's performance counters from this user (ERR_NVGPUCTRPERM): run as root, or "
            "have an administrator load the driver with NVreg_RestrictProfilingToAdminUsers=0 "
            "(https://developer.nvidia.com/ERR_NVGPUCTRPERM)"
        )
    if "error" in answer:
        return f"running it under Nsight Compute failed: {answer['error']}"
    errors = re.findall(r"==ERROR== *(\S[^\n]*)", said)
    if any("LibraryNotLoaded" in error for error in errors):
        return (
            f"Nsight Compute can't reach the driver's profiling interface here: {errors[0]} "
            "(sandboxes such as gVisor have none)"
        )
    if errors:
        return f"Nsight Compute says: {errors[0][:300]}"
    if ending:
        return ending
    if "No kernels were profiled" in said:
        return "Nsight Compute saw no launch"
    return None
