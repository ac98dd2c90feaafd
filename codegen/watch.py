"""What a call of a model launches, noted as it happens, and what the driver says of it. Child processes only."""

from __future__ import annotations

import contextlib
import ctypes
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from triton.runtime.autotuner import Autotuner
from triton.runtime.jit import JITFunction

from codegen.forced import Picked


@dataclass
class Observed:
    """What a call launched."""

    kernels: set[tuple[str, int]] = field(default_factory=set)  # autotuned: name, first line
    picked: Picked = field(default_factory=Picked)
    functions: list[JITFunction] = field(default_factory=list)
    compiled: list[tuple[Any, tuple[int, ...]]] = field(default_factory=list)  # kernel, its grid


@contextlib.contextmanager
def watching(seen: Observed, tell: Callable[[Any], None]) -> Iterator[None]:
    """Notes what is launched; compiles each kernel before its launch, as a step with its own time limit."""
    tuned, run = Autotuner.run, JITFunction.run

    def noted(tuner: Autotuner, *args: Any, **kwargs: Any) -> Any:
        seen.kernels.add((tuner.base_fn.__name__, tuner.base_fn.__code__.co_firstlineno))
        return tuned(tuner, *args, **kwargs)

    def stepped(function: JITFunction, *args: Any, grid: Any, warmup: bool, **options: Any) -> Any:
        if function not in seen.functions:
            seen.functions.append(function)
        tell({"step": "compile"})
        kernel = run(function, *args, grid=grid, warmup=True, **options)
        if warmup:
            return kernel
        tell({"step": "run"})
        sides: list[int] = []

        def launched(meta: Any) -> Any:
            sides[:] = grid(meta) if callable(grid) else grid
            return tuple(sides)

        kernel = run(function, *args, grid=launched, warmup=False, **options)
        seen.compiled.append((kernel, tuple(sides)))
        return kernel

    Autotuner.run, JITFunction.run = noted, stepped
    try:
        yield
    finally:
        Autotuner.run, JITFunction.run = tuned, run


def uses_atomics(seen: Observed) -> bool:
    """Whether a kernel that was launched, or a function it may call, does atomic operations by its source."""
    sources = [function.src for function in seen.functions]
    for function in seen.functions:
        called = (function.fn.__globals__.get(name) for name in re.findall(r"\w+", function.src))
        sources += [other.src for other in called if isinstance(other, JITFunction)]
    return any("atomic_" in source for source in sources)


def as_the_driver_says(kernel: Any, grid: tuple[int, ...]) -> dict[str, Any]:
    """The fields of `evidence.Launched`."""
    driver = ctypes.CDLL("libcuda.so.1")
    handle = ctypes.c_void_p(kernel.function)

    def attribute(which: int) -> int:
        value = ctypes.c_int(0)
        status = driver.cuFuncGetAttribute(ctypes.byref(value), which, handle)
        assert status == 0, f"cuFuncGetAttribute: error {status}"
        return value.value

    blocks = ctypes.c_int(0)
    threads = 32 * kernel.metadata.num_warps
    dynamic = ctypes.c_size_t(kernel.metadata.shared)
    status = driver.cuOccupancyMaxActiveBlocksPerMultiprocessor(
        ctypes.byref(blocks), handle, threads, dynamic
    )
    assert status == 0, f"cuOccupancyMaxActiveBlocksPerMultiprocessor: error {status}"
    return {
        "kernel": kernel.metadata.name,
        "grid": math.prod(grid),
        "num_warps": kernel.metadata.num_warps,
        "registers": attribute(4),  # CU_FUNC_ATTRIBUTE_NUM_REGS
        "local_bytes": attribute(3),  # CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES
        "shared_bytes": attribute(1)
        + kernel.metadata.shared,  # CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES
        "blocks_per_sm": blocks.value,
    }
