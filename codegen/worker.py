"""The child's side of `child.py`: arguments ROLE ASK_FD ANSWER_FD MEMORY_BYTES.

Roles of their own, because Triton decides at import between compiling and interpreting: `compile` records
launches and compiles for any GPU, `interpret` runs kernels on the CPU, `measure` on the GPU that is there (or in
the interpreter, as told), `gpu` runs a model there as it is, or under a profiler. `trace` reads problem files,
`devices` names the GPUs.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from codegen.failure import explain
from codegen.outcome import BadInput

_OUTPUT_LIMIT_BYTES = 1 << 30


def main() -> None:
    role, ask, answer, memory = sys.argv[1], *map(int, sys.argv[2:5])
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


def _limit() -> None:
    # When the parent is gone, so is the one that holds the clock. (prctl(PR_SET_PDEATHSIG, SIGKILL), Linux.)
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_OUTPUT_LIMIT_BYTES, _OUTPUT_LIMIT_BYTES))


def _handler(role: str, progress: Callable[[Any], None]) -> Callable[[dict[str, Any]], Any]:
    # Imported here: these load PyTorch and Triton, in whichever mode the environment asks for.
    if role == "compile":
        from codegen.launch import Recorder

        return Recorder(progress).handle
    if role == "devices":
        from codegen.devices import handle as devices

        return devices
    if role == "trace":
        from codegen.trace import handle

        return handle
    if role == "measure":
        from codegen.gauge import Gauge

        return Gauge(progress).handle
    if role == "gpu":
        from codegen.on_gpu import OnGpu

        return OnGpu().handle
    from codegen.interpret import Interpreter

    return Interpreter().handle


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
