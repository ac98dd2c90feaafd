"""Measures the cases of a benchmark: renders each kernel, checks every config, and times the best with its opponents."""

from __future__ import annotations

import hashlib
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from codegen import evidence
from codegen.benchmark import Case
from codegen.config import Config
from codegen.evidence import Choice, Machine, Subject
from codegen.families import find_family
from codegen.fitting import choose_compiled, forward_inputs
from codegen.gpu import GpuSpec, gpu_called
from codegen.measure import Bench
from codegen.outcome import BadInput, Refused
from codegen.render import choose, environment, filled_in, render
from codegen.scoreboard import Outcome, Side
from codegen.sites import find_sites
from codegen.spec import Configs
from codegen.verify import Against

OURS = "codegen"
SCREENING_ROUNDS = 3  # of all configs, to find the best
ROUNDS = 15  # of the best with its opponents
_AHEAD = 6  # cases that are compiled while another is timed
_SPARE = 4  # cores that compiling leaves to timing, where there are twice as many: calls must be queued in time
_TIMED = ("eager", "compile", "max-autotune")  # baselines that a bench makes itself


@dataclass(frozen=True)
class _Kernel:
    """A kernel file and the ways to run it."""

    subjects: tuple[Subject, ...]  # one for each config: labels `name #0`, ...
    configs: tuple[str, ...]  # for a person


@dataclass
class _Contest:
    """One case on its way: who was right, with the error, fastest first, and who is out."""

    case: Case
    bench: Bench
    rounds: int
    best: dict[str, tuple[Subject, float]] = field(default_factory=dict)  # by contestant
    skipped: dict[str, str] = field(default_factory=dict)  # by label, why
    library_error: float | None = None

    def __post_init__(self) -> None:
        self.against = Against(reference=self.case.reference)
        self.given = evidence.Case(forward_inputs(self.case.problem), seed=0, purpose="given")


def target_of(machine: Machine) -> GpuSpec:
    """The known GPU that a machine has. Raises BadInput where it is not known."""
    gpu = gpu_called(machine.gpu)
    if gpu is None:
        raise BadInput(f"{machine.gpu} is not among the GPUs that codegen knows (`codegen gpus`)")
    return gpu


def measure(
    cases: Sequence[Case], bench: Bench, folder: Path, *, rounds: int = ROUNDS, ahead: bool = True
) -> Iterator[Outcome]:
    """The outcome of each case, in order, as soon as it is known. Files are written to `folder`.

    `ahead` compiles the next cases' configs meanwhile, in processes of their own, where the compiler finds them
    again; and leaves out those that do not fit. Without it a config is compiled when it is first run.

    Whatever goes wrong with a case is its outcome's to tell, and the rest go on.
    """
    import black  # noqa: F401  before threads are: it does not bear to be imported by two at once

    gpu = target_of(bench.machine())
    pool = ThreadPoolExecutor(_AHEAD, initializer=stand_back)
    chosen: list[Future[Configs]] = []
    try:
        for index, case in enumerate(cases):
            while len(chosen) < min(len(cases), index + 1 + _AHEAD):
                chosen.append(pool.submit(_configs, cases[len(chosen)], gpu, ahead))
            try:
                outcome = _measured(case, gpu, chosen[index].result(), bench, folder, rounds)
            except (
                Exception
            ) as error:  # hours of others' figures are worth more than this one's trace
                outcome = Outcome(case, None, "", skipped=((OURS, _reason(error)),))
            yield replace(outcome, rounds=rounds, kernel=fingerprint(case, gpu))
    finally:
        pool.shutdown(cancel_futures=True)


def stand_back() -> None:
    """Leaves the machine to timing as far as possible, this thread and all that it starts."""
    os.setpriority(os.PRIO_PROCESS, 0, 19)  # of the thread that calls it, on Linux
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) >= 2 * _SPARE:
        os.sched_setaffinity(0, cores[_SPARE:])


def fingerprint(case: Case, gpu: GpuSpec) -> str:
    """The same for two kernels that are rendered alike, before the compiler says which configs fit; else another."""
    try:
        source = filled_in(case.problem, gpu, choose(case.problem, gpu))
    except (BadInput, Refused) as error:
        source = str(error)
    return hashlib.sha256(source.encode()).hexdigest()


def _configs(case: Case, gpu: GpuSpec, compiled: bool) -> Configs:
    return choose_compiled(case.problem, gpu)[0] if compiled else choose(case.problem, gpu)


def _measured(
    case: Case, gpu: GpuSpec, configs: Configs, bench: Bench, folder: Path, rounds: int
) -> Outcome:
    contest = _Contest(case, bench, rounds)
    ours = _rendered(case, gpu, configs, folder)
    _enter(contest, OURS, ours)
    if OURS not in contest.best:
        return Outcome(case, None, "", skipped=tuple(contest.skipped.items()))
    for name in (*case.rivals, *case.peers):
        if name in _TIMED:
            continue
        try:
            _enter(contest, name, _peer(case, name, folder))
        except Exception as error:  # a peer's own: this case goes on without it
            contest.skipped[name] = _reason(error)
    return _raced(contest, ours)


def _reason(error: Exception) -> str:
    said = str(error).strip().partition("\n")[0]
    if isinstance(error, BadInput):
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _rendered(case: Case, gpu: GpuSpec, configs: Configs, folder: Path) -> _Kernel:
    source = render(case.problem, gpu, configs)
    # Of several kernels the first is the one that the problem's own sizes lead to.
    kernel = next(iter(find_family(case.problem.family).form(case.problem, gpu).kernels))
    return _kernel(OURS, _path(folder, case.name), source, {kernel: configs[kernel]})


def _peer(case: Case, name: str, folder: Path) -> _Kernel:
    source = environment().get_template(f"peers/{name}.py.jinja").render(problem=case.problem)
    tuned = {site.kernel: site.configs or () for site in find_sites(source.encode())}
    return _kernel(name, _path(folder, f"{case.name}-{name}"), source, tuned)


def _kernel(name: str, path: Path, source: str, configs: Mapping[str, Sequence[Config]]) -> _Kernel:
    """Writes a file; its subjects are the configs of a kernel that it tunes, or, without any, the file as it is."""
    path.write_text(source, "utf-8")
    for site in find_sites(source.encode()):
        if configs.get(site.kernel):
            entries = configs[site.kernel]
            choices = (
                Choice(site.kernel, site.line, index, config.warps or 0, config.stages or 0)
                for index, config in enumerate(entries)
            )
            subjects = tuple(
                Subject(f"{name} #{choice.config}", path, (choice,)) for choice in choices
            )
            return _Kernel(subjects, tuple(map(str, entries)))
    return _Kernel((Subject(name, path),), ("",))


def _path(folder: Path, name: str) -> Path:
    """A file that can be imported."""
    return folder / f"{name.replace('-', '_')}.py"


def _enter(contest: _Contest, name: str, kernel: _Kernel) -> None:
    """Checks every config of a kernel, and enters the fastest right one."""
    bench, case, skipped = contest.bench, contest.case, contest.skipped
    right: dict[str, tuple[Subject, float]] = {}
    wrong: dict[str, str] = {}
    checkups = bench.check(kernel.subjects, [contest.given], contest.against, case.promise)
    for subject, checkup in zip(kernel.subjects, checkups, strict=True):
        finding = checkup.findings[0] if checkup.findings else None
        if finding and finding.library_error is not None and contest.library_error is None:
            contest.library_error = finding.library_error
        why = checkup.fault or (finding.refused if finding else "was not checked")
        if why:
            wrong[subject.label] = why
        elif finding:
            right[subject.label] = (subject, finding.relative_error)
    if len(right) > 1:
        subjects = [subject for subject, _ in right.values()]
        race = bench.race(subjects, contest.given, SCREENING_ROUNDS, contest.against, case.promise)
        wrong |= dict(race.failures)
        times = {label: statistics.median(race.samples_us(label)) for label in race.labels}
        right = {label: right[label] for label in sorted(times, key=times.__getitem__)}
    if right:
        contest.best[name] = next(iter(right.values()))
    if name == OURS:
        skipped |= wrong
    elif not right and wrong:
        skipped[name] = next(iter(wrong.values()))


def _raced(contest: _Contest, ours: _Kernel) -> Outcome:
    """The best of each, and the baselines, side by side."""
    case, best = contest.case, contest.best
    subjects = [subject for subject, _ in best.values()]
    others = dict.fromkeys((*case.baselines, *case.peers))
    subjects += [Subject(label, baseline=label) for label in others if label in _TIMED]
    race = contest.bench.race(
        subjects, contest.given, contest.rounds, contest.against, case.promise
    )
    skipped = contest.skipped | dict(race.failures)
    names = {subject.label: name for name, (subject, _) in best.items()}
    errors = {name: error for name, (_, error) in best.items()} | {"eager": contest.library_error}
    sides = {}
    for label in race.labels if race.rounds_us else ():
        name = names.get(label, label)
        sides[name] = Side(name, statistics.median(race.samples_us(label)), errors.get(name))
    chosen = ours.configs[ours.subjects.index(best[OURS][0])]
    own = sides.pop(OURS, None)
    return Outcome(case, own, chosen, tuple(sides.values()), tuple(skipped.items()))
