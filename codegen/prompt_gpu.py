"""The GPU block of an optimization prompt: `label: value` lines -> GpuSpec.

What the lines state goes over the built-in figures of the GPU they name. A GPU that is not in the table
is taken as described, where the description and its compute capability give every limit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

from codegen.gpu import GpuSpec, find_gpu, limits_of
from codegen.outcome import BadInput


@dataclass(frozen=True)
class Override:
    """A figure of a known GPU that the prompt states otherwise."""

    field: str  # of GpuSpec
    stated: object
    known: object


@dataclass(frozen=True)
class GpuBlock:
    """What a prompt says of its GPU. `gpu` is None, with the reason in `problem`, if that is not enough."""

    gpu: GpuSpec | None
    problem: str | None
    overrides: tuple[Override, ...]
    unread: tuple[str, ...]  # lines that name a figure whose value can't be understood


def read_gpu(lines: Iterable[str]) -> GpuBlock:
    """Reads the `label: value` lines among `lines`; the rest is passed over. Never raises."""
    stated: dict[str, Any] = {}
    rates: dict[str, float] = {}
    unread = []
    for line in lines:
        label, value = _split(line)
        entry = next((e for e in _LABELS if e[0].fullmatch(label)), None) if value else None
        if entry is None:
            continue
        _, field, unit = entry
        read = _read_value(unit, value, line)
        if read is None:
            unread.append(line.strip())
        elif field in _RATES:
            rates.setdefault(field, read)
        else:
            stated.setdefault(field, read)  # the first line that states a figure stands
    return _assemble(stated, rates, tuple(unread))


def _assemble(stated: dict[str, Any], rates: dict[str, float], unread: tuple[str, ...]) -> GpuBlock:
    name = stated.pop("name", None)
    if name is None and not stated and not rates:
        return GpuBlock(None, "the prompt describes no GPU", (), unread)
    try:
        # Whatever follows the name: `RTX 4090, 128 SMs`.
        known = find_gpu(re.split("[,;]", name)[0]) if name is not None else None
    except BadInput as unknown:
        known, hint = None, str(unknown)
    else:
        hint = "the prompt gives its GPU no name"

    capability = stated.get("compute_capability")
    limits = (limits_of(capability) if capability is not None else None) or {}
    if known is not None:
        if known.compute_capability != capability:
            stated = {**limits, **stated}
        units = dict(known.tflops) | rates
        gpu = replace(known, **stated, tflops=tuple(units.items()))
        return GpuBlock(gpu, None, _differences(known, gpu), unread)

    given = {"memory_bandwidth_gbs": None, "l2_bytes": None, **limits, **stated}
    given |= {
        "key": "described",
        "name": name or "GPU of the prompt",
        "tflops": tuple(rates.items()),
    }
    required = [f.name for f in fields(GpuSpec) if f.default is MISSING]
    missing = [field.replace("_", " ") for field in required if field not in given]
    if missing:
        lacking = f"the prompt does not describe it in full (no {', '.join(missing)})"
        return GpuBlock(None, f"{hint}, and {lacking}", (), unread)
    return GpuBlock(GpuSpec(**given), None, (), unread)


def _differences(known: GpuSpec, stated: GpuSpec) -> tuple[Override, ...]:
    pairs = [
        (f.name, getattr(stated, f.name), getattr(known, f.name))
        for f in fields(GpuSpec)
        if f.name != "tflops"
    ]
    before = dict(known.tflops)
    pairs += [(f"tflops {unit}", rate, before.get(unit)) for unit, rate in stated.tflops]
    return tuple(Override(name, new, old) for name, new, old in pairs if new != old)


# -- lines ------------------------------------------------------------------------------------------

_RATES = ("fp32", "tf32", "bf16", "fp16", "fp8")
_PER_SM = r"(per|/) ?(sm|multiprocessor|streaming multiprocessor)"

# A label, once the words that carry nothing are gone -> the field it states, and how its value reads.
_LABELS = [
    (re.compile(pattern), field, unit)
    for pattern, field, unit in (
        (r"(target )?(gpu|hardware|device)( name| model)?|name|model|target", "name", "text"),
        (r"compute capability|cc|cuda capability", "compute_capability", "version"),
        (r"sms|sm count|streaming multiprocessors|multiprocessors|sm", "sms", "count"),
        (r"((global|gpu|dram|hbm|peak) )*(memory )?bandwidth", "memory_bandwidth_gbs", "bandwidth"),
        (r"(fp32|float32|single precision)( .*)?", "fp32", "rate"),
        (r"(tf32|tensorfloat32)( .*)?", "tf32", "rate"),
        (r"(bf16|bfloat16)( .*)?", "bf16", "rate"),
        (r"(fp16|float16|half precision)( .*)?", "fp16", "rate"),
        (r"(fp8|float8)( .*)?", "fp8", "rate"),
        (r"l2( cache)?( size| capacity)?", "l2_bytes", "size"),
        (r"registers (per|/) ?thread", "max_registers_per_thread", "count"),
        (rf"(32 bit )?registers {_PER_SM}", "registers_per_sm", "count"),
        (r"(32 bit )?registers (per|/) ?(thread )?block", "registers_per_block", "count"),
        (r"threads (per|/) ?(thread )?block", "max_threads_per_block", "count"),
        (rf"((resident|concurrent|active) )*threads {_PER_SM}", "max_threads_per_sm", "count"),
        (rf"((resident|concurrent|active) )*warps {_PER_SM}", "max_warps_per_sm", "count"),
        (
            rf"((resident|concurrent|active) )*(thread )?blocks {_PER_SM}",
            "max_blocks_per_sm",
            "count",
        ),
        (r"warp size", "warp_size", "count"),
        (rf"shared memory( capacity| size)? {_PER_SM}", "shared_per_sm", "size"),
        (
            r"shared memory( capacity| size)? (per|/) ?(thread )?block( opt in)?",
            "shared_per_block",
            "size",
        ),
    )
]

_BULLET = re.compile(r"^\s*(?:[•·‣▪+–-]\s+|\d+[.)]\s+)?")
_EMPTY_WORDS = re.compile(r"\b(?:maximum|max|number of|number|num|total|the|available|of)\b")


def _split(line: str) -> tuple[str, str]:
    """`• Maximum warps per SM (resident): **48**` -> `warps per sm`, `48`."""
    plain = _BULLET.sub("", line.replace("*", "").replace("`", "").lstrip("| \t"))
    label, *value = re.split("[:=|]", plain, maxsplit=1)
    label = re.sub(r"\([^)]*\)?", " ", label.lower())
    label = _EMPTY_WORDS.sub(" ", re.sub(r"[^a-z0-9/ ]", " ", label))
    return " ".join(label.split()), value[0].strip(" \t\r\n|") if value else ""


# -- values -----------------------------------------------------------------------------------------

_NUMBER = r"(?P<number>\d{1,3}(?:[, _]\d{3})+(?:\.\d{1,6})?|\d{1,12}(?:\.\d{1,6})?)"
_SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_THOUSANDS = {"m": 1e-3, "g": 1.0, "t": 1e3}  # to GB/s
_TERA = {"g": 1e-3, "t": 1.0, "p": 1e3}  # to TFLOP/s


def _read_value(unit: str, value: str, line: str) -> Any:
    """The value of a line in GpuSpec's own unit; None where it makes no sense."""
    if unit == "text":
        return re.sub(r"\([^)]*\)?", "", value).strip()[:80] or None
    if unit == "version":
        version = re.match(r"(?:sm_?|cc\s*)?(\d{1,2})\.?(\d)[af]?\b", value.lower())
        return (int(version[1]), int(version[2])) if version else None
    found = re.match(rf"[~≈]?\s*{_NUMBER}", value)
    if found is None:
        return None
    number = float(re.sub(r"[, _]", "", found["number"]))
    # The unit stands after the number, or else in the label: `Memory Bandwidth (GB/s): 1008`.
    after, everything = value[found.end() :].lower(), line.lower()
    if unit == "count":
        number *= 1024 if re.match(r"\s*ki?\b", after) else 1
        return int(number) if number >= 1 and number == int(number) else None
    if unit == "size":
        scale = re.match(r"\s*([kmg]?)i?b(?:ytes?)?\b|\s*(bytes?)\b", after)
        scale = scale or re.search(r"\(([kmg]?)i?b(?:ytes?)?\)", everything)
        return int(number * _SIZES[scale[1] or ""]) or None if scale else None
    if unit == "bandwidth":
        scale = re.match(r"\s*([mgt])i?b(?:ytes)?(?:/|p| per )\s*s", after)
        scale = scale or re.search(r"\(([mgt])i?b/s(?:ec)?\)", everything)
        return round(number * _THOUSANDS[scale[1]], 6) or None if scale else None
    if "spars" in after and "dense" not in after:
        return None  # with sparsity: not the rate a dense product can reach
    scale = re.match(r"\s*([gtp])fl?op", after) or re.search(r"\b([gtp])fl?op", everything)
    return round(number * _TERA[scale[1]], 6) or None if scale else None
