"""What an acceptance leaves behind: the dossier beside the file, and its HTML page."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from codegen import __version__
from codegen.accept import Acceptance, Contender
from codegen.contest import Standing
from codegen.dossier import Contest, Dossier, Entry, Source, beside
from codegen.page import page
from codegen.record import Record
from codegen.report import Row
from codegen.wire import to_wire
from codegen.workload import works_of
from codegen.write import write_whole


def keep(dossier: Dossier, path: Path) -> tuple[Path, ...]:
    """Writes the dossier of the file at `path`, and its page, beside it; returns where they are."""
    record = beside(path)
    shown = record.with_suffix(".html")
    write_whole(record, dossier.text().encode())
    write_whole(shown, page(dossier).encode())
    return record, shown


def put_findings(record: Path, dossier: Dossier) -> None:
    """Fills in the verdict and the provenance of a rendered file's record, where it was measured.

    A file that is no longer what the record renders to leaves it as it is.
    """
    if dossier.machine is not None:
        found = with_findings(Record.read(record), dossier)
        if found.about(found.source()) == found:
            write_whole(record, found.text().encode())


def with_findings(record: Record, dossier: Dossier) -> Record:
    findings = {"verdict": to_wire(dossier.verdict), "provenance": dossier.provenance()}
    return replace(record, findings=record.findings | findings)


def dossier_of(acceptance: Acceptance) -> Dossier:
    """The acceptance as the data that is kept. Traces the reference, in a child, for the work it is."""
    terms = acceptance.terms
    cases = [timed.case for timed in acceptance.races]
    works = works_of(cases, terms.against, acceptance.candidate.question.code) if cases else ()
    candidate, original = acceptance.candidate, acceptance.original
    return Dossier(
        verdict=acceptance.verdict,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        codegen=__version__,
        candidate=_source(candidate, acceptance.standings),
        reference=str(terms.against),
        promise=terms.promise,
        margin=acceptance.margin,
        contests=tuple(
            Contest(timed.case, work, timed.race, timed.pairing)
            for timed, work in zip(acceptance.races, works, strict=True)
        ),
        gpu=candidate.question.gpu.key,
        machine=acceptance.machine,
        original=_source(original, acceptance.original_standings) if original else None,
        diff=_diff(original, candidate) if original else "",
        notes=acceptance.notes,
    )


def _source(file: Contender, standings: Sequence[Standing]) -> Source:
    rows = [row for each in file.launched for row in file.rows[each.index]]
    return Source(
        file.question.file.name,
        file.sha256,
        tuple(_entry(row, each) for row, each in zip(rows, standings, strict=True)),
    )


def _entry(row: Row, standing: Standing) -> Entry:
    knobs = {
        **dict(row.config.meta),
        "num_warps": row.config.warps,
        "num_stages": row.config.stages,
    }
    return Entry(
        standing.entry.label,
        ", ".join(f"{name}={value}" for name, value in (*knobs.items(), *row.config.extra)),
        standing.entry.choice,
        standing.checkup,
        row.resources,
        row.occupancy.blocks_per_sm if row.occupancy else None,
        row.occupancy.percent if row.occupancy else None,
        standing.times_us,
    )


def _diff(old: Contender, new: Contender) -> str:
    before, after = (
        file.question.code.decode(errors="replace").splitlines(keepends=True) for file in (old, new)
    )
    return "".join(difflib.unified_diff(before, after, old.question.file.name, "candidate"))
