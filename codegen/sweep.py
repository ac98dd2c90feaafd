"""Every config that is to be tried in a file: compiled, checked and timed, none of it scored.

Compiling runs ahead on all cores while what is compiled is checked on the GPU; timing starts when both are
done. What cannot win is not timed, and how that is known stands in its row: it does not compile, it cannot
launch (the occupancy calculator's word), it is the same machine code as an earlier one, or it is wrong.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from codegen.cases import given_cases
from codegen.config import Config
from codegen.contest import (
    Entry,
    Standing,
    Terms,
    check,
    check_one,
    entries_at,
    first_of,
    first_right,
    label,
    time_all,
)
from codegen.evidence import Case, Checkup, Choice
from codegen.inputs import InputSpec, TensorSpec
from codegen.judge import fault_of, untried, worst_of
from codegen.measure import Bench
from codegen.outcome import Accuracy
from codegen.propose import every_neighbour
from codegen.question import Question
from codegen.report import Row
from codegen.rows import built_row, change, looked_at, pruned
from codegen.steps import Launched
from codegen.toolchain import Compilation, Compiler, Progress
from codegen.verify import Against


@dataclass(frozen=True)
class Entrant:
    """A config that takes part."""

    entry: Entry
    config: Config  # as it stands in the file, or would
    kind: str  # original (of the user's file), neighbour (of an original), candidate (of a family of kernels)
    reason: str


@dataclass(frozen=True)
class Tried:
    """An entrant, and what was found out about it."""

    entrant: Entrant
    row: Row
    standing: Standing | None = None  # None: not run, the row says why

    @property
    def times_us(self) -> tuple[float | None, ...]:
        return self.standing.times_us if self.standing and self.standing.right else ()


def entrants(question: Question, launched: Sequence[Launched]) -> list[Entrant]:
    """The originals of every kernel, then their neighbours; none for a kernel whose list must stay as it is."""
    return [*own(launched, "original"), *_neighbours(question, launched)]


def own(launched: Sequence[Launched], kind: str) -> list[Entrant]:
    """Every config of the file as it stands."""
    sites = [each.live for each in launched]
    return [
        Entrant(entry, config, kind, kind)
        for place, each in enumerate(launched)
        for entry, config in zip(entries_at(kind, place, sites), _as_written(each), strict=True)
    ]


def _neighbours(question: Question, launched: Sequence[Launched]) -> list[Entrant]:
    sites = [each.live for each in launched]
    found: list[Entrant] = []
    for place, each in enumerate(launched):
        configs = each.configs
        fixed = each.refusal or each.must_stay_one
        near = [] if fixed else every_neighbour(list(enumerate(configs)), question.stage, configs)
        for number, one in enumerate(near, len(configs)):
            config = one.config
            choice = Choice(
                each.live.kernel, each.live.line, one.origin, config.warps or 0, config.stages or 0
            )
            name = label("neighbour", each.live, sites, number)
            reason = f"#{one.origin} with {change(configs[one.origin], config)}"
            found.append(Entrant(Entry(name, place, choice), config, "neighbour", reason))
    return found


def _as_written(each: Launched) -> tuple[Config, ...]:
    # Where the file and its import disagree, what runs is what the import made.
    same = len(each.configs) == len(each.live.configs)
    return each.configs if same else each.live.configs


def sweep(
    question: Question,
    compiler: Compiler,
    launched: Sequence[Launched],
    field: Sequence[Entrant],
    given: Sequence[tuple[InputSpec, ...]],
    ready: Callable[[], Bench],
    progress: Progress,
    promise: str | None = None,
) -> tuple[list[Tried], Terms]:
    """Every entrant of the field, in order, with its times; and how float32 products are meant to be computed.

    Without a `promise` that is the precision that most of the originals keep. The originals stand first in the
    field. `ready` waits for the bench, which may be waking still when the first configs are compiled.
    Raises BadInput when the reference fails.
    """
    path, cases = question.file.path, given_cases(given)
    against = Against(question.problem, question.reference)
    jobs = [
        Compilation(
            launched[each.entry.site].live.index,
            each.entry.choice.config,
            each.entry.choice.num_warps,
            each.entry.choice.num_stages,
        )
        for each in field
    ]
    built = compiler.stream(jobs, lambda done: progress("compiling", done, len(jobs)))
    with contextlib.closing(built):
        compiled = _distinct(
            Tried(one, built_row(question.gpu, one.config, result, one.kind, one.reason))
            for one, result in zip(field, built, strict=True)
        )
        originals = list(islice(compiled, sum(one.kind == "original" for one in field)))
        fit = [each.entrant.entry for each in originals if each.row.status == "kept"]
        bench = ready()
        terms = Terms(against, promise or promise_kept(bench, path, fit, cases[0], against))
        found = check(bench, path, fit, cases, terms)
        tried = with_standings(originals, found, terms)
        beside = {**first_of(fit), **first_right(found)}
        for each in compiled:
            if each.row.status == "kept":
                standing = check_one(bench, path, each.entrant.entry, beside, cases, terms)
                (each,) = with_standings([each], [standing], terms)
            tried.append(each)
            progress("checking", len(tried), len(field))
    run = [each.standing for each in tried if each.standing]
    timed = time_all(bench, path, run, cases, terms, progress)
    return with_standings(tried, timed, terms), terms


def _distinct(tried: Iterable[Tried]) -> Iterator[Tried]:
    """Drops what has the machine code of an earlier config of the same blocks: it is the same kernel. Originals stay."""
    first: dict[tuple[object, ...], str] = {}
    for each in tried:
        if each.row.resources and each.row.status == "kept":
            config, entry = each.entrant.config, each.entrant.entry
            key = (entry.site, config.meta, config.extra, each.row.resources.binary)
            twin = first.setdefault(key, entry.label)
            if twin != entry.label and each.entrant.kind != "original":
                why = f"the same machine code as {twin}"
                each = replace(each, row=replace(each.row, status="dropped", reason=why))
        yield each


def with_standings(
    tried: Sequence[Tried], standings: Sequence[Standing], terms: Terms
) -> list[Tried]:
    """Those that ran, with how they did; a wrong one is dropped. The others as they are."""
    known = {standing.entry.label: standing for standing in standings}

    def one(each: Tried) -> Tried:
        standing = known.get(each.entrant.entry.label)
        return (
            each
            if standing is None
            else replace(each, row=row_with(each.row, standing, terms), standing=standing)
        )

    return list(map(one, tried))


def row_with(row: Row, standing: Standing, terms: Terms) -> Row:
    """A row with what the GPU said: how far off at worst, how fast, and dropped if it is wrong."""
    row = replace(
        row,
        accuracy=_accuracy(standing.checkup, terms.against),
        times_us=standing.times_us,
    )
    if untried(standing.checkup):
        return pruned(row)
    fault = fault_of(standing.checkup)
    return (
        looked_at(row)
        if fault is None
        else replace(row, status="dropped", reason=fault, dropped_at="verify")
    )


def _accuracy(checkup: Checkup, against: Against) -> Accuracy | None:
    worst = worst_of(checkup)
    if worst is None:
        return None
    return Accuracy(worst.relative_error, worst.max_error, worst.case, str(against))


def promise_kept(
    bench: Bench, path: Path, entries: Sequence[Entry], case: Case, against: Against
) -> str:
    """The tightest precision of float32 products that most of the right originals keep.

    A kernel that computes in TF32 is right by what it sets out to do, so its neighbours need not do better;
    those of one that computes in float32 must.
    """
    if not any(isinstance(s, TensorSpec) and s.dtype == "float32" for s in case.inputs):
        return "ieee"
    keeping: dict[str, int] = {}
    for promise in ("ieee", "tf32"):
        found = check(bench, path, entries, [case], Terms(against, promise))
        tried = [each for each in found if not untried(each.checkup)]
        keeping[promise] = sum(each.right for each in tried)
        if 2 * keeping["ieee"] > len(tried):
            return "ieee"
    return "ieee" if 2 * keeping["ieee"] > keeping["tf32"] else "tf32"
