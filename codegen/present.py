"""How a report looks to a person: tables on standard error, and the progress display above them."""

from __future__ import annotations

import contextlib
import math
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

_STYLES = {"kept": "green", "added": "bold cyan", "dropped": "red"}
_PLAIN_WIDTH = 120  # of a table that goes to a file or a pipe


def console(*, standard_output: bool = False) -> Console:
    """Standard error, or output: colours and bars on a terminal only; tables elsewhere not folded to 80 columns."""
    made = Console(stderr=not standard_output, highlight=False)
    if made.is_terminal:
        return made
    return Console(stderr=not standard_output, highlight=False, width=_PLAIN_WIDTH)


@contextlib.contextmanager
def progress(to: Console) -> Iterator[Progress]:
    """A function to report progress with; shows one bar a step, on a terminal only."""
    bars = Bars(
        TextColumn("{task.description:<22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=to,
        transient=True,
        disable=not to.is_terminal,
    )
    tasks: dict[str, int] = {}

    def show(step: str, done: int, total: int) -> None:
        if step not in tasks:
            tasks[step] = bars.add_task(step, total=total)
        bars.update(tasks[step], completed=done, total=total)  # type: ignore[arg-type]

    with bars:
        yield show


def print_report(report: Report, to: Console) -> None:
    """The whole report: one table a site, then what the profile says, notes and the verdict."""
    to.print(Text(f"{report.name} on {report.gpu.name} ({report.gpu.sm}), {_called_with(report)}"))
    for site in report.sites:
        to.print()
        to.print(_table(site, report))
        if site.profile:
            to.print(Text(f"profile: {site.profile.line}"))
        if site.note:
            to.print(Text(f"{site.kernel}: {site.note}", style="yellow"))
    for note in report.notes:
        to.print(Text(note, style="yellow"))
    to.print(Text(f"{_counts(report.sites)}: {report.verdict}", style="bold"))


def _called_with(report: Report) -> str:
    if not report.inputs:
        return "as launched by the run"
    guess = "  (a guess: give --inputs or --problem)" if report.guessed else ""
    return f"inputs {'  '.join(describe(report.inputs))}{guess}"


def print_comparison(reports: Sequence[Report], to: Console) -> None:
    """The same configs on several GPUs, side by side: one column a GPU."""
    first = reports[0]
    for number, site in enumerate(first.sites):
        table = Table(
            title=f"{site.kernel} ({first.name}:{site.line})",
            title_justify="left",
            box=None,
            pad_edge=False,
        )
        for column in ("#", "config", "warps", "stages"):
            table.add_column(
                column, justify="right" if column != "config" else "left", no_wrap=True
            )
        for report in reports:
            table.add_column(report.gpu.name)
        for index, row in enumerate(site.rows):
            cells = [_cell(report.sites[number].rows[index], report) for report in reports]
            table.add_row(str(index), _meta(row.config), *_knobs(row.config), *cells)
        to.print(table)
        to.print()


def _cell(row: Row, report: Report) -> Text:
    if row.occupancy is None or row.resources is None or row.status == "dropped":
        return Text(row.reason, style="red")
    waves = row.waves(report.gpu)
    parts = [
        f"{row.occupancy.percent:.1f} %",
        f"{row.occupancy.blocks_per_sm}/SM by {', '.join(row.occupancy.limited_by)}",
        f"{row.resources.registers} regs",
        f"{row.resources.shared_bytes:,} B",
        f"{row.resources.spill_bytes} B spilled" if row.resources.spill_bytes else "",
        f"{waves:.1f} waves" if waves else "",
    ]
    return Text(" · ".join(part for part in parts if part))


def _table(site: SiteReport, report: Report) -> Table:
    title = f"{site.kernel} (line {site.line})"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column("#", justify="right")
    table.add_column("")
    table.add_column(_names(site.rows), no_wrap=True)
    for column in (
        "warps",
        "stages",
        "shared",
        "regs",
        "spill",
        "blk/SM",
        "occ. %",
        "limit",
        "waves",
        "error",
    ):
        table.add_column(column, justify="left" if column == "limit" else "right", no_wrap=True)
    table.add_column("why", overflow="fold", min_width=24)
    for index, row in enumerate(site.rows):
        mark = " ◄ profile" if site.profile and index in site.profile.attributed_to else ""
        table.add_row(
            str(index),
            Text(row.status, style=_STYLES[row.status]),
            _meta(row.config),
            *_knobs(row.config),
            *_needs(row, report),
            _error(row),
            row.reason + mark,
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


def _needs(row: Row, report: Report) -> tuple[str, ...]:
    if row.resources is None or row.occupancy is None:
        return ("–",) * 7
    waves = row.waves(report.gpu)
    return (
        f"{row.resources.shared_bytes:,}",
        str(row.resources.registers),
        str(row.resources.spill_bytes),
        str(row.occupancy.blocks_per_sm),
        f"{row.occupancy.percent:.2f}",
        ", ".join(row.occupancy.limited_by),
        "–" if waves is None else f"{waves:.2f}",
    )


def _error(row: Row) -> str:
    if row.accuracy is None:
        return "–"
    error = row.accuracy.relative_error
    return "NaN" if math.isnan(error) else f"{error:.1e}"


def _counts(sites: Sequence[SiteReport]) -> str:
    rows = [row for site in sites for row in site.rows]
    counts = {status: sum(row.status == status for row in rows) for status in _STYLES}
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count)
