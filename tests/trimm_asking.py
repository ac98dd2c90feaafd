"""The tests' side of trimm_child.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Ask = Callable[..., Any]


@contextmanager
def asking() -> Iterator[Ask]:
    """A function that asks one interpreting child, question after question; see its functions."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", str(Path(__file__).with_name("trimm_child.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # One thread: tests run side by side, and so that the same sums come out in the same order.
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    ) as child:
        assert child.stdin is not None and child.stdout is not None

        def ask(**question: Any) -> Any:
            print(json.dumps(question), file=child.stdin, flush=True)
            return json.loads(child.stdout.readline() or "null")

        yield ask
        child.stdin.close()
