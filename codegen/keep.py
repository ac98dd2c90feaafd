"""What an acceptance leaves behind: the dossier beside the file, and its HTML page."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from codegen import __version__
from codegen.accept import Acceptance, Contender
from codegen.contest import Standing
from codegen.dossier import Contest, Dossier, Entry, Source, beside
from codegen.page import page
from codegen.work import work_of
from codegen.write import write_whole


def keep(acceptance: Acceptance, path: Path, code: bytes) -> tuple[Path, ...]:
    """Writes the dossier of the file at `path`, and its page, beside it; returns where they are."""
    dossier = dossier_of(acceptance)
    record = beside(path)
    shown = record.with_suffix(".html")
    write_whole(record, dossier.text().encode())
    write_whole(shown, page(dossier).encode())
    return record, shown


def dossier_of(acceptance: Acceptance) -> Dossier:
    """The acceptance as the data that is kept."""
    terms = acceptance.terms
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
            Contest(timed.case, work_of(None, timed.case.inputs), timed.race, timed.pairing)
            for timed in acceptance.races
        ),
        gpu=candidate.question.gpu.key,
        machine=acceptance.machine,
        original=_source(original, acceptance.original_standings) if original else None,
        diff=_diff(original, candidate) if original else "",
        notes=acceptance.notes,
    )


def _source(file: Contender, standings: Sequence[Standing]) -> Source:
    by_label = {each.entry.label: each for each in standings}
    ...
