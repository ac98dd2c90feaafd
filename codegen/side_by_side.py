"""Measures the cases of a benchmark: renders each kernel, checks every config, and times the best with its opponents."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from codegen import evidence
from codegen.benchmark import Case
from codegen.evidence import Choice, Machine, Subject
from codegen.families import find_family
from codegen.fitting import choose_compiled, forward_inputs
from codegen.gpu import GpuSpec, known_gpus
from codegen.measure import Bench
from codegen.outcome import BadInput, Refused
from codegen.render import choose, environment, render
from codegen.scoreboard import Outcome, Side
from codegen.spec import Configs
from codegen.verify import Against

OURS = "codegen"
SCREENING_ROUNDS = 3  # of all configs, to find the best
ROUNDS = 15  # of the best with its opponents
_AHEAD = 2  # cases that are compiled while another is timed


@dataclass(frozen=True)
class _Kernel:
    """A kernel file and the ways to run it."""

    path: Path
    subjects: tuple[Subject, ...]  # one for each config; labels `name #0`, ...
    configs: tuple[str, ...]


def target_of(machine: Machine) -> GpuSpec:
    """The known GPU that a machine has. Raises BadInput where it is not known."""
    for gpu in known_gpus():
        if gpu.name == machine.gpu:
            return gpu
    raise BadInput(f"{machine.gpu} is not among the GPUs that codegen knows (`codegen gpus`)")


def measure(
    cases: Sequence[Case], bench: Bench, folder: Path, *, rounds: int = ROUNDS, ahead: bool = True
) -> Iterator[Outcome]:
    """The outcome of each case, in order, as soon as it is known. Files are written to `folder`.

    `ahead` compiles the next cases' configs meanwhile, in processes of their own, where the compiler finds them
    again; and leaves out those that do not fit. Without it a config is compiled when it is first run.
    """
    gpu = target_of(bench.machine())
    with ThreadPoolExecutor(_AHEAD) as pool:
        chosen: list[Future[Configs]] = []
        for index, case in enumerate(cases):
            while len(chosen) < min(len(cases), index + 1 + _AHEAD):
                chosen.append(pool.submit(_configs, cases[len(chosen)], gpu, ahead))
            try:
                configs = chosen[index].result()
            except (BadInput, Refused) as refusal:
                yield Outcome(case, None, "", skipped=((OURS, str(refusal)),))
                continue
            yield _contest(case, _rendered(case, gpu, configs, folder), bench, folder, rounds)


def _configs(case: Case, gpu: GpuSpec, compiled: bool) -> Configs:
    return choose_compiled(case.problem, gpu)[0] if compiled else choose(case.problem, gpu)


def _rendered(case: Case, gpu: GpuSpec, configs: Configs, folder: Path) -> _Kernel:
    source = render(case.problem, gpu, configs)
    # Of several kernels the first is the one that the problem's own sizes lead to.
    kernel = next(iter(find_family(case.problem.family).form(case.problem, gpu).kernels))
    return _kernel(OURS, folder / f"{_module(case.name)}.py", source, kernel)


def _kernel(name: str, path: Path, source: str, kernel: str | None = None) -> _Kernel:
    """Writes a file; its subjects are the configs of one kernel, or, if it tunes none, the file as it is."""
    path.write_text(source, "utf-8")
    lines = source.splitlines()
    starts = [number for number, line in enumerate(lines, 1) if line == "@triton.autotune("]
    for start in starts:
        end = next(n for n in range(start, len(lines)) if lines[n].startswith("def "))
        found = lines[end].removeprefix("def ").partition("(")[0]
        if found != (kernel or found):
            continue
        configs = _listed("\n".join(lines[start:end]))
        subjects = tuple(
            Subject(f"{name} #{index}", path, (Choice(found, start, index, warps, stages),))
            for index, (_, warps, stages) in enumerate(configs)
        )
        return _Kernel(path, subjects, tuple(text for text, _, _ in configs))
    return _Kernel(path, (Subject(name, path),), ("",))


def _listed(decorator: str) -> list[tuple[str, int, int]]:
    """The configs of an autotune decorator, for a person, with their warps and stages."""
    import re

    found = []
    for meta, warps, stages in re.findall(
        r"triton\.Config\(\s*\{(.*?)\},\s*num_warps=(\d+),\s*num_stages=(\d+)", decorator, re.DOTALL
    ):
        sides = ",".join(re.findall(r": (\d+)", meta))
        found.append((f"{sides} w{warps} s{stages}", int(warps), int(stages)))
    return found


def _contest(case: Case, ours: _Kernel, bench: Bench, folder: Path, rounds: int) -> Outcome:
    against = Against(reference=case.reference)
    given = evidence.Case(forward_inputs(case.problem), seed=0, purpose="given")
    skipped: dict[str, str] = {}
    peers = [name for name in (*case.rivals, *case.peers) if name not in _TIMED]
    kernels = {OURS: ours}
    for name in peers:
        source = environment().get_template(f"peers/{name}.py.jinja").render(problem=case.problem)
        path = folder / f"{_module(case.name)}_{_module(name)}.py"
        kernels[name] = _kernel(name, path, source)
    best: dict[str, tuple[Subject, float]] = {}  # by contestant, with its error
    library_error = None
    for name, kernel in kernels.items():
        right: dict[str, tuple[Subject, float]] = {}
        checkups = bench.check(kernel.subjects, [given], against, case.promise)
        for subject, checkup in zip(kernel.subjects, checkups, strict=True):
            finding = checkup.findings[0] if checkup.findings else None
            if name == OURS and finding and finding.library_error is not None:
                library_error = finding.library_error
            why = checkup.fault or (finding.refused if finding else "nothing was found out")
            if why and name == OURS:
                skipped[subject.label] = why
            elif why:
                skipped[name] = why
            elif finding:
                right[subject.label] = (subject, finding.relative_error)
        if len(right) > 1:
            subjects = [subject for subject, _ in right.values()]
            race = bench.race(subjects, given, SCREENING_ROUNDS, against, case.promise)
            skipped |= dict(race.failures)
            right = {label: right[label] for label in race.labels}
            times = {label: statistics.median(race.samples_us(label)) for label in right}
            right = dict(sorted(right.items(), key=lambda item: times[item[0]]))
        if right:
            best[name] = next(iter(right.values()))
            skipped.pop(name, None)
    if OURS not in best:
        return Outcome(case, None, "", skipped=tuple(skipped.items()))
    timed = [label for label in (*case.baselines, *case.peers) if label in _TIMED]
    subjects = [subject for subject, _ in best.values()]
    subjects += [Subject(label, baseline=label) for label in timed]
    race = bench.race(subjects, given, rounds, against, case.promise)
    skipped |= dict(race.failures)
    names = {subject.label: name for name, (subject, _) in best.items()}
    sides = {}
    for label in race.labels:
        name = names.get(label, label)
        error = best[name][1] if name in best else library_error
        sides[name] = Side(name, statistics.median(race.samples_us(label)), error)
    chosen = ours.configs[ours.subjects.index(best[OURS][0])]
    others = tuple(side for name, side in sides.items() if name != OURS)
    return Outcome(case, sides.get(OURS), chosen, others, tuple(skipped.items()))


_TIMED = ("eager", "compile", "max-autotune")  # baselines that a bench makes itself


def _module(name: str) -> str:
    return name.replace("-", "_")
