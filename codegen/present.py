"""How a report looks to a person: tables on standard error, and the progress above them."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from codegen.config import Config
from codegen.inputs import describe
from codegen.report import Report, Row, SiteReport
from codegen.toolchain import Progress

LINE_SECONDS = 10.0  # between two lines of progress where there is no terminal
_SERIALISED = (
    "products on tensor cores wait for one another, as other code touches their sums while they run: "
    "docs/hazards.md"
)
_STYLES = {"kept": "green", "added": "cyan", "dropped": "red"}
_MARKS = {"kept": " ", "added": "+", "dropped": "-"}  # as in a diff
_LIMITS = {"shared memory": "smem", "registers": "regs"}
_TABLE_WIDTH = 100  # a narrower terminal folds the lines, which beats cutting them


def console(*, standard_output: bool = False, at_least: int = _TABLE_WIDTH) -> Console:
    """Standard error, or output, with colours and bars on a terminal only."""
    made = Console(stderr=not standard_output, highlight=False, markup=False)
    return Console(
        stderr=not standard_output,
        highlight=False,
        markup=False,
        width=max(at_least, made.width),
    )


def progress(to: Console) -> contextlib.AbstractContextManager[Progress]:
    """A function to report progress with: a bar a step on a terminal, elsewhere a line every ten seconds at most."""
    return _bars(to) if to.is_terminal else _lines(to)


@contextlib.contextmanager
def _bars(to: Console) -> Iterator[Progress]:
    bars = Bars(
        TextColumn("{task.description:<22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=to,
        transient=True,
    )
    tasks: dict[str, int] = {}

    def show(step: str, done: int, total: int) -> None:
        if step not in tasks:
            tasks[step] = bars.add_task(step, total=total)
        bars.update(tasks[step], completed=done, total=total)  # type: ignore[arg-type]

    with bars:
        yield show


@contextlib.contextmanager
def _lines(to: Console) -> Iterator[Progress]:
    """How far it is by the clock, not by the steps: what is quick says nothing, and a step that takes long is named
    while it is under way. No line comes twice.
    """
    said = now = ""
    ended = threading.Event()

    def show(step: str, done: int, total: int) -> None:
        nonlocal now
        now = f"codegen: {step}: {done} of {total}" if total > 1 else f"codegen: {step}"

    def tell() -> None:
        nonlocal said
        while not ended.wait(LINE_SECONDS):
            if now != said:
                said = now
                _say(to, Text(said))

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield show
    finally:
        ended.set()
        teller.join()


def print_report(report: Report, to: Console, *, verdict: bool = True) -> None:
    """The whole report: a table a site, why each config is as it is, the profile, notes and the verdict.

    `verdict` False: it is what the command ends with.
    """
    _say(to, Text(f"{report.name} on {report.gpu.name} ({report.gpu.sm}), {_called_with(report)}"))
    for site in report.sites:
        to.print()
        to.print(_table(site, report))
        for index, row in enumerate(site.rows):
            if row.reason != "original":
                _say(to, Text(f"#{index} {row.status}: {row.reason}", style=_STYLES[row.status]))
        slow = [
            index
            for index, row in enumerate(site.rows)
            if row.resources and row.resources.serialised
        ]
        if slow:
            _say(
                to,
                Text(f"{', '.join(f'#{index}' for index in slow)}: {_SERIALISED}", style="yellow"),
            )
        if site.profile:
            shown = ", ".join(f"#{index}" for index in site.profile.attributed_to) or "no config"
            _say(to, Text(f"profile of {shown}: {site.profile.line}"))
        if site.note:
            _say(to, Text(f"{site.kernel}: {site.note}", style="yellow"))
    for note in report.notes:
        _say(to, Text(note, style="yellow"))
    if verdict:
        _say(to, Text(f"{_counts(report.sites)}: {report.verdict}", style="bold"))


def _say(to: Console, text: Text) -> None:
    """A line of prose: left to the terminal to fold, so that in a pipe it stays one line."""
    to.print(text, soft_wrap=True)


def _called_with(report: Report) -> str:
    if not report.inputs:
        known = any(row.resources for site in report.sites for row in site.rows)
        return "as launched by the run" if known else "not launched"
    guess = "  (a guess: give --inputs or --problem)" if report.guessed else ""
    return f"inputs {'  '.join(describe(report.inputs))}{guess}"


def print_comparison(reports: Sequence[Report], to: Console) -> None:
    """The same configs on several GPUs, side by side: a group of columns a GPU."""
    first = reports[0]
    _say(to, Text(f"{first.name}, {_called_with(first)}"))
    for site in first.sites:
        table = _grid(f"{site.kernel} (line {site.line})")
        for column in ("#", _names(site.rows), "warps", "stages"):
            table.add_column(f"\n{column}", justify="right", no_wrap=True)
        for report in reports:
            table.add_column(f"{report.gpu.name}\n occ. % blk/SM regs  shared  waves", no_wrap=True)
        # A wrapper may launch other kernels on another GPU.
        others = [_rows_of(site, report) for report in reports]
        for index, row in enumerate(site.rows):
            cells = [
                _cell(rows[index], report) if rows else "  not launched"
                for rows, report in zip(others, reports, strict=True)
            ]
            table.add_row(str(index), _meta(row.config), *_knobs(row.config), *cells)
        to.print()
        to.print(table)
        for rows, report in zip(others, reports, strict=True):
            for index, row in enumerate(rows):
                if row.status == "dropped":
                    _say(to, Text(f"#{index} on {report.gpu.name}: {row.reason}", style="red"))
                elif row.resources and row.resources.spill_bytes:
                    spilled = f"spills {row.resources.spill_bytes:,} bytes a thread"
                    _say(to, Text(f"#{index} on {report.gpu.name}: {spilled}", style="yellow"))


def _rows_of(site: SiteReport, report: Report) -> tuple[Row, ...]:
    """The rows of the same kernel in another GPU's report; none where it is not launched there."""
    same = [s for s in report.sites if (s.kernel, s.line) == (site.kernel, site.line)]
    return same[0].rows if same and len(same[0].rows) == len(site.rows) else ()


def _cell(row: Row, report: Report) -> str:
    if row.occupancy is None or row.resources is None:
        return "      –"
    waves = row.waves(report.gpu)
    return (
        f"{row.occupancy.percent:7.2f} {row.occupancy.blocks_per_sm:6} {row.resources.registers:4} "
        f"{row.resources.shared_bytes:7,} {'–' if waves is None else f'{waves:.2f}':>6}"
    )


def _grid(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="bold",
    )


def _table(site: SiteReport, report: Report) -> Table:
    table = _grid(f"{site.kernel} (line {site.line})")
    spills = any(row.resources and row.resources.spill_bytes for row in site.rows)
    columns = [
        "",
        "#",
        _names(site.rows),
        "warps",
        "stages",
        "shared",
        "regs",
        *(["spill"] if spills else []),
    ]
    times = max((len(row.times_us) for row in site.rows), default=0)
    columns += ["blk/SM", "occ. %", "limit", "waves", "error", *["µs"] * times]
    for column in columns:
        table.add_column(column, justify="left" if column == "limit" else "right", no_wrap=True)
    for index, row in enumerate(site.rows):
        table.add_row(
            Text(_MARKS[row.status], style=_STYLES[row.status]),
            str(index),
            _meta(row.config),
            *_knobs(row.config),
            *_needs(row, report, spills),
            _error(row),
            *_times(row, times),
            style="dim" if row.status == "dropped" else None,
        )
    return table


def _names(rows: Sequence[Row]) -> str:
    """The meta-parameters' names, short: `BLOCK_SIZE_M, BLOCK_SIZE_N` -> `M,N`."""
    names = [name for name, _ in rows[0].config.meta] if rows else []
    return ",".join(name.removeprefix("BLOCK_").removeprefix("SIZE_") for name in names) or "config"


def _meta(config: Config) -> str:
    return ",".join(str(value) for _, value in config.meta) or "–"


def _knobs(config: Config) -> tuple[str, str]:
    warps = config.num_warps if config.warps is None else config.warps
    stages = config.num_stages if config.stages is None else config.stages
    return str(warps), str(stages)


def _needs(row: Row, report: Report, spills: bool) -> tuple[str, ...]:
    if row.resources is None or row.occupancy is None:
        return ("–",) * (7 if spills else 6)
    waves = row.waves(report.gpu)
    return (
        f"{row.resources.shared_bytes:,}",
        str(row.resources.registers),
        *([str(row.resources.spill_bytes)] if spills else []),
        str(row.occupancy.blocks_per_sm),
        f"{row.occupancy.percent:.2f}",
        ",".join(_LIMITS.get(limit, limit) for limit in row.occupancy.limited_by),
        "–" if waves is None else f"{waves:.2f}",
    )


def _error(row: Row) -> str:
    if row.accuracy is None:
        return "–"
    error = row.accuracy.relative_error
    return "NaN" if math.isnan(error) else f"{error:.1e}"


def _times(row: Row, count: int) -> tuple[str, ...]:
    shown = [f"{time:,.1f}" if time is not None else "–" for time in row.times_us]
    return (*shown, *("–" for _ in range(count - len(shown))))


def _counts(sites: Sequence[SiteReport]) -> str:
    rows = [row for site in sites for row in site.rows]
    counts = {status: sum(row.status == status for row in rows) for status in _STYLES}
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count)
