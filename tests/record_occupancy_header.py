"""Records what NVIDIA's `cuda_occupancy.h` answers, for test_occupancy.py to compare with.

The header is the published form of the occupancy calculator; it knows every compute capability and needs
no GPU, only a C compiler and a CUDA Toolkit:

    python tests/record_occupancy_header.py /usr/local/cuda/include tests/data/occupancy_header.json
"""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# Compute capability -> (threads per SM, shared memory per SM): what the header takes as given. The rest
# of its device properties is the same for all of them. CUDA C++ Programming Guide, "Technical
# Specifications per Compute Capability".
CAPABILITIES = {
    "8.0": (2048, 164 << 10),
    "8.6": (1536, 100 << 10),
    "8.9": (1536, 100 << 10),
    "9.0": (2048, 228 << 10),
    "10.0": (2048, 228 << 10),
    "12.0": (1536, 100 << 10),
}
REGISTERS = (16, 32, 33, 40, 64, 65, 96, 128, 168, 184, 208, 240, 255)
THREADS = (1, 32, 33, 64, 96, 128, 160, 256, 288, 384, 512, 640, 768, 1024, 1025)
SHARED: tuple[int, ...] = (
    0,
    1,
    1024,
    3000,
    7168,
    12000,
    16384,
    33792,
    49152,
    49153,
    65536,
    81920,
    98304,
)
SHARED += (101376, 101377, 131072, 166912, 166913, 232448, 232449)

SHIM = """\
#include <string.h>
#include "cuda_occupancy.h"

int blocks(int major, int minor, int threads_per_sm, int shared_per_sm, int registers, int threads, int shared) {
  cudaOccDeviceProp device;
  cudaOccFuncAttributes kernel;
  cudaOccDeviceState state;
  cudaOccResult result;
  memset(&device, 0, sizeof device);
  memset(&kernel, 0, sizeof kernel);
  memset(&state, 0, sizeof state);
  device.computeMajor = major;
  device.computeMinor = minor;
  device.maxThreadsPerBlock = 1024;
  device.maxThreadsPerMultiprocessor = threads_per_sm;
  device.regsPerBlock = 65536;
  device.regsPerMultiprocessor = 65536;
  device.warpSize = 32;
  device.sharedMemPerBlock = 49152;
  device.sharedMemPerMultiprocessor = shared_per_sm;
  device.sharedMemPerBlockOptin = shared_per_sm - 1024;
  device.reservedSharedMemPerBlock = 1024;
  device.numSms = 1;
  kernel.maxThreadsPerBlock = 1024;
  kernel.numRegs = registers;
  kernel.maxDynamicSharedSizeBytes = shared;
  kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
  kernel.numBlockBarriers = 1;
  state.carveoutConfig = SHAREDMEM_CARVEOUT_MAX_SHARED;
  if (cudaOccMaxActiveBlocksPerMultiprocessor(&result, &device, &kernel, &state, threads, shared))
    return -1;
  return result.activeBlocksPerMultiprocessor;
}
"""


def main(include: str, path: str) -> None:
    version = re.search(
        r"#define CUDA_VERSION (\d+)", (Path(include) / "cuda.h").read_text("utf-8")
    )
    lib = build(include)
    answers = {}
    for capability, (threads_per_sm, shared_per_sm) in CAPABILITIES.items():
        device = (*map(int, capability.split(".")), threads_per_sm, shared_per_sm)
        answers[capability] = [
            [[lib.blocks(*device, registers, t, size) for size in SHARED] for t in THREADS]
            for registers in REGISTERS
        ]
    if any(
        blocks < 0 for table in answers.values() for rows in table for row in rows for blocks in row
    ):
        raise RuntimeError("the header refused a question")
    axes = {"registers": REGISTERS, "threads": THREADS, "shared": SHARED}
    head = [f"{json.dumps(name)}: {json.dumps(values)}" for name, values in axes.items()]
    body = [f"{json.dumps(name)}: {json.dumps(table)}" for name, table in answers.items()]
    source = json.dumps(f"cuda_occupancy.h, CUDA {version[1] if version else 'unknown'}")
    lines = [f'"source": {source}', *head, '"blocks": {\n' + ",\n".join(body) + "\n}"]
    Path(path).write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


def build(include: str) -> ctypes.CDLL:
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "shim.c", Path(folder) / "shim.so"
        source.write_text(SHIM, "utf-8")
        command = ["cc", "-shared", "-fPIC", "-I", include, "-o", str(library), str(source)]
        subprocess.run(command, check=True)
        return ctypes.CDLL(str(library))


if __name__ == "__main__":
    main(*sys.argv[1:])
