"""What a compiled kernel needs, read from its machine code. Child processes only."""

from __future__ import annotations

import hashlib
import json
import os
import re
import selectors
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import triton
from triton.runtime.cache import triton_key

from codegen.failure import explain
from codegen.hazard import serialised, why_unsafe

triton_key()  # hashes Triton, half a gigabyte, once a process: not in every fork that compiles


def resources(kernel: Any, known: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The fields of `outcome.Resources` for a `triton.compiler.CompiledKernel`, and `unsafe`, what makes it so.

    Shared memory is what Triton's allocator settled on; registers, local memory and what is unsafe are read
    from the machine code with cuobjdump, which comes with Triton and takes a quarter of a second: `known` holds
    what was read before, by `binary`.
    """
    cubin: bytes = kernel.asm["cubin"]
    binary = hashlib.sha256(cubin).hexdigest()
    if binary in known:
        return known[binary]
    with_code = "wgmma" in kernel.asm["ptx"]
    text = _dumped(cubin, ("--dump-sass",) if with_code else ())
    registers, stack = _usage(text, kernel.metadata.name)
    return {
        "unsafe": why_unsafe(text) if with_code else None,
        "shared_bytes": kernel.metadata.shared,
        "registers": registers,
        "spill_bytes": stack,
        "num_warps": kernel.metadata.num_warps,
        "binary": binary,
        "serialised": with_code and serialised(text),
    }


def _dumped(cubin: bytes, more: tuple[str, ...]) -> str:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:  # cuobjdump reads no pipe
        file.write(cubin)
        file.flush()
        command = [triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", *more, file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _usage(text: str, name: str) -> tuple[int, int]:
    """Registers and bytes of stack (spills among them) per thread of one kernel, from what cuobjdump prints."""
    found = re.search(rf"Function {re.escape(name)}:\s*REG:(\d+) STACK:(\d+)", text)
    if not found:
        raise RuntimeError(f"cuobjdump says nothing of {name}: {text[:200]!r}")
    return int(found[1]), int(found[2])


def in_forks(
    jobs: Sequence[Any],
    run: Callable[[Any], dict[str, Any]],
    *,
    path: str,
    seconds: int,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Runs every job in a fork of this process, as many at once as there are cores; yields (index, result).

    A fork keeps the imported file and costs milliseconds, and a compiler that crashes or hangs on one
    job (`seconds` at most) costs only that job. A job that fails yields {"rejected": why}.
    """
    waiting = list(enumerate(jobs))[::-1]
    with selectors.DefaultSelector() as selector:
        # Read end of its pipe -> the job's index, its process, what it said so far.
        running: dict[int, tuple[int, int, bytes]] = {}
        while waiting or running:
            while waiting and len(running) < len(os.sched_getaffinity(0)):
                index, job = waiting.pop()
                read, process = _fork(partial(run, job), path, seconds)
                running[read] = (index, process, b"")
                selector.register(read, selectors.EVENT_READ)
            for key, _ in selector.select():
                index, process, said = running[key.fd]
                chunk = os.read(key.fd, 1 << 16)
                running[key.fd] = (index, process, said + chunk)
                if not chunk:
                    del running[key.fd]
                    selector.unregister(key.fd)
                    os.close(key.fd)
                    yield index, _outcome(process, said, seconds)


def _fork(run: Callable[[], dict[str, Any]], path: str, seconds: int) -> tuple[int, int]:
    read, write = os.pipe()
    process = os.fork()
    if process:
        os.close(write)
        return read, process
    try:  # whatever happens, the fork must not go on as a second worker
        signal.alarm(seconds)  # its default action ends the process, also inside the compiler
        try:
            result = run()
        except BaseException as error:  # foreign code: whatever it raises is a result
            result = {"rejected": explain(error, path)}
        os.write(write, json.dumps(result).encode())
    finally:
        os._exit(0)


def _outcome(process: int, said: bytes, seconds: int) -> dict[str, Any]:
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if said:
        result: dict[str, Any] = json.loads(said)
        return result
    if status == -signal.SIGALRM:
        return {"rejected": f"compiling took longer than {seconds} s"}
    how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    return {"rejected": f"the compiler ended with {how}"}
