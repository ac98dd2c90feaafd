"""Measures the cases of a benchmark: renders each kernel, checks every config, and times the best with its opponents."""

from __future__ import annotations

import contextlib
import hashlib
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from codegen import evidence
from codegen.ahead import Ahead, TurnTo, compile_file, settled
from codegen.benchmark import Case
from codegen.closing import Closing
from codegen.config import Config
from codegen.evidence import Choice, Machine, Subject
from codegen.families import find_family
from codegen.fitting import forward_inputs
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
_TIMED = ("eager", "compile", "max-autotune")  # baselines that a bench makes itself


@dataclass(frozen=True)
class _Kernel:
    """A kernel file and the ways to run it."""

    subjects: tuple[Subject, ...]  # one for each config: labels `name #0`, ...
    configs: tuple[str, ...]  # for a person

    def config_of(self, label: str) -> str:
        return self.configs[[subject.label for subject in self.subjects].index(label)]


@dataclass
class _Contest:
    """One case on its way: who was right, with the error, fastest first, and who is out."""

    case: Case
    bench: Bench
    rounds: int
    took: _Steps
    best: dict[str, tuple[Subject, float]] = field(default_factory=dict)  # by contestant
    skipped: dict[str, str] = field(default_factory=dict)  # by label, why
    library_error: float | None = None
    screened: dict[str, float] = field(default_factory=dict)  # our configs, in µs

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
    with _Prepared(gpu, cases, folder, compiled=ahead) as prepared:
        for case in cases:
            took = _Steps()
            try:
                with took("compiling"):
                    configs = prepared.configs(case)
                outcome = _measured(prepared, case, configs, bench, rounds, took)
            except (
                Exception
            ) as error:  # hours of others' figures are worth more than this one's trace
                outcome = Outcome(case, None, "", skipped=((OURS, _reason(error)),))
            kernel = fingerprint(case, gpu)
            yield replace(outcome, rounds=rounds, kernel=kernel, seconds=took.seconds)


def fingerprint(case: Case, gpu: GpuSpec) -> str:
    """The same for two kernels that are rendered alike, before the compiler says which configs fit; else another."""
    try:
        source = filled_in(case.problem, gpu, choose(case.problem, gpu))
    except (BadInput, Refused) as error:
        source = str(error)
    return hashlib.sha256(source.encode()).hexdigest()


class _Steps:
    """What a case took, in seconds, by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + time.monotonic() - start


class _Prepared(Closing):
    """The cases' kernels and peers, compiled in their order while others are timed, or as they are asked for."""

    def __init__(self, gpu: GpuSpec, cases: Sequence[Case], folder: Path, compiled: bool) -> None:
        self.gpu, self.folder = gpu, folder
        self._ahead = Ahead(gpu) if compiled else None
        self._configs: dict[str, Future[Configs]] = {}
        self._peers: dict[tuple[str, str], Future[None]] = {}
        if self._ahead is None:
            return
        for case in cases:
            self._configs[case.name] = self._ahead.submit(partial(settled, case.problem, gpu))
            for name in _peers_of(case):
                task = partial(_compile_peer, case, name, folder)
                self._peers[case.name, name] = self._ahead.submit(task)

    def configs(self, case: Case) -> Configs:
        if case.name in self._configs:
            return self._configs[case.name].result()
        return choose(case.problem, self.gpu)

    def peer(self, case: Case, name: str) -> _Kernel:
        if (case.name, name) in self._peers:
            with contextlib.suppress(BadInput):  # what is wrong with it, checking it says
                self._peers[case.name, name].result()
        return _peer(case, name, self.folder)

    def close(self) -> None:
        if self._ahead:
            self._ahead.close()


def _peers_of(case: Case) -> list[str]:
    """Those that come as files."""
    return [name for name in (*case.rivals, *case.peers) if name not in _TIMED]


def _compile_peer(case: Case, name: str, folder: Path, turn_to: TurnTo) -> None:
    path = _peer(case, name, folder).subjects[0].path
    assert path is not None, "a peer's file"
    compile_file(path, case.problem, turn_to)


def _measured(
    prepared: _Prepared,
    case: Case,
    configs: Configs,
    bench: Bench,
    rounds: int,
    took: _Steps,
) -> Outcome:
    contest = _Contest(case, bench, rounds, took)
    ours = _rendered(case, prepared.gpu, configs, prepared.folder)
    _enter(contest, OURS, ours)
    if OURS not in contest.best:
        return Outcome(case, None, "", skipped=tuple(contest.skipped.items()))
    for name in _peers_of(case):
        try:
            with took("compiling"):
                peer = prepared.peer(case, name)
            _enter(contest, name, peer)
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
    with contest.took("checking"):
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
        with contest.took("screening"):
            race = bench.race(
                subjects, contest.given, SCREENING_ROUNDS, contest.against, case.promise
            )
        wrong |= dict(race.failures)
        times = {label: statistics.median(race.samples_us(label)) for label in race.labels}
        right = {label: right[label] for label in sorted(times, key=times.__getitem__)}
        if name == OURS:
            contest.screened = {kernel.config_of(label): times[label] for label in right}
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
    with contest.took("timing"):
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
    own = sides.pop(OURS, None)
    return Outcome(
        case,
        own,
        ours.config_of(best[OURS][0].label),
        tuple(sides.values()),
        tuple(skipped.items()),
        screened=tuple(contest.screened.items()),
    )
