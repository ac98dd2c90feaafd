"""`codegen retune --measure` as a list of steps. Nothing is printed or written here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from codegen.accept import Acceptance, Contender, accept, compiled_by
from codegen.benches import awake
from codegen.cases import every_case
from codegen.contest import Standing, Terms
from codegen.cover import cover, winners
from codegen.evidence import Checkup
from codegen.final import LIBRARY
from codegen.fingerprint import source_hash
from codegen.inputs import InputSpec
from codegen.judge import MARGIN, fault_of
from codegen.measure import Bench
from codegen.outcome import BadInput, Refused
from codegen.pipeline import refuse_unwritable, report_of, rewritten, unread
from codegen.question import Question
from codegen.report import Report, Row, SiteReport
from codegen.stand_in import stand_in
from codegen.steps import Launched, match, profiled, record, sites_of
from codegen.sweep import Tried, entrants, sweep
from codegen.toolchain import Compiler, Launches, Progress
from codegen.verify import whole_tiles

_PROVEN = ("compile", "code", "launch", "verify")  # stages that drop an original for good

Chosen = Mapping[int, Sequence[Tried]]  # by the kernel's place: its new list, in order


@dataclass(frozen=True)
class Retuned:
    """What came of it: the code (the file's own where nothing is gained), and what it rests on."""

    code: bytes
    report: Report
    acceptance: Acceptance | None  # None: there was no other list to try


def retune_measured(
    question: Question, bench: Bench, progress: Progress, margin: float = MARGIN
) -> Retuned:
    """The file with the configs that are fastest on this GPU, if they beat those it has.

    Raises BadInput when the file can't be used or none of a kernel's configs is right; Refused when none of its
    sites can be rewritten.
    """
    sites = sites_of(question)
    progress("importing", 0, 1)
    with awake(bench) as ready, Compiler(question.file, question.gpu) as compiler:
        launches = record(question, compiler)
        launched = match(question, sites, launches)
        refuse_unwritable(question, launched)
        original = _Original(question, launches, tuple(launched))
        field = entrants(question, launched)
        tried, terms = sweep(question, compiler, launched, field, original.given, ready, progress)
        chosen = choose(original, tried)
        acceptance = None
        while worth_a_try(original, tried):
            code = new_code(original, chosen)
            acceptance = accepted(original, tried, code, compiler, terms, bench, progress, margin)
            wrong = found_wrong(chosen, acceptance)
            if not wrong:
                break
            tried = without(tried, wrong)
            chosen = choose(original, tried)
    gains = acceptance is not None and is_gain(original, tried, acceptance)
    code = new_code(original, chosen) if gains else question.code
    reports = site_reports(original, tried, chosen, gains)
    verdict = _verdict(tried, acceptance, gains, bench.machine().gpu)
    notes = (*_notes(terms, acceptance), *unread(question, code))
    return Retuned(code, report_of(question, launches, sites, reports, verdict, notes), acceptance)


@dataclass(frozen=True)
class _Original:
    """The file as it came."""

    question: Question
    launches: Launches
    launched: tuple[Launched, ...]

    @property
    def given(self) -> tuple[tuple[InputSpec, ...], ...]:
        return (self.launches.inputs, *self.question.more_inputs)

    @property
    def limit(self) -> int:
        return self.question.max_configs or self.question.stage.max_configs

    def contender(self, tried: Sequence[Tried]) -> Contender:
        rows = {
            each.index: [one.row for one in _of(tried, place) if one.entrant.kind == "original"]
            for place, each in enumerate(self.launched)
        }
        sha256 = source_hash(self.question.file.path)
        return Contender(self.question, self.launches.inputs, self.launched, rows, sha256)


def _of(tried: Sequence[Tried], place: int) -> list[Tried]:
    return [each for each in tried if each.entrant.entry.site == place]


def choose(original: _Original, tried: Sequence[Tried]) -> Chosen:
    """The new list of every kernel that can be rewritten: originals as they stood, then neighbours, fastest first.

    Raises BadInput when a kernel would be left without configs.
    """
    chosen = {}
    for place, each in enumerate(original.launched):
        if each.refusal is None:
            chosen[place] = _list(_of(tried, place), original.limit)
            if not chosen[place]:
                raise BadInput(_nothing_left(original, each, _of(tried, place)))
    return chosen


def _list(tried: Sequence[Tried], limit: int) -> list[Tried]:
    kept = {i: each for i, each in enumerate(tried) if each.row.status == "kept"}
    # Of what the file prunes at these sizes nothing is known: it stays, for others.
    untried = [i for i, each in kept.items() if each.row.untried]
    times = {i: each.times_us for i, each in kept.items() if i not in untried}
    originals = [i for i in times if tried[i].entrant.kind == "original"]
    order = cover(times, originals, max(1, limit - len(untried)))
    first = sorted([*untried, *(i for i in order if i in originals)])
    return [tried[i] for i in (*first, *(i for i in order if i not in originals))]


def _nothing_left(original: _Original, each: Launched, tried: Sequence[Tried]) -> str:
    reasons = "; ".join(f"{one.entrant.config}: {one.row.reason}" for one in tried[:3])
    return (
        f"{original.question.file.at(each.site.line)}: no config of {each.site.kernel} is right and runs on "
        f"the {original.question.gpu.name}, nor a neighbour within the stage's rules: {reasons}"
    )


def worth_a_try(original: _Original, tried: Sequence[Tried]) -> bool:
    """Whether another list could be better: an original must go, or a neighbour was the fastest somewhere."""
    return any(
        _must_change(_of(tried, place), original)
        or any(one.entrant.kind != "original" for one in _fastest(_of(tried, place)))
        for place, each in enumerate(original.launched)
        if each.refusal is None
    )


def _must_change(tried: Sequence[Tried], original: _Original) -> bool:
    originals = [one.row for one in tried if one.entrant.kind == "original"]
    kept = [row for row in originals if row.dropped_at not in _PROVEN]
    asked = original.question.max_configs
    return len(kept) < len(originals) or bool(asked and len(kept) > asked)


def _fastest(tried: Sequence[Tried]) -> list[Tried]:
    times = {i: one.times_us for i, one in enumerate(tried) if one.row.status == "kept"}
    return [tried[i] for i in winners(times)]


def new_code(original: _Original, chosen: Chosen) -> bytes:
    changes = {
        each.index: configs
        for place, each in enumerate(original.launched)
        if place in chosen
        and (configs := tuple(one.entrant.config for one in chosen[place])) != each.configs
    }
    return rewritten(original.question, original.launched, changes)


def accepted(
    original: _Original,
    tried: Sequence[Tried],
    code: bytes,
    compiler: Compiler,
    terms: Terms,
    bench: Bench,
    progress: Progress,
    margin: float,
) -> Acceptance:
    """`accept` of the rewritten file against the original.

    A file that is right on whole tiles only, and asked about such sizes, is accepted on those.
    """
    question = original.question
    with stand_in(question.file.path, code) as path:
        there = replace(question, file=replace(question.file, path=path), code=code)
        compiler.turn_to(there.file)
        candidate = compiled_by(compiler, there, progress)
        standings = [_standing(one) for one in tried if one.entrant.kind == "original"]

        def accept_on(whole: bool) -> Acceptance:
            return accept(
                candidate,
                original.contender(tried),
                terms,
                bench,
                progress,
                margin,
                (LIBRARY,) if terms.against else (),
                standings,
                every_case(original.given, candidate.sides, whole=whole),
            )

        done = accept_on(whole=False)
        if _only_ragged_ones_fail(done) and whole_tiles(candidate.inputs, candidate.sides):
            done = accept_on(whole=True)
    return done


def _standing(one: Tried) -> Standing:
    """How an entrant did; one that did not run is wrong for what its row says."""
    entry = one.entrant.entry
    return one.standing or Standing(entry, Checkup(entry.label, (), None, one.row.reason))


def _only_ragged_ones_fail(acceptance: Acceptance) -> bool:
    """Whether every config is right on the given inputs, and none on all the others."""
    given = sum(case.purpose == "given" for case in acceptance.cases)
    findings = [each.checkup.findings for each in acceptance.standings]
    return not any(each.right for each in acceptance.standings) and all(
        len(found) > given and not any(one.fault for one in found[:given]) for found in findings
    )


def found_wrong(chosen: Chosen, acceptance: Acceptance) -> dict[str, str]:
    """The labels of the chosen that were found wrong once they were looked at closely, and why."""
    wrong = {}
    for place, listed in chosen.items():
        standings = [one for one in acceptance.standings if one.entry.site == place]
        for one, standing in zip(listed, standings, strict=False):
            if fault := fault_of(standing.checkup):
                wrong[one.entrant.entry.label] = fault
    return wrong


def without(tried: Sequence[Tried], wrong: Mapping[str, str]) -> list[Tried]:
    def one(each: Tried) -> Tried:
        fault = wrong.get(each.entrant.entry.label)
        if fault is None or each.standing is None:
            return each
        checkup = replace(each.standing.checkup, fault=fault)
        row = replace(each.row, status="dropped", reason=fault, dropped_at="verify")
        return replace(each, row=row, standing=replace(each.standing, checkup=checkup))

    return list(map(one, tried))


def is_gain(original: _Original, tried: Sequence[Tried], acceptance: Acceptance) -> bool:
    """Whether the list is worth writing. Raises Refused when it was found wrong after all."""
    verdict = acceptance.verdict
    if not verdict.accepted and verdict.speedup is None:
        raise Refused(f"{original.question.file.name}: {verdict.reason}: nothing is written")
    must = any(
        _must_change(_of(tried, place), original)
        for place, each in enumerate(original.launched)
        if each.refusal is None
    )
    return verdict.accepted and (verdict.faster or must)


def site_reports(
    original: _Original, tried: Sequence[Tried], chosen: Chosen, gains: bool
) -> list[SiteReport]:
    """Every kernel with its originals and what was added; the other neighbours beside them."""
    reports = []
    for place, each in enumerate(original.launched):
        all_of = _of(tried, place)
        listed = chosen.get(place, ()) if gains else ()
        rows = [
            _as_original(one, listed, gains and place in chosen, original.limit)
            for one in all_of
            if one.entrant.kind == "original"
        ]
        rows += [_as_added(one) for one in listed if one.entrant.kind != "original"]
        over = [
            one.row if one.row.status == "dropped" else replace(one.row, status="passed over")
            for one in all_of
            if one.entrant.kind != "original" and one not in listed
        ]
        report = replace(each.report(rows), passed_over=tuple(over))
        reports.append(profiled(original.question, report))
    return reports


def _as_original(one: Tried, listed: Sequence[Tried], changed: bool, limit: int) -> Row:
    if one.row.status != "kept" or not changed or one in listed:
        return one.row
    reason = f"beyond {limit} configs: slower than those kept{_shown(one)}"
    return replace(one.row, status="dropped", reason=reason, dropped_at="limit")


def _as_added(one: Tried) -> Row:
    return replace(one.row, status="added", reason=f"{one.row.reason}{_shown(one)}")


def _shown(one: Tried) -> str:
    times = ", ".join(f"{time:,.0f}" for time in one.times_us if time is not None)
    return f"; {times} µs" if times else ""


def _verdict(tried: Sequence[Tried], acceptance: Acceptance | None, gains: bool, gpu: str) -> str:
    counted = (
        f"{sum(bool(each.times_us) for each in tried)} of {len(tried)} configs timed on the {gpu}"
    )
    if acceptance is None:
        return f"gains nothing: the fastest is in the file already; {counted}"
    if not gains:
        return f"gains nothing: {acceptance.verdict.reason}; {counted}"
    return f"{acceptance.verdict.reason}; {counted}"


def _notes(terms: Terms, acceptance: Acceptance | None) -> tuple[str, ...]:
    tf32 = ("float32 products are held to TF32, which is what this file computes",)
    return (*(tf32 if terms.promise == "tf32" else ()), *(acceptance.notes if acceptance else ()))
