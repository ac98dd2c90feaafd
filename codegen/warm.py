"""Children that start in milliseconds: forks of a process that has imported what they need.

PyTorch, Triton and TorchDynamo, which PyTorch's fake tensors load, take two to three seconds of processor time to
import. One process of `codegen.worker` imports PyTorch; for each role a fork of it imports the rest, in the mode that
the role's environment asks for; each child is a fork of that one. None but the last runs other people's code, so a
child is as new as one that imported everything itself. They live as long as this process.

Only for children that see no GPU: those that time something, or are profiled, are processes like any other.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MESSAGE_BYTES = 1 << 18  # more than a socket takes at once
_START_SECONDS = 60  # to import what is needed
_NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}
# One thread: with more, libraries that PyTorch brings would start them on import, and forks have none of them.
_IMPORTED_WITH = {**_NO_GPU, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
_READ_ON_IMPORT = ("LD_", "PYTHON", "TORCH", "TRITON")  # variables that start so


def command(entry: str, *arguments: str) -> list[str]:
    """A Python that runs a function of `codegen.worker`."""
    return [sys.executable, "-P", "-c", program(entry), *arguments]


def program(entry: str) -> str:
    """What `python -P -c` runs to start a function of `codegen.worker`."""
    package = str(Path(__file__).parent.parent)
    # This very package, whatever is installed; and (-P) nothing from the folder the user happens to be in,
    # which may well hold a `codegen` of its own.
    return f"import sys; sys.path.insert(0, {package!r}); from codegen.worker import {entry}; {entry}()"


class _Origin:
    """The near end of a process that forks itself when asked. Raises OSError where it does not answer."""

    def __init__(self, channel: socket.socket) -> None:
        self._lock = threading.Lock()
        self._channel = channel
        channel.settimeout(_START_SECONDS)

    def ask(self, question: dict[str, Any], fds: Sequence[int] = ()) -> Any:
        with self._lock:
            try:
                socket.send_fds(self._channel, [json.dumps(question).encode()], fds)
                told = self._channel.recv(MESSAGE_BYTES)
                if not told:
                    raise ConnectionResetError
            except BaseException:
                self._channel.close()  # an answer that comes too late is to be nobody's
                raise
        return json.loads(told)


class Fork:
    """A child that is such a fork: of `subprocess.Popen` what is needed here."""

    def __init__(self, origin: _Origin, pid: int) -> None:
        self._origin = origin
        self._status: int | None = None
        self.pid = pid

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, as Popen gives it. Raises TimeoutExpired."""
        started = time.monotonic()
        pause = 0.001  # seconds
        while self._status is None:
            try:
                self._status = self._origin.ask({"wait": self.pid})
            except OSError:
                self._status = -signal.SIGKILL  # which it gets when its origin ends
            if self._status is None:
                if timeout is not None and time.monotonic() - started > timeout:
                    raise subprocess.TimeoutExpired("a fork", timeout)
                time.sleep(pause)
                pause = min(2 * pause, 0.05)
        return self._status


_origins: dict[tuple[Any, ...], _Origin | None] = {}  # None: does not work here
_making = threading.Lock()


def fork(role: str, env: Mapping[str, str], memory_bytes: int, fds: Sequence[int]) -> Fork | None:
    """A child in the given role, as `Child` starts one: `fds` are where it reads, answers and prints.

    None where it is to be started in the ordinary way.
    """
    if not _NO_GPU.items() <= env.items():
        return None
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **env}
    try:
        folder = str(Path.cwd())  # which may be gone
        with _making:
            origin = _of_role(role, env, environment)
        told = {"environment": environment, "folder": folder, "memory": memory_bytes}
        return Fork(origin, origin.ask(told, fds)) if origin else None
    except OSError:
        return None


def _of_role(role: str, env: Mapping[str, str], environment: Mapping[str, str]) -> _Origin | None:
    key = (role, *_inherited(environment))
    if key not in _origins:
        _origins[key] = None
        if base := _base():
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                base.ask({"role": role, "environment": dict(env)}, [theirs.fileno()])
            _origins[key] = _Origin(ours)
    return _origins[key]


def _base() -> _Origin | None:
    """The process that has imported PyTorch."""
    key = _inherited(os.environ)
    if key not in _origins:
        _origins[key] = None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = subprocess.Popen(
                command("main_of_forks", str(theirs.fileno())),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={**os.environ, **_IMPORTED_WITH},
                start_new_session=True,  # Ctrl-C is for us
            )
        atexit.register(_end, process)
        _origins[key] = _Origin(ours)
    return _origins[key]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _inherited(environment: Mapping[str, str]) -> tuple[Any, ...]:
    """What children have of the process, and the thread, that they are started from, and can't be told later."""
    read = (item for item in environment.items() if item[0].startswith(_READ_ON_IMPORT))
    niceness = os.getpriority(os.PRIO_PROCESS, 0)  # of this thread, on Linux, as are its cores
    return os.getpid(), niceness, frozenset(os.sched_getaffinity(0)), frozenset(read)
