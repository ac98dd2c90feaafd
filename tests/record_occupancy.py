"""Records what a live GPU answers about occupancy, for test_occupancy.py to compare with.

Run on a machine with a GPU (nothing but Python and the driver is needed):

    python tests/record_occupancy.py tests/data/occupancy_h200.json

A PTX kernel that keeps 240 values alive across a barrier is compiled for many register limits; for
each, `cuOccupancyMaxActiveBlocksPerMultiprocessor` is asked over block sizes and dynamic shared memory.
An answer of null means that the driver refused the question itself.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

# CUdevice_attribute of cuda.h, by the name of the GpuSpec field it answers.
DEVICE_ATTRIBUTES = {
    "max_threads_per_block": 1,
    "warp_size": 10,
    "registers_per_block": 12,
    "sms": 16,
    "l2_bytes": 38,
    "max_threads_per_sm": 39,
    "compute_capability_major": 75,
    "compute_capability_minor": 76,
    "shared_per_sm": 81,
    "registers_per_sm": 82,
    "shared_per_block": 97,
    "max_blocks_per_sm": 106,
    "shared_reserved_per_block": 111,
}
# CUfunction_attribute of cuda.h.
STATIC_SHARED_BYTES, NUM_REGS, MAX_DYNAMIC_SHARED_BYTES = 1, 4, 8
INVALID_VALUE = 1

LIVE_VALUES = 240
# Both sides of the steps of eight registers a thread (256 a warp), then whole steps.
REGISTERS: tuple[int, ...] = (
    24,
    25,
    31,
    32,
    33,
    40,
    41,
    48,
    56,
    63,
    64,
    65,
    72,
    80,
    81,
    96,
    97,
    104,
    112,
    128,
    129,
)
REGISTERS += (144, 152, 160, 168, 169, 184, 192, 208, 224, 240, 255)
STATIC_SHARED = {32: 1000, 64: 4096, 128: 40000}  # registers -> bytes, a second kernel each
THREADS = (1, 33, 100, *range(32, 1025, 32), 1025)
# An even share for so many blocks, less what the system keeps of it, and the steps beside it.
BLOCKS_SHARING = (24, 16, 10, 6, 4, 3, 2)


def main(path: str) -> None:
    cuda = Driver()
    attributes = cuda.device_attributes()
    limit = attributes["shared_per_block"]
    kept = attributes["shared_reserved_per_block"]
    shares = [
        attributes["shared_per_sm"] // blocks // 128 * 128 - kept for blocks in BLOCKS_SHARING
    ]
    edges = {share + step for share in shares for step in (0, 1)}
    shared = sorted({0, 1, *edges, limit, limit + 1})
    kernels = [(registers, 0) for registers in REGISTERS] + list(STATIC_SHARED.items())
    record: dict[str, Any] = {
        "device": cuda.device_name(),
        "driver": cuda.driver_version(),
        "attributes": attributes,
        "threads": THREADS,
        "dynamic_shared": shared,
        "kernels": [cuda.kernel(registers, static, limit, shared) for registers, static in kernels],
    }
    Path(path).write_text(dump(record), "utf-8")
    answers = len(record["kernels"]) * len(THREADS) * len(shared)
    registers = sorted({kernel["registers"] for kernel in record["kernels"]})
    print(f"{record['device']}: {answers:,} answers, registers {registers}", file=sys.stderr)


def dump(record: dict[str, Any]) -> str:
    """JSON with one line for each list of numbers."""
    lines = [f"{json.dumps(key)}: {json.dumps(record[key])}" for key in record if key != "kernels"]
    kernels = ",\n".join(json.dumps(kernel) for kernel in record["kernels"])
    return "{\n" + ",\n".join(lines) + ',\n"kernels": [\n' + kernels + "\n]\n}\n"


def ptx(max_registers: int, static_shared: int) -> str:
    """A kernel that wants more registers than it may have, so that it gets exactly `max_registers`.

    (255 comes out as 254.) What does not fit is spilled, which occupancy does not ask about.
    """
    loads = "\n".join(
        f"  ld.volatile.global.f32 %f{i}, [%rd1+{4 * i}];" for i in range(LIVE_VALUES)
    )
    stores = "\n".join(
        f"  st.volatile.global.f32 [%rd1+{4 * i}], %f{i};" for i in range(LIVE_VALUES)
    )
    buffer = f".shared .align 4 .b8 buffer[{static_shared}];" if static_shared else ""
    touch = "st.volatile.shared.f32 [buffer], %f0;" if static_shared else ""
    return f"""\
.version 7.0
.target sm_80
.address_size 64
.visible .entry kernel(.param .u64 data)
.maxnreg {max_registers}
{{
  .reg .f32 %f<{LIVE_VALUES}>;
  .reg .b64 %rd<2>;
  {buffer}
  ld.param.u64 %rd1, [data];
{loads}
  {touch}
  bar.sync 0;
{stores}
  ret;
}}
"""


class Driver:
    """The few calls of the CUDA driver API that are needed, on device 0."""

    def __init__(self) -> None:
        self.lib = ctypes.CDLL("libcuda.so.1")
        self.device = ctypes.c_int()
        context = ctypes.c_void_p()
        self.call("cuInit", 0)
        self.call("cuDeviceGet", ctypes.byref(self.device), 0)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self.device)
        self.call("cuCtxSetCurrent", context)

    def call(self, name: str, *arguments: Any) -> None:
        status = getattr(self.lib, name)(*arguments)
        if status != 0:
            raise RuntimeError(f"{name} failed with CUresult {status}")

    def device_name(self) -> str:
        name = ctypes.create_string_buffer(128)
        self.call("cuDeviceGetName", name, len(name), self.device)
        return name.value.decode()

    def driver_version(self) -> int:
        version = ctypes.c_int()
        self.call("cuDriverGetVersion", ctypes.byref(version))
        return version.value

    def device_attributes(self) -> dict[str, int]:
        values = {}
        for field, attribute in DEVICE_ATTRIBUTES.items():
            value = ctypes.c_int()
            self.call("cuDeviceGetAttribute", ctypes.byref(value), attribute, self.device)
            values[field] = value.value
        return values

    def kernel(
        self, max_registers: int, static_shared: int, shared_limit: int, dynamic_shared: list[int]
    ) -> dict[str, Any]:
        """One kernel's registers and static shared memory, and `blocks[threads][dynamic_shared]`."""
        module, function = ctypes.c_void_p(), ctypes.c_void_p()
        source = ptx(max_registers, static_shared).encode()
        self.call("cuModuleLoadData", ctypes.byref(module), source)
        self.call("cuModuleGetFunction", ctypes.byref(function), module, b"kernel")
        static = self.function_attribute(function, STATIC_SHARED_BYTES)
        registers = self.function_attribute(function, NUM_REGS)
        opt_in = shared_limit - static
        self.call("cuFuncSetAttribute", function, MAX_DYNAMIC_SHARED_BYTES, ctypes.c_int(opt_in))
        blocks = [[self.blocks(function, t, size) for size in dynamic_shared] for t in THREADS]
        self.call("cuModuleUnload", module)
        return {"registers": registers, "static_shared": static, "blocks": blocks}

    def function_attribute(self, function: ctypes.c_void_p, attribute: int) -> int:
        value = ctypes.c_int()
        self.call("cuFuncGetAttribute", ctypes.byref(value), attribute, function)
        return value.value

    def blocks(self, function: ctypes.c_void_p, threads: int, dynamic_shared: int) -> int | None:
        count = ctypes.c_int()
        status = self.lib.cuOccupancyMaxActiveBlocksPerMultiprocessor(
            ctypes.byref(count), function, ctypes.c_int(threads), ctypes.c_size_t(dynamic_shared)
        )
        if status == INVALID_VALUE:
            return None
        if status != 0:
            raise RuntimeError(f"the occupancy question failed with CUresult {status}")
        return count.value


if __name__ == "__main__":
    main(sys.argv[1])
