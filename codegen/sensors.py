"""What the GPU says of itself: which it is, its clocks, what holds them back. Child processes only."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import torch
import triton

# NVML's bits (nvml.h, nvmlClocksEventReason*). Idle and what an application asked for are no throttling.
_REASONS = {
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
}


def machine(number: int) -> dict[str, Any]:
    """The fields of `evidence.Machine`."""
    properties = torch.cuda.get_device_properties(number)
    return {
        "gpu": properties.name,
        "uuid": f"GPU-{properties.uuid}",
        "compute_capability": [properties.major, properties.minor],
        "sm_count": properties.multi_processor_count,
        "l2_bytes": properties.L2_cache_size,
        "driver": _driver(),
        "cuda": torch.version.cuda or "unknown",
        "torch": torch.__version__,
        "triton": triton.__version__,
    }


def _driver() -> str:
    with contextlib.suppress(Exception):  # absent, or NVML's own errors
        import pynvml

        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    with contextlib.suppress(OSError, IndexError):
        return Path("/proc/driver/nvidia/version").read_text().split("Module")[1].split()[0]
    return "unknown"


class Sensors:
    """Reads clocks through NVML; without nvidia-ml-py, or where NVML does not answer, reads nothing."""

    def __init__(self, uuid: str) -> None:
        self._handle = None
        with contextlib.suppress(Exception):
            import pynvml

            pynvml.nvmlInit()
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)

    def read(self) -> dict[str, Any] | None:
        """The fields of `evidence.Clocks`."""
        if self._handle is None:
            return None
        import pynvml

        try:
            reasons = pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(self._handle)
            return {
                "sm_mhz": pynvml.nvmlDeviceGetClockInfo(self._handle, pynvml.NVML_CLOCK_SM),
                "memory_mhz": pynvml.nvmlDeviceGetClockInfo(self._handle, pynvml.NVML_CLOCK_MEM),
                "watts": pynvml.nvmlDeviceGetPowerUsage(self._handle) / 1000,
                "celsius": pynvml.nvmlDeviceGetTemperature(
                    self._handle, pynvml.NVML_TEMPERATURE_GPU
                ),
                "throttled": [name for bit, name in _REASONS.items() if reasons & bit],
            }
        except pynvml.NVMLError:
            return None
