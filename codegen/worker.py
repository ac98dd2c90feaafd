"""The child's side of `child.py`: arguments ROLE ASK_FD ANSWER_FD MEMORY_BYTES.

Roles of their own, because Triton decides at import between compiling and interpreting: `compile` records
launches and compiles for any GPU, `interpret` runs kernels on the CPU, `measure` on the GPU that is there (or in
the interpreter, as told), `gpu` runs a model there as it is, or under a profiler. `trace` reads problem files,
`devices` names the GPUs.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from codegen.failure import explain
from codegen.outcome import BadInput
from codegen.warm import MESSAGE_BYTES

Progress = Callable[[Any], None]
Handle = Callable[[dict[str, Any]], Any]

_OUTPUT_LIMIT_BYTES = 1 << 30


def main() -> None:
    _work(sys.argv[1], *map(int, sys.argv[2:5]))


def main_of_forks() -> None:
    """Argument CHANNEL_FD: the other side of `warm`. Imports PyTorch, and forks itself when asked for a role; that
    fork imports what the role needs, and forks itself when asked for a child."""
    with contextlib.suppress(ImportError):  # the child says it, where it is heard
        importlib.import_module("torch")
    asked, (channel,) = _fork_when_asked(int(sys.argv[1]))
    role = asked["role"]
    os.environ.update(asked["environment"])
    with contextlib.suppress(ImportError):
        _maker(role)
    asked, (ask, answer, output) = _fork_when_asked(channel)
    for fd in (1, 2):
        os.dup2(output, fd)
    os.close(output)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    _work(role, ask, answer, asked["memory"])


def _fork_when_asked(fd: int) -> tuple[dict[str, Any], list[int]]:
    """Returns in each fork: with what was said, and the file descriptors that came with it. Ends with who asks."""
    gc.freeze()  # forks share what their garbage collector does not touch
    with socket.socket(fileno=fd) as channel:
        while True:
            told, fds, _, _ = socket.recv_fds(channel, MESSAGE_BYTES, 3, socket.MSG_CMSG_CLOEXEC)
            if not told:
                sys.exit()
            asked = json.loads(told)
            if "wait" in asked:
                pid, status = os.waitpid(asked["wait"], os.WNOHANG)
                ended = os.waitstatus_to_exitcode(status) if pid else None
                channel.send(json.dumps(ended).encode())
            elif os.fork():
                for fd in fds:
                    os.close(fd)
            else:
                _end_with_parent()
                os.setsid()
                channel.send(json.dumps(os.getpid()).encode())
                return asked, fds


def _work(role: str, ask: int, answer: int, memory: int) -> None:
    os.set_inheritable(ask, False)
    os.set_inheritable(answer, False)
    _limit()
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))

    def send(message: dict[str, Any]) -> None:
        os.write(answer, json.dumps(message).encode() + b"\n")

    handle = _handler(role, lambda progress: send({"progress": progress}))
    with os.fdopen(ask, "rb") as questions:
        for line in questions:
            send(_answer(handle, json.loads(line)))


def main_of_files() -> None:
    """Arguments ROLE ASK_FILE ANSWER_FILE: answers a list of questions, the last one or the first that fails.

    For a child that another program starts, which need not pass open channels on.
    """
    role, ask, answer = sys.argv[1], *map(Path, sys.argv[2:4])
    _limit()
    handle = _handler(role, lambda progress: None)
    answered: dict[str, Any] = {}
    for question in json.loads(ask.read_text()):
        answered = _answer(handle, question)
        if "error" in answered:
            break
    answer.write_text(json.dumps(answered))


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # prctl(PR_SET_PDEATHSIG, SIGKILL), Linux


def _limit() -> None:
    _end_with_parent()  # when the parent is gone, so is the one that holds the clock
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_OUTPUT_LIMIT_BYTES, _OUTPUT_LIMIT_BYTES))


def _handler(role: str, progress: Progress) -> Handle:
    return _maker(role)(progress)


def _maker(role: str) -> Callable[[Progress], Handle]:
    # Imported here: these load PyTorch and Triton, in whichever mode the environment asks for.
    if role == "compile":
        from codegen.launch import Recorder

        return lambda progress: Recorder(progress).handle
    if role == "devices":
        from codegen.devices import handle as devices

        return lambda _progress: devices
    if role == "trace":
        from codegen.trace import handle

        return lambda _progress: handle
    if role == "measure":
        from codegen.gauge import Gauge

        return lambda progress: Gauge(progress).handle
    if role == "gpu":
        from codegen.on_gpu import OnGpu

        return lambda _progress: OnGpu().handle
    from codegen.interpret import Interpreter

    return lambda _progress: Interpreter().handle


def _answer(handle: Callable[[dict[str, Any]], Any], question: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"result": handle(question)}
    except BadInput as error:
        return {"error": str(error)}
    except MemoryError:
        limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
        known = f" (limit {limit >> 30} GiB)" if limit != resource.RLIM_INFINITY else ""
        return {"error": f"ran out of memory{known}"}
    except SystemExit as error:
        return {"error": f"calls sys.exit({error.code!r})"}
    except BaseException as error:  # whatever foreign code raises is data here
        traceback.print_exc()
        return {"error": explain(error, question.get("path"))}
