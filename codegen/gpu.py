"""GPUs and their limits, as data: the GPU need not be in this machine.

Every figure stands in `gpus.toml` with its source; nothing here asks a device.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GpuSpec:
    """One GPU. Sizes are bytes, rates are dense (no sparsity) at boost clock."""

    key: str  # what --gpu takes: `rtx-4090`
    name: str  # what a person reads: `NVIDIA GeForce RTX 4090`
    compute_capability: tuple[int, int]
    sms: int
    memory_bandwidth_gbs: float | None  # GB/s
    tflops: tuple[tuple[str, float], ...]  # unit -> TFLOP/s: fp32, tf32, bf16, fp16, fp8
    l2_bytes: int | None
    # Limits of the compute capability (CUDA C++ Programming Guide, table "Technical Specifications").
    max_registers_per_thread: int
    registers_per_sm: int
    max_threads_per_block: int
    max_threads_per_sm: int
    max_warps_per_sm: int
    max_blocks_per_sm: int
    shared_per_sm: int
    shared_per_block: int  # the opt-in maximum
    shared_reserved_per_block: int  # what the system keeps of each resident block's share
    warp_size: int = 32

    @property
    def sm(self) -> str:
        """The architecture as compilers spell it: `sm_89`."""
        return f"sm_{self.compute_capability[0]}{self.compute_capability[1]}"

    def peak_tflops(self, unit: str) -> float | None:
        return dict(self.tflops).get(unit)
