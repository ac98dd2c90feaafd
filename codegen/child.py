"""Other people's code runs in a child process: with a time limit, a memory limit, and no way to print into our output.

The parent asks with one JSON object a line and reads JSON objects back: any number of `{"progress": ...}`,
then one `{"result": ...}` or `{"error": ..., "kind": ...}`. JSON and not pickle, because what comes back
comes from code we don't trust.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import selectors
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from codegen.closing import Closing
from codegen.warm import Fork, command, fork

MEMORY_LIMIT_BYTES = 12 << 30
# For a child that uses a GPU: CUDA reserves far more address space than it fills, so a limit would say nothing.
NO_LIMIT = resource.RLIM_INFINITY
# Of a child that runs kernels in Triton's interpreter.
INTERPRETED = {
    "TRITON_INTERPRET": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "OMP_NUM_THREADS": "1",  # so that the same sums come out in the same order
    "TORCHDYNAMO_DISABLE": "1",  # what a file wraps in torch.compile runs as it is
}
_KILL_WAIT_SECONDS = 5
_STOP_SECONDS = 0.2  # how soon a stop is noticed


class ChildFailed(Exception):
    """The child could not answer; `str()` is the reason as a clause: `ran longer than 60 s`."""

    def __init__(self, reason: str, *, died: bool) -> None:
        super().__init__(reason)
        self.died = died  # it is gone: what it held in memory must be loaded again


class Child(Closing):
    """One process of `codegen.worker`, in the given role, that answers questions until closed."""

    def __init__(
        self,
        role: str,
        *,
        env: Mapping[str, str],
        memory_bytes: int = MEMORY_LIMIT_BYTES,
        stop: threading.Event | None = None,
    ) -> None:
        self._stop = stop  # set from another thread, it ends a question that is under way
        self._closed = False
        ask_read, ask_write = os.pipe()
        answer_read, answer_write = os.pipe()
        self._ask = os.fdopen(ask_write, "wb")
        self._answer = os.fdopen(answer_read, "rb", buffering=0)
        # Whatever the child prints goes here: kept for its last line, which says why it died.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  closed in close()
        fds = (ask_read, answer_write, self._output.fileno())
        try:
            self._process: Fork | subprocess.Popen[bytes] = fork(
                role, env, memory_bytes, fds
            ) or subprocess.Popen(
                command("main", role, str(ask_read), str(answer_write), str(memory_bytes)),
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                pass_fds=(ask_read, answer_write),
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **env},
                start_new_session=True,  # so that whatever it starts ends with it
            )
        finally:
            os.close(ask_read)
            os.close(answer_write)
        self._buffer = b""
        self._memory_bytes = memory_bytes

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(
        self,
        question: dict[str, Any],
        *,
        seconds: float,
        on_progress: Callable[[Any], float | None] | None = None,
    ) -> Any:
        """The answer to one question.

        Raises ChildFailed when the child reports an error, dies, or is silent for `seconds` (progress
        counts as a sign of life, and a number that `on_progress` returns is the limit from there on); a child
        that ran out of time is killed.
        """
        if self._closed:
            raise ChildFailed("was ended before", died=True)
        try:
            self._ask.write(json.dumps(question).encode() + b"\n")
            self._ask.flush()
        except BrokenPipeError:
            raise self._dead() from None
        deadline = time.monotonic() + seconds
        while True:
            line = self._line(deadline, seconds)
            try:
                answer = json.loads(line)
            except ValueError:
                answer = None
            if not isinstance(answer, dict) or not answer.keys() & {"progress", "error", "result"}:
                self.close()
                raise ChildFailed("wrote into the channel it answers on", died=True)
            if "progress" in answer:
                if on_progress:
                    seconds = on_progress(answer["progress"]) or seconds
                deadline = time.monotonic() + seconds
            elif "error" in answer:
                raise ChildFailed(str(answer["error"]), died=False)
            else:
                return answer["result"]

    def _line(self, deadline: float, seconds: float) -> bytes:
        with selectors.DefaultSelector() as selector:
            selector.register(self._answer, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                left = deadline - time.monotonic()
                ready = selector.select(min(max(0.0, left), _STOP_SECONDS))
                if self._stop is not None and self._stop.is_set():
                    self.close()
                    raise ChildFailed("was stopped", died=True)
                if not ready and left > _STOP_SECONDS:
                    continue
                if not ready:
                    self.close()
                    raise ChildFailed(f"ran longer than {seconds:g} s", died=True)
                chunk = self._answer.read(1 << 16)
                if not chunk:
                    raise self._dead()
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _dead(self) -> ChildFailed:
        try:
            status = self._process.wait(_KILL_WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.close()
            return ChildFailed("closed the channel it answers on", died=True)
        said = self.last_lines(1)
        self.close()
        if status < 0:
            name = signal.Signals(-status).name
            memory = (
                f" (memory limit {self._memory_bytes >> 30} GiB)"
                if name in {"SIGKILL", "SIGABRT"} and self._memory_bytes > 0
                else ""
            )
            how = f"was ended by {name}{memory}"
        else:
            how = f"ended the process with exit status {status}"
        return ChildFailed(f"{how}: {said}" if said else how, died=True)

    def last_lines(self, count: int) -> str:
        """The end of what the child printed, as one line: without empty lines and rules (`=====`).

        Where pytest names the tests that failed, those lines come before the last: on a CI machine it prints
        whole messages below each, however long.
        """
        size = self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, size - 65536))
        lines = self._output.read().decode(errors="replace").split("\n")
        said = [line.strip("=-_ \r\t")[:200] for line in lines if any(map(str.isalnum, line))]
        failed = [line for line in said[:-1] if line.startswith(("FAILED ", "ERROR "))]
        return " / ".join([*failed, said[-1]][-count:] if failed else said[-count:])

    def close(self) -> None:
        """Ends the child and its process group. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._answer.close()
        self._output.close()
        with contextlib.suppress(BrokenPipeError):
            self._ask.close()
