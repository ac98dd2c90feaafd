"""The child's side of `child.py`: arguments ROLE ASK_FD ANSWER_FD MEMORY_BYTES.

Roles of their own, because Triton decides at import between compiling and interpreting: `compile` records
launches and compiles for any GPU, `interpret` runs kernels on the CPU, `measure` on the GPU that is there (or in
the interpreter, as told). `trace` reads problem files.
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
from typing import Any

from codegen.failure import explain
from codegen.outcome import BadInput

_OUTPUT_LIMIT_BYTES = 1 << 30


def main() -> None:
    role, ask, answer, memory = sys.argv[1], *map(int, sys.argv[2:5])
    os.set_inheritable(ask, False)
    os.set_inheritable(answer, False)
    # When the parent is gone, so is the one that holds the clock. (prctl(PR_SET_PDEATHSIG, SIGKILL), Linux.)
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_OUTPUT_LIMIT_BYTES, _OUTPUT_LIMIT_BYTES))

    def send(message: dict[str, Any]) -> None:
        os.write(answer, json.dumps(message).encode() + b"\n")

    handle = _handler(role, lambda progress: send({"progress": progress}))
    with os.fdopen(ask, "rb") as questions:
        for line in questions:
            send(_answer(handle, json.loads(line)))


def _handler(role: str, progress: Callable[[Any], None]) -> Callable[[dict[str, Any]], Any]:
    # Imported here: these load PyTorch and Triton, in whichever mode the environment asks for.
    if role == "compile":
        from codegen.launch import Recorder

        return Recorder(progress).handle
    if role == "trace":
        from codegen.trace import handle

        return handle
    if role == "measure":
        from codegen.gauge import Gauge

        return Gauge(progress).handle
    from codegen.interpret import Interpreter

    return Interpreter().handle


def _answer(handle: Callable[[dict[str, Any]], Any], question: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"result": handle(question)}
    except BadInput as error:
        return {"error": str(error)}
    except MemoryError:
        return {
            "error": f"ran out of memory (limit {resource.getrlimit(resource.RLIMIT_DATA)[0] >> 30} GiB)"
        }
    except SystemExit as error:
        return {"error": f"calls sys.exit({error.code!r})"}
    except BaseException as error:  # whatever foreign code raises is data here
        traceback.print_exc()
        return {"error": explain(error, question.get("path"))}
