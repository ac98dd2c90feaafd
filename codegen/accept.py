"""`codegen accept` as a list of steps: compile, check, time, judge. Nothing is printed or written here."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from codegen.cases import every_case, given_cases, plan_cases, show
from codegen.config import Config
from codegen.contest import (
    Standing,
    Terms,
    check,
    entries_of,
    fastest,
    time_all,
)
from codegen.evidence import REFERENCE_REFUSES, Case, Checkup, Machine, Race, Subject, Verdict
from codegen.final import LIBRARY, Side, last_race
from codegen.fingerprint import source_hash
from codegen.inputs import InputSpec, block_sides
from codegen.judge import LOOKS, MARGIN, Pairing, fault_of, judge, judge_all
from codegen.measure import Bench
from codegen.outcome import BadInput
from codegen.question import Question
from codegen.report import Row
from codegen.steps import Launched, build_originals, match, record, sites_of
from codegen.toolchain import Compiler, Launches, LiveSite, Progress

BASELINES = (LIBRARY, *(Subject(name, baseline=name) for name in ("compile", "max-autotune")))


@dataclass(frozen=True)
class Contender:
    """A file as it was compiled for the GPU: its kernels and, in the order of their configs, their rows."""

    question: Question
    inputs: tuple[InputSpec, ...]  # what the model was called with
    launched: tuple[Launched, ...]
    rows: Mapping[int, Sequence[Row]]  # by Launched.index
    sha256: str  # of the file and what it imports from its own folder

    @property
    def live(self) -> tuple[LiveSite, ...]:
        return tuple(each.live for each in self.launched)

    @property
    def given(self) -> tuple[tuple[InputSpec, ...], ...]:
        return (self.inputs, *self.question.more_inputs)

    @property
    def sides(self) -> tuple[int, ...]:
        return block_sides(config for site in self.live for config in site.configs)


@dataclass(frozen=True)
class Timed:
    """The last race on one given set of inputs."""

    case: Case
    race: Race
    pairing: Pairing | None  # None: nothing to compare with


@dataclass(frozen=True)
class Acceptance:
    """The verdict on a file and all it rests on."""

    candidate: Contender
    standings: tuple[Standing, ...]
    verdict: Verdict
    terms: Terms
    cases: tuple[Case, ...]
    margin: float = MARGIN
    machine: Machine | None = None  # None: nothing was timed
    original: Contender | None = None
    original_standings: tuple[Standing, ...] = ()
    races: tuple[Timed, ...] = ()
    notes: tuple[str, ...] = ()


def compiled(question: Question, progress: Progress) -> Contender:
    """The file with what each of its configs needs on the GPU.

    Raises BadInput when it can't be read, imported, called or has nothing tuned.
    """
    progress("importing", 0, 1)
    with Compiler(question.file, question.gpu) as compiler:
        return compiled_by(compiler, question, progress)


def compiled_by(compiler: Compiler, question: Question, progress: Progress) -> Contender:
    """`compiled`, by a compiler that holds the file.

    What other sizes launch is compiled too, in parallel: other kernels of the file, whose configs must be
    right as well, and other versions of the same, which the checks then find in Triton's cache.
    """
    sites = sites_of(question)
    launches = record(question, compiler)
    _refuse_namesakes(question, launches)
    given = match(question, sites, launches)
    rows = build_originals(question, compiler, given, progress)
    sides = block_sides(config for each in given for config in each.live.configs)
    everything = launches
    smaller = [case.inputs for case in plan_cases(launches.inputs, sides, given=False)]
    for inputs in dict.fromkeys(smaller):
        with contextlib.suppress(BadInput):  # sizes that the wrapper refuses
            everything = compiler.launches(question.problem, inputs)
    launched = match(question, sites, everything)
    others = build_originals(question, compiler, launched, progress)
    return Contender(
        question,
        launches.inputs,
        tuple(launched),
        {**others, **rows},
        source_hash(question.file.path),
    )


def _refuse_namesakes(question: Question, launches: Launches) -> None:
    """Raises BadInput where a function makes a kernel several times, with other configs each time.

    Configs are forced by a kernel's name and line, so those of one alone would be checked.
    """
    lists: dict[tuple[str, str, int], Sequence[Config]] = {}
    for live in launches.sites:
        if lists.setdefault((live.path, live.kernel, live.line), live.configs) != live.configs:
            raise BadInput(
                f"{question.file.at(live.line)}: {live.kernel} is made several times, with different configs: "
                "make it once, or under one list"
            )


def accept(
    candidate: Contender,
    original: Contender | None,
    terms: Terms,
    bench: Bench,
    progress: Progress,
    margin: float = MARGIN,
    baselines: Sequence[Subject] = BASELINES,
    original_standings: Sequence[Standing] = (),
    cases: Sequence[Case] = (),
) -> Acceptance:
    """Right on every case, and measured against what it replaces.

    `original_standings` are the original's, where they are known already; `cases` others than `every_case`.
    Raises BadInput when the reference fails on the given inputs.
    """
    cases = tuple(cases) or every_case(candidate.given, candidate.sides)
    timed = given_cases(candidate.given)
    standings = checked("candidate", candidate, bench, cases, terms, progress)
    done = Acceptance(candidate, tuple(standings), _wrong(standings), terms, cases, margin)
    done = replace(done, machine=bench.machine(), original=original)
    if not done.verdict.accepted:
        return done
    path = candidate.question.file.path
    standings = time_all(bench, path, standings, timed, terms, progress)
    if original and not original_standings:
        found = checked("original", original, bench, cases, terms, progress)
        path = original.question.file.path
        original_standings = time_all(bench, path, found, timed, terms, progress)
    races, verdict = _compared(
        candidate,
        standings,
        original,
        original_standings,
        terms,
        bench,
        progress,
        margin,
        baselines,
    )
    return replace(
        done,
        standings=tuple(standings),
        verdict=verdict,
        original_standings=tuple(original_standings),
        races=races,
        notes=_notes(original_standings),
    )


def accept_unmeasured(
    candidate: Contender, terms: Terms, bench: Bench, progress: Progress
) -> Acceptance:
    """What can be established with no GPU: right in the interpreter, and fits. `bench` interprets.

    Raises BadInput when the reference fails on all inputs.
    """
    # In a file with several kernels some may be for sizes that descriptors take; and so may the only one be.
    several = len(candidate.launched) > 1
    for aligned in (several, True):
        cases = plan_cases(candidate.inputs, candidate.sides, given=False, aligned=aligned)
        standings = checked("candidate", candidate, bench, cases, terms, progress)
        found = [finding for each in standings for finding in each.checkup.findings]
        taken = any(finding.fault or not finding.refused for finding in found)
        if aligned or taken or not found:
            break
    if found and all((each.refused or "").startswith(REFERENCE_REFUSES) for each in found):
        raise BadInput(f"{candidate.question.file.name}: {found[0].refused} ({found[0].case})")
    verdict = _wrong(standings)
    if verdict.accepted:
        reason = "right in the interpreter, fits the GPU, not measured"
        verdict = Verdict(True, False, reason)
    return Acceptance(candidate, tuple(standings), verdict, terms, cases)


def checked(
    name: str,
    file: Contender,
    bench: Bench,
    cases: Sequence[Case],
    terms: Terms,
    progress: Progress,
) -> list[Standing]:
    """Every config of the file on every case; what does not compile or cannot launch is not run."""
    rows = [row for each in file.launched for row in file.rows[each.index]]
    entries = entries_of(name, file.live)
    unfit = {
        entry.label: row.reason
        for entry, row in zip(entries, rows, strict=True)
        if row.status == "dropped"
    }
    fit = [entry for entry in entries if entry.label not in unfit]
    ran = check(
        bench,
        file.question.file.path,
        fit,
        cases,
        terms,
        lambda done: progress(f"checking {name}", done, len(fit)),
    )
    by_label = {each.entry.label: each for each in ran}
    return [
        by_label.get(entry.label)
        or Standing(entry, Checkup(entry.label, (), None, unfit[entry.label]))
        for entry in entries
    ]


def _wrong(standings: Sequence[Standing]) -> Verdict:
    return judge([each.checkup for each in standings])


def _compared(
    candidate: Contender,
    standings: Sequence[Standing],
    original: Contender | None,
    original_standings: Sequence[Standing],
    terms: Terms,
    bench: Bench,
    progress: Progress,
    margin: float,
    baselines: Sequence[Subject],
) -> tuple[tuple[Timed, ...], Verdict]:
    """The last races, one for each given set of inputs, and the verdict on all of them."""
    cases = given_cases(candidate.given)
    checkups = [each.checkup for each in standings]
    races: list[Timed] = []
    verdicts: list[Verdict] = []
    for number, case in enumerate(cases):
        ours = _side(candidate, standings, number)
        theirs = _side(original, original_standings, number) if original else None
        if ours is None:
            verdicts.append(_untimed(checkups, theirs, case))
            continue
        race, pairing = last_race(
            bench,
            ours,
            theirs,
            baselines,
            case,
            terms,
            margin,
            len(cases),
            lambda done: progress("comparing", done, LOOKS[-1]),
        )
        races.append(Timed(case, race, pairing))
        verdicts.append(judge(checkups, race, pairing, margin, len(cases)))
    return tuple(races), judge_all(verdicts or [judge(checkups)])


def _untimed(checkups: Sequence[Checkup], theirs: Side | None, case: Case) -> Verdict:
    """The verdict on inputs on which none of the candidate's configs could be timed: their checkups say why, or
    their kernels are not launched there, and what replaces an original that was timed is not shown to be as fast.
    """
    verdict = judge(checkups)
    if verdict.accepted and theirs:
        return Verdict(False, False, f"no tuned kernel is launched on {show(case)}: not timed")
    return verdict


def _side(file: Contender, standings: Sequence[Standing], case: int) -> Side | None:
    best = fastest(standings, case)
    return Side(file.question.file.path, best) if best else None


def _notes(originals: Sequence[Standing]) -> tuple[str, ...]:
    """What is wrong with the original: it counts for nothing in a comparison of speeds."""
    wrong = [(each.entry.label, fault_of(each.checkup)) for each in originals if not each.right]
    if not wrong:
        return ()
    if len(wrong) == len(originals):
        return (
            f"the original has no right config, so there is nothing to compare with: {wrong[0][1]}",
        )
    return tuple(f"{name} does not count: {why}" for name, why in wrong)
