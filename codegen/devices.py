"""Which GPUs CUDA sees, asked of the driver itself: without PyTorch, in milliseconds. Child processes only."""

from __future__ import annotations

import ctypes
from typing import Any

_NAME_BYTES = 256


def handle(question: dict[str, Any]) -> list[str]:
    """The driver's names of the visible GPUs, in CUDA's order; none where there is no driver or no GPU.

    `CUDA_VISIBLE_DEVICES` counts, as it does for every other CUDA program.
    (CUDA Driver API: cuInit, cuDeviceGetCount, cuDeviceGet, cuDeviceGetName.)
    """
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return []
    count = ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)):
        return []
    return [_name(cuda, index) for index in range(count.value)]


def _name(cuda: ctypes.CDLL, index: int) -> str:
    device, text = ctypes.c_int(), ctypes.create_string_buffer(_NAME_BYTES)
    if cuda.cuDeviceGet(ctypes.byref(device), index) or cuda.cuDeviceGetName(
        text, _NAME_BYTES, device
    ):
        return ""
    return text.value.decode(errors="replace")
