"""GPUs and their limits, as data: the GPU need not be in this machine.

Every figure stands in `gpus.toml` with its source; nothing here asks a device.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from codegen.outcome import BadInput

KIB = 1024


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
    # How the resources are handed out, the same on every capability known here (cuda_occupancy.h).
    registers_per_block: int = 65536
    register_allocation_unit: int = 256  # registers, a warp
    shared_allocation_unit: int = 128  # bytes, a block
    sub_partitions: int = 4  # of an SM, each with its own quarter of the register file

    @property
    def sm(self) -> str:
        """The architecture as compilers spell it: `sm_89`."""
        return f"sm_{self.compute_capability[0]}{self.compute_capability[1]}"

    def peak_tflops(self, unit: str) -> float | None:
        return dict(self.tflops).get(unit)


def known_gpus() -> tuple[GpuSpec, ...]:
    """Every GPU of `gpus.toml`, in its order."""
    return tuple(_specs().values())


def gpu_called(name: str) -> GpuSpec | None:
    """The known GPU that a driver calls so; None where there is none."""
    return next((gpu for gpu in known_gpus() if gpu.name == name), None)


def find_gpu(name: str) -> GpuSpec:
    """The GPU a person means by `4090`, `RTX 4090`, `NVIDIA GeForce RTX 4090`, `h200 sxm`, ...

    Case, spaces, dashes and the words NVIDIA, GeForce and Tesla don't matter; the names drivers report
    are understood. Raises BadInput, with the nearest known names, for anything else.
    """
    keys = _keys_by_name()
    normal = _normal(name)
    if normal in keys:
        return _specs()[keys[normal]]
    if re.match(_NOT_NVIDIA, normal):
        raise BadInput(f"unknown GPU {name[:60]!r}: only NVIDIA's are known (codegen gpus)")
    near = difflib.get_close_matches(normal, keys, n=6, cutoff=0.5)
    nearest = list(dict.fromkeys(keys[match] for match in near))[:3]
    hint = f"the nearest known are {', '.join(nearest)}" if nearest else "no known name is near it"
    raise BadInput(f"unknown GPU {name[:60]!r}: {hint} (`codegen gpus` lists all)")


def limits_of(compute_capability: tuple[int, int]) -> Mapping[str, int] | None:
    """The GpuSpec fields that a compute capability alone decides; None where it is not known."""
    capabilities = _table()["capabilities"]
    capability = "{}.{}".format(*compute_capability)
    if capability not in capabilities:
        return None
    entry = capabilities["defaults"] | capabilities[capability]
    in_kib = {"shared_per_sm": "shared_kib_per_sm", "shared_per_block": "shared_kib_per_block"}
    return {
        field: entry[in_kib[field]] * KIB if field in in_kib else entry[field]
        for field in capabilities["sources"]
        if field != "compute_capability"
    }


def sources(gpu: GpuSpec) -> Mapping[str, str]:
    """Where each figure of a known GPU comes from: GpuSpec field -> document, table, URL.

    Empty for a GPU that is not in `gpus.toml`.
    """
    table = _table()
    for entry in table["gpus"]:
        if entry["key"] == gpu.key:
            cited = table["capabilities"]["sources"] | entry["sources"]
            return {field: table["documents"][document] for field, document in cited.items()}
    return {}


_NOISE = re.compile(r"nvidia|geforce|tesla|[^a-z0-9]")
_NOT_NVIDIA = re.compile(r"amd|radeon|instinct|mi\d{2,3}|gfx\d|intel|gaudi|tpu|apple")


def _normal(name: str) -> str:
    return _NOISE.sub("", name.lower())


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads((resources.files("codegen") / "gpus.toml").read_text("utf-8"))


@cache
def _specs() -> dict[str, GpuSpec]:
    return {entry["key"]: _spec(entry) for entry in _table()["gpus"]}


def _spec(entry: Mapping[str, Any]) -> GpuSpec:
    major, minor = map(int, entry["compute_capability"].split("."))
    limits = limits_of((major, minor))
    assert limits is not None, f"gpus.toml: no limits for {entry['compute_capability']}"
    return GpuSpec(
        key=entry["key"],
        name=entry["name"],
        compute_capability=(major, minor),
        sms=entry["sms"],
        memory_bandwidth_gbs=float(entry["memory_bandwidth_gbs"]),
        tflops=tuple((unit, float(rate)) for unit, rate in entry["tflops"].items()),
        l2_bytes=entry["l2_kib"] * KIB,
        **limits,
    )


@cache
def _keys_by_name() -> dict[str, str]:
    return {
        _normal(name): entry["key"]
        for entry in _table()["gpus"]
        for name in (entry["key"], entry["name"], *entry["aliases"])
    }
