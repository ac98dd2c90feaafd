"""Nsight Compute metrics: JSON or CSV text -> one `KernelMetrics` a kernel.

What they say of a config list is for `profile.py`.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from codegen.outcome import BadInput

GRID, BLOCK = "launch__grid_size", "launch__block_size"
REGISTERS = "launch__registers_per_thread"
DYNAMIC_SHARED = "launch__shared_mem_per_block_dynamic"
STATIC_SHARED = "launch__shared_mem_per_block_static"
WAVES = "launch__waves_per_multiprocessor"
WARPS_ACTIVE = "sm__warps_active.avg.pct_of_peak_sustained_active"
MAX_WARPS = "sm__maximum_warps_per_active_cycle_pct"
SM_THROUGHPUT = "sm__throughput.avg.pct_of_peak_sustained_elapsed"
MEMORY_THROUGHPUT = "gpu__compute_memory_throughput.avg.pct_of_peak_sustained_elapsed"
DRAM_THROUGHPUT = "dram__throughput.avg.pct_of_peak_sustained_elapsed"
GPU_DRAM_THROUGHPUT = "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed"
L2_HIT = "lts__t_sector_hit_rate.pct"

# What tells the launches of one config from another's.
_SHAPE = (GRID, BLOCK, REGISTERS, DYNAMIC_SHARED, STATIC_SHARED)


@dataclass(frozen=True)
class KernelMetrics:
    """The metrics of one kernel, by their names in Nsight Compute, known to this package or not.

    Sizes are bytes, `*_pct` percent. A kernel launched more than once is described by its last launch and
    the others of the same shape (grid, block, registers, shared memory), each metric by its median: a
    profile of an autotuned kernel holds the tuner's trials first and the config it chose last.
    """

    kernel: str  # as the profile names it; empty where the metrics came without a name
    launches: int  # in the profile, of any shape
    values: Mapping[str, float]

    @property
    def grid_size(self) -> int | None:
        return self._integer(GRID)

    @property
    def block_size(self) -> int | None:
        return self._integer(BLOCK)

    @property
    def registers_per_thread(self) -> int | None:
        return self._integer(REGISTERS)

    @property
    def shared_bytes(self) -> float | None:
        """Static and dynamic, a block, to the two or three digits that CSV output gives."""
        if DYNAMIC_SHARED not in self.values:
            return None
        return self.values[DYNAMIC_SHARED] + self.values.get(STATIC_SHARED, 0.0)

    @property
    def waves(self) -> float | None:
        return self.values.get(WAVES)

    @property
    def warps_active_pct(self) -> float | None:
        """The achieved occupancy."""
        return self.values.get(WARPS_ACTIVE)

    @property
    def theoretical_occupancy_pct(self) -> float | None:
        return self.values.get(MAX_WARPS)

    @property
    def sm_throughput_pct(self) -> float | None:
        return self.values.get(SM_THROUGHPUT)

    @property
    def dram_throughput_pct(self) -> float | None:
        return self.values.get(DRAM_THROUGHPUT, self.values.get(GPU_DRAM_THROUGHPUT))

    @property
    def memory_throughput_pct(self) -> float | None:
        """Of the busiest part of the memory system; of DRAM alone where the profile has no more."""
        return self.values.get(MEMORY_THROUGHPUT, self.dram_throughput_pct)

    @property
    def l2_hit_pct(self) -> float | None:
        return self.values.get(L2_HIT)

    @property
    def tensor_pipe_pct(self) -> float | None:
        """How busy the tensor cores are, by whichever of its metrics the profile has."""
        rates = [rate for name, rate in self.values.items() if TENSOR_PIPE.search(name)]
        return max(rates, default=None)

    @property
    def stalls(self) -> Mapping[str, float]:
        """Cycles an issued instruction waited, on average, by reason; the longest first."""
        found = {
            m[1]: v
            for name, v in self.values.items()
            if (m := STALL.fullmatch(name)) and m[1] != "selected"
        }
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    def _integer(self, metric: str) -> int | None:
        value = self.values.get(metric)
        return None if value is None else round(value)


TENSOR_PIPE = re.compile(r"pipe_tensor.*\.avg\.pct_of_peak")
STALL = re.compile(
    r"smsp__average_warps?_(?:latency_)?issue_stalled_(\w+?)(?:_per_issue_active)?\.ratio"
)


def read_metrics(text: str, first_line: int = 1) -> dict[str, KernelMetrics]:
    """The metrics of each kernel in `text`, in order of appearance.

    Understood are `{kernel: {metric: value}}` as JSON (a list of such objects for several launches; numbers
    may be strings), and what `ncu --csv` prints, with `--page raw` (one row a launch) or without (one row a
    metric), banner and program output included. Values that are no finite number are left out.

    Raises BadInput where the text is neither, or broken; `first_line` is where it starts in its file.
    """
    if not text.strip(_BLANK):
        raise BadInput(
            "the metrics are empty: give ncu's --csv --page raw output, or JSON {kernel: {metric: value}}"
        )
    is_table = _HEADER.search(text) or text.lstrip(_BLANK)[0] not in "{["
    launches = _read_csv(text) if is_table else _read_json(text, first_line)
    by_kernel: dict[str, list[dict[str, float]]] = {}
    for kernel, values in launches:
        by_kernel.setdefault(kernel, []).append(values)
    if not any(values for runs in by_kernel.values() for values in runs):
        raise BadInput(
            "the metrics hold no number: give ncu's --csv --page raw output, or JSON {kernel: {metric: value}}"
        )
    return {kernel: _summary(kernel, runs) for kernel, runs in by_kernel.items()}


def find_kernel(metrics: Mapping[str, KernelMetrics], kernel: str) -> KernelMetrics | None:
    """The metrics of a Triton kernel, under its own name or one derived from it; None if there are none.

    Derived are a signature suffix (`kernel_0d1d2`), arguments (`void kernel<…>(…)`) and C++ mangling.
    Metrics without any name are taken to be of the kernel asked for.
    """
    name = re.escape(kernel)
    derived = re.compile(
        rf"(?:.*[\s:])?{name}(?:_(?=\d)[0-9dce]+)?\s*(?:[<(].*)?|_Z{len(kernel)}{name}.*", re.DOTALL
    )
    matching = [found for full, found in metrics.items() if derived.fullmatch(full)]
    return metrics.get(kernel) or (matching[-1] if matching else metrics.get(""))


def _summary(kernel: str, runs: list[dict[str, float]]) -> KernelMetrics:
    def shape(run: Mapping[str, float]) -> list[float | None]:
        return [run.get(metric) for metric in _SHAPE]

    alike = [run for run in runs if shape(run) == shape(runs[-1])]
    names = dict.fromkeys(name for run in alike for name in run)
    values = {name: median(run[name] for run in alike if name in run) for name in names}
    return KernelMetrics(kernel, len(runs), values)


# -- JSON -------------------------------------------------------------------------------------------

Launch = tuple[str, dict[str, float]]

_BLANK = "\ufeff \t\r\n"  # a byte-order mark is no content


def _read_json(text: str, first_line: int) -> Iterator[Launch]:
    try:
        data = json.loads(text.strip(_BLANK))
    except json.JSONDecodeError as error:
        lead = text[: len(text) - len(text.lstrip(_BLANK))].count("\n")
        line = first_line + lead + error.lineno - 1
        raise BadInput(
            f"the metrics are not JSON: {error.msg} at line {line}, column {error.colno}"
        ) from None
    except (ValueError, RecursionError):
        raise BadInput(
            "the metrics are not JSON that can be read: a number or the nesting is far too long"
        ) from None
    for entry in data if isinstance(data, list) else [data]:
        if not isinstance(entry, dict):
            raise BadInput(
                "the metrics are JSON of another form: {kernel: {metric: value}} is understood"
            )
        if not any(isinstance(value, dict | list) for value in entry.values()):
            entry = {"": entry}
        for kernel, runs in entry.items():
            for run in runs if isinstance(runs, list) else [runs]:
                if not isinstance(run, dict):
                    raise BadInput(
                        f"the metrics of {kernel[:80]!r} are no object {{metric: value}}"
                    )
                yield kernel, _numbers(run.items())


# -- CSV --------------------------------------------------------------------------------------------

_HEADER = re.compile(r"(?m)^\ufeff?\"[^\n]*\"Kernel Name\"")

# What ncu's details page calls the metrics this package asks for.
_DETAILS = {
    "Grid Size": GRID,
    "Block Size": BLOCK,
    "Registers Per Thread": REGISTERS,
    "Dynamic Shared Memory Per Block": DYNAMIC_SHARED,
    "Static Shared Memory Per Block": STATIC_SHARED,
    "Waves Per SM": WAVES,
    "Achieved Occupancy": WARPS_ACTIVE,
    "Theoretical Occupancy": MAX_WARPS,
    "Compute (SM) Throughput": SM_THROUGHPUT,
    "Memory Throughput": MEMORY_THROUGHPUT,
    "DRAM Throughput": DRAM_THROUGHPUT,
    "L2 Hit Rate": L2_HIT,
}


def _read_csv(text: str) -> Iterator[Launch]:
    """Launches from a table whose header names a "Kernel Name"; other lines are ncu's and the program's."""
    quoted = [line for line in text.splitlines() if line.lstrip("\ufeff").startswith('"')]
    header: list[str] = []
    units: Mapping[str, str] = {}
    long: dict[tuple[str, str], dict[str, float]] = {}
    try:
        for cells in csv.reader(quoted):
            row = dict(zip(header, cells, strict=False))
            if "Kernel Name" in cells:
                header = [cell.strip("\ufeff") for cell in cells]
            elif not row.get("Kernel Name"):
                units = row  # the row under the header, empty but for the metrics' units
            elif "Metric Name" in header:
                long.setdefault((row.get("ID", ""), row["Kernel Name"]), _shape(row)).update(
                    _metric(row)
                )
            else:
                yield row["Kernel Name"], _shape(row) | _numbers(row.items(), units)
    except csv.Error as error:
        raise BadInput(f"the metrics are not CSV that can be read: {error}") from None
    if not header:
        raise BadInput(
            'the metrics are neither JSON nor Nsight Compute CSV (no header with "Kernel Name"): '
            "give the output of ncu --csv --page raw"
        )
    for (_, kernel), values in long.items():
        yield kernel, values


def _metric(row: Mapping[str, str]) -> dict[str, float]:
    """The one metric in a row of a details page, under its raw name."""
    name, unit = row.get("Metric Name", ""), row.get("Metric Unit", "")
    if name == "Memory Throughput" and unit != "%":
        return {}  # a rate in bytes a second goes by the same name
    raw = _DETAILS.get(name, name)
    return _numbers([(raw, row.get("Metric Value"))], {raw: unit})


def _shape(row: Mapping[str, str]) -> dict[str, float]:
    """Grid and block from the columns every table has: `(1024, 1, 1)` -> 1024."""
    found = {
        metric: re.fullmatch(r"\((\d{1,9}), *(\d{1,9}), *(\d{1,9})\)", row.get(column, "").strip())
        for metric, column in ((GRID, "Grid Size"), (BLOCK, "Block Size"))
    }
    return {metric: float(math.prod(map(int, m.groups()))) for metric, m in found.items() if m}


def _numbers(
    items: Iterable[tuple[str, Any]], units: Mapping[str, str] | None = None
) -> dict[str, float]:
    """The metrics whose values are finite numbers, sizes in bytes."""
    return {
        name: number * _scale((units or {}).get(name, ""))
        for name, value in items
        if not _COLUMNS.fullmatch(name) and (number := _number(value)) is not None
    }


_COLUMNS = re.compile(
    r"ID|Process (?:ID|Name)|Host Name|Kernel (?:Name|Time)|Context|Stream|(?:Block|Grid) Size|Device|CC"
)


def _number(value: object) -> float | None:
    if isinstance(value, str):
        value = value.replace(",", "").strip().removesuffix("%")
    elif isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < _BEYOND_COUNTERS else None  # False for NaN


_BEYOND_COUNTERS = 1e24


def _scale(unit: str) -> float:
    """Bytes in a unit of ncu's, whose prefixes are powers of 1000; 1 for every other unit."""
    found = re.match(r"([KMGT]?)i?byte(?!s?/s)", unit)
    return 1000.0 ** " KMGT".index(found[1] or " ") if found else 1.0
