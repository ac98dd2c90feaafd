"""`codegen gpus`: the known GPUs as a table, plain text or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from codegen.gpu import KIB, GpuSpec, sources

if TYPE_CHECKING:
    from rich.table import Table

# Rates in TFLOP/s, shared memory in KiB: an SM's, and the most one block may have.
HEADER = (
    *("GPU", "CC", "SMs", "GB/s", "FP32", "TF32", "BF16", "L2 MiB"),
    *("warps/SM", "blocks/SM", "shared/SM", "shared/block"),
)


def row(gpu: GpuSpec) -> tuple[str, ...]:
    """One GPU's cells, in the order of HEADER; `-` for a figure that is not known."""
    rates = (gpu.peak_tflops(unit) for unit in ("fp32", "tf32", "bf16"))
    l2_mib = None if gpu.l2_bytes is None else gpu.l2_bytes / KIB**2
    limits = (gpu.max_warps_per_sm, gpu.max_blocks_per_sm)
    shared_kib = (gpu.shared_per_sm / KIB, gpu.shared_per_block / KIB)
    figures = (gpu.sms, gpu.memory_bandwidth_gbs, *rates, l2_mib, *limits, *shared_kib)
    cells = ("-" if figure is None else f"{figure:.4g}" for figure in figures)
    return (gpu.key, "{}.{}".format(*gpu.compute_capability), *cells)


def as_text(gpus: Sequence[GpuSpec]) -> str:
    """Columns aligned with spaces, one GPU a line."""
    rows = [HEADER, *map(row, gpus)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join([key.ljust(widths[0]), *map(str.rjust, cells, widths[1:])])
        for key, *cells in rows
    )
    return "\n".join(lines) + "\n"


def as_table(gpus: Sequence[GpuSpec]) -> Table:
    """The same for a terminal, 80 columns wide."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    caption = "CC: compute capability; rates in TFLOP/s, dense; shared memory in KiB"
    table = Table(box=SIMPLE_HEAD, padding=0, show_edge=False, caption=caption)
    table.add_column("GPU", no_wrap=True)
    for title in HEADER[1:]:
        # The unit on a line of its own, so that a column is as wide as its figures.
        table.add_column(title.replace("/", "\n/").replace(" ", "\n"), justify="right")
    for gpu in gpus:
        table.add_row(*row(gpu))
    return table


def sources_as_text(gpus: Sequence[GpuSpec]) -> str:
    """Every figure of every GPU with the document it is taken from, one figure a line."""
    return "".join(
        f"{gpu.key} {figure} = {getattr(gpu, figure)}: {source}\n"
        for gpu in gpus
        for figure, source in sources(gpu).items()
    )


def as_json(gpus: Sequence[GpuSpec], with_sources: bool) -> str:
    """A list of objects with the fields of GpuSpec, and `sources` by field if asked for."""
    entries = [
        {
            **asdict(gpu),
            "tflops": dict(gpu.tflops),
            **({"sources": dict(sources(gpu))} if with_sources else {}),
        }
        for gpu in gpus
    ]
    return json.dumps(entries, indent=2) + "\n"
