"""The GPU in this machine, if there is one: enough to decide whether to measure, and for what."""

from __future__ import annotations

from functools import cache

from codegen.child import Child, ChildFailed
from codegen.gpu import GpuSpec, find_gpu
from codegen.outcome import BadInput

_SECONDS = 30  # cuInit on a machine that has just started


def name_here() -> str | None:
    """The name of the GPU that CUDA takes first, as the driver says it; None where there is none."""
    try:
        with Child("devices", env={}) as child:
            names: list[str] = child.ask({}, seconds=_SECONDS)
    except ChildFailed:  # a driver that crashes or hangs is no GPU to measure on
        return None
    return names[0] if names else None


@cache
def gpu_here() -> GpuSpec | None:
    """The GPU in this machine; None where there is none, or none that is known by its figures."""
    name = name_here()
    try:
        return find_gpu(name) if name else None
    except BadInput:
        return None
