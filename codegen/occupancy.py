"""How many blocks of a kernel an SM holds at once, and what keeps it from holding more.

The rules are those of NVIDIA's occupancy calculator, as `cuda_occupancy.h` of the CUDA Toolkit states
them (`cudaOccMaxActiveBlocksPerMultiprocessor`). Left out: named barriers and thread-block clusters,
which bind no kernel that uses one barrier and no cluster.
"""

from __future__ import annotations

from dataclasses import dataclass

from codegen.gpu import GpuSpec


@dataclass(frozen=True)
class Occupancy:
    """The resident blocks and warps of one kernel on one SM."""

    blocks_per_sm: int
    warps_per_sm: int
    percent: float  # of the SM's warp slots
    limited_by: tuple[
        str, ...
    ]  # every limit that binds: registers, shared memory, warps, blocks, threads
    reason: str | None = None  # why no block fits; None where one does


def occupancy(
    gpu: GpuSpec,
    *,
    registers: int,
    shared_bytes: int,
    threads_per_block: int | None = None,
    num_warps: int | None = None,
) -> Occupancy:
    """The theoretical occupancy of a kernel.

    `registers` are per thread, `shared_bytes` per block (static and dynamic together); the block's size
    is given in threads or in warps. A kernel that cannot launch has no blocks, and a `reason`.
    """
    if (threads_per_block is None) == (num_warps is None):
        raise ValueError("give threads_per_block or num_warps, and not both")
    threads = threads_per_block or (num_warps or 0) * gpu.warp_size
    if threads <= 0 or registers < 0 or shared_bytes < 0:
        raise ValueError(f"not a kernel: {threads=} {registers=} {shared_bytes=}")

    refusal = _why_no_launch(gpu, threads, registers, shared_bytes)
    if refusal is not None:
        limit, reason = refusal
        return Occupancy(0, 0, 0.0, (limit,), reason)

    warps = _divide_up(threads, gpu.warp_size)
    limits = {
        "warps": gpu.max_warps_per_sm // warps,
        "blocks": gpu.max_blocks_per_sm,
        # The system's own share comes on top of what the kernel asks for.
        "shared memory": gpu.shared_per_sm
        // _round_up(shared_bytes + gpu.shared_reserved_per_block, gpu.shared_allocation_unit),
    }
    if registers:
        # Each sub-partition serves its warps from its own part of the register file, so that what is
        # left over in one cannot complete a warp in another.
        per_sub_partition = gpu.registers_per_sm // gpu.sub_partitions
        resident_warps = (
            per_sub_partition // _registers_per_warp(gpu, registers) * gpu.sub_partitions
        )
        limits["registers"] = resident_warps // warps
    blocks = min(limits.values())
    binding = tuple(sorted(name for name, limit in limits.items() if limit == blocks))
    if not blocks:  # only where a GPU is described with less on an SM than a block may ask for
        return Occupancy(
            0, 0, 0.0, binding, f"{' and '.join(binding)}: one block needs more than an SM has"
        )
    return Occupancy(
        blocks_per_sm=blocks,
        warps_per_sm=blocks * warps,
        percent=100.0 * blocks * warps / gpu.max_warps_per_sm,
        limited_by=binding,
    )


def waves(grid_blocks: int, gpu: GpuSpec, blocks_per_sm: int) -> float:
    """How many times a grid fills the whole GPU (`launch__waves_per_multiprocessor` in a profile).

    Raises ValueError for a kernel that cannot launch (no blocks on an SM).
    """
    if blocks_per_sm < 1:
        raise ValueError("a kernel that cannot launch has no waves")
    return grid_blocks / (gpu.sms * blocks_per_sm)


def _why_no_launch(
    gpu: GpuSpec, threads: int, registers: int, shared_bytes: int
) -> tuple[str, str] | None:
    """The limit that one block alone exceeds, and the sentence that says by how much."""
    if threads > gpu.max_threads_per_block:
        return "threads", f"threads {threads:,} > {gpu.max_threads_per_block:,} a block"
    if shared_bytes > gpu.shared_per_block:
        return (
            "shared memory",
            f"shared memory {shared_bytes:,} > {gpu.shared_per_block:,} bytes a block",
        )
    if registers > gpu.max_registers_per_thread:
        return "registers", f"registers {registers:,} > {gpu.max_registers_per_thread:,} a thread"
    # The launch check takes the warps of a block as spread evenly over the sub-partitions.
    warps = _round_up(_divide_up(threads, gpu.warp_size), gpu.sub_partitions)
    needed = warps * _registers_per_warp(gpu, registers)
    if needed > gpu.registers_per_block:
        return "registers", f"registers {needed:,} > {gpu.registers_per_block:,} a block"
    return None


def _registers_per_warp(gpu: GpuSpec, registers: int) -> int:
    return _round_up(registers * gpu.warp_size, gpu.register_allocation_unit)


def _divide_up(value: int, unit: int) -> int:
    return -(-value // unit)


def _round_up(value: int, unit: int) -> int:
    return _divide_up(value, unit) * unit
