"""How good the choice of a form and its configs is: everything that could compute a problem, beside what is rendered.

    python tests/gpu/choice_grid.py OUT.json                 # goes on from what OUT.json holds
    python tests/gpu/choice_grid.py OUT.json --part 1/2      # of the grid, those with kernels in common together
    python tests/gpu/choice_grid.py OUT.json --only gemm-bf16
    python tests/gpu/choice_grid.py OUT.json --held-out  # points drawn when the models' figures stood
    python tests/gpu/choice_grid.py --summary OUT.json ...   # what was found; no GPU is needed
    python tests/gpu/choice_grid.py --kept tests/data/choice_h200.json  # today's choice, by times that were kept; nor here
    python tests/gpu/choice_grid.py --count                  # what there is to do

The grid is in choice_points.py: both families, four types, all layouts, sizes from 1 to 8192; and another set, drawn
when the models' figures stood. Of each point every form
that can compute it is timed with every candidate (choice_timing.py), and beside it stands the best of the configs that
`codegen render` without measuring puts into the file. Kernels take any sizes, so each (form, config, type,
layout) is compiled once for all sizes of a kind, ahead and in parallel, while what is compiled is timed. The last heat is 15 interleaved
rounds of the best six of all and the best two that are listed; their medians are compared.

Needs PyTorch, Triton and Jinja.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent)]

from choice_points import Point, Way, held_out, points, ways  # noqa: E402
from choice_timing import Entrant, serve  # noqa: E402

from codegen.ahead import Ahead, TurnTo  # noqa: E402
from codegen.config import Config  # noqa: E402
from codegen.fitting import forward_inputs, why_not  # noqa: E402
from codegen.gemm_sliced import most_slices  # noqa: E402
from codegen.gpu import GpuSpec, find_gpu, gpu_called  # noqa: E402
from codegen.here import name_here  # noqa: E402
from codegen.inputs import to_wire  # noqa: E402
from codegen.precision import promise_of  # noqa: E402
from codegen.problem import ITEM_BYTES  # noqa: E402
from codegen.render import MAX_CONFIGS, MIN_CONFIGS, choose, environment  # noqa: E402
from codegen.slices import slices_of  # noqa: E402
from codegen.spec import Spec  # noqa: E402
from codegen.toolchain import Compilation  # noqa: E402

NEAR = 1.03  # how far behind the best of all the rendered file may be
WANTED = 0.90  # at how many of the points
PATIENCE = 120.0  # seconds that one entrant may take


# Files and what is to be compiled


@dataclass(frozen=True)
class Kind:
    """What one file serves: problems that differ in sizes alone."""

    way: str
    family: str
    layout: str
    dtype: str
    precision: str | None
    triangle: str | None
    axes: int


@dataclass(frozen=True)
class Batch:
    """Configs of one file to compile for sizes that Triton compiles alike."""

    kind: Kind
    alike: tuple[Any, ...]


def kind_of(way: Way) -> Kind:
    p = way.problem
    return Kind(way.name, p.family, p.layout, p.dtype, p.precision, p.triangle, axes=len(p.batch))


def batch_of(way: Way, gpu: GpuSpec) -> Batch:
    """Triton compiles anew where a whole number is 1, or is a multiple of 16, and another was not."""
    p = way.problem
    numbers = [p.m, p.n, p.k, p.batches, p.m * p.n * p.batches]
    if way.name.endswith("split-sliced"):
        numbers.append(slices_of(p, gpu).count)
    elif way.name.endswith("sliced"):
        numbers.append(most_slices(p, gpu))
    whole_rows = p.n * ITEM_BYTES[p.out_dtype] % 16 == 0
    return Batch(kind_of(way), (whole_rows, *((n % 16 == 0, n == 1) for n in numbers)))


class Plan:
    """The ways of some points, the file of each kind, and what must be compiled before a point can be timed."""

    def __init__(self, chosen: Sequence[Point], gpu: GpuSpec, folder: Path) -> None:
        self.gpu = gpu
        self.ways = {point.name: ways(point.problem, gpu) for point in chosen}
        self.configs: dict[Kind, dict[Config, int]] = {}  # and each one's place in the file's list
        self.batches: dict[Batch, dict[Config, None]] = {}
        self.examples: dict[Batch, Way] = {}
        for way in self._every_way():
            places = self.configs.setdefault(kind_of(way), {})
            batch = batch_of(way, gpu)
            self.examples.setdefault(batch, way)
            for candidate in way.candidates:
                places.setdefault(candidate.config, len(places))
                self.batches.setdefault(batch, {})[candidate.config] = None
        self.files: dict[Kind, Path] = {}
        for way in self._every_way():
            kind = kind_of(way)
            if kind not in self.files:
                self.files[kind] = folder / f"kind_{len(self.files)}.py"
                self.files[kind].write_text(self._source(way, list(self.configs[kind])), "utf-8")

    def _every_way(self) -> Iterable[Way]:
        return (way for some in self.ways.values() for way in some)

    def _source(self, way: Way, configs: Sequence[Config]) -> str:
        """The file of a way, whatever form the problem's own sizes would be given."""
        lists = {
            kernel: tuple(each.config for each in candidates[:MIN_CONFIGS])
            for kernel, candidates in way.form.kernels.items()
        }
        lists[way.kernel] = tuple(configs)
        spec = Spec(way.problem, self.gpu, lists)
        template = environment().get_template(way.form.template)
        return template.render(spec=spec, view=way.form.view)

    def compiled(self, batch: Batch, turn_to: TurnTo) -> dict[Config, str]:
        """Compiles a batch, and what else a call launches; which of its configs cannot run, and why."""
        configs, way = list(self.batches[batch]), self.examples[batch]
        places = self.configs[batch.kind]
        compiler = turn_to(self.files[batch.kind])
        sites = compiler.launches(None, forward_inputs(way.problem)).sites
        compiler.compile_plain()
        (site,) = (site for site in sites if site.kernel == way.kernel)
        jobs = [
            Compilation(site.index, places[each], each.warps or 0, each.stages or 0)
            for each in configs
        ]
        results = zip(configs, compiler.compile(jobs), strict=True)
        return {
            config: why
            for config, result in results
            if (why := why_not(self.gpu, result)) is not None
        }

    def entrants(self, point: Point, unfit: Mapping[Batch, Mapping[Config, str]]) -> list[Entrant]:
        """All that can run, and which of them are listed: as `render.choose` takes them."""
        found = []
        for way in self.ways[point.name]:
            out = unfit[batch_of(way, self.gpu)]
            fitting = [each for each in way.candidates if each.config not in out]
            bounded = [c for c in fitting if (c.shared_bound or 0) <= self.gpu.shared_per_block]
            listed = [each.config for each in bounded[:MAX_CONFIGS]] if way.chosen else []
            for each in fitting:
                kind = kind_of(way)
                found.append(
                    Entrant(
                        f"{way.name} {each.config}",
                        str(self.files[kind]),
                        way.kernel,
                        self.configs[kind][each.config],
                        each.config.warps or 0,
                        each.config.stages or 0,
                        each.config in listed,
                    )
                )
        return found


# Timing, in a child process


class Clock:
    """Asks the child that times; one that dies or hangs is replaced, and whoever had its turn is out."""

    def __init__(self) -> None:
        self._child: Any = None

    def measured(self, entrants: Sequence[Entrant], **question: Any) -> dict[str, Any]:
        alive, out = list(entrants), {}
        while True:
            turn = ""
            self._start()
            self._pipe.send({**question, "entrants": alive})
            try:
                while self._pipe.poll(PATIENCE):
                    kind, said = self._pipe.recv()
                    if kind == "answer":
                        said["failures"] |= out
                        return dict(said)
                    turn = said
                why = f"ran longer than {PATIENCE:g} s"
            except EOFError:
                why = "ended the process, or broke the GPU's context"
            self.close()
            if not turn:
                return {"method": "none", "us": {}, "last": [], "failures": {"the reference": why}}
            out[turn] = why
            alive = [each for each in alive if each.label != turn]

    def _start(self) -> None:
        if self._child is None:
            spawn = multiprocessing.get_context("spawn")
            self._pipe, theirs = spawn.Pipe()
            self._child = spawn.Process(target=serve, args=(theirs,), daemon=True)
            self._child.start()
            theirs.close()

    def close(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.join()
            self._pipe.close()
            self._child = None


Measured = Callable[..., dict[str, Any]]
UnfitOf = Callable[[Batch], dict[Config, str]]  # waits until a batch is compiled


def grid(
    chosen: Sequence[Point], plan: Plan, unfit_of: UnfitOf, measured: Measured, done: dict[str, Any]
) -> Iterable[tuple[str, dict[str, Any]]]:
    """What was found of each point that is not among those done, in order."""
    for point in chosen:
        if point.name in done:
            continue
        unfit = {
            batch: unfit_of(batch)
            for batch in (batch_of(way, plan.gpu) for way in plan.ways[point.name])
        }
        entrants = plan.entrants(point, unfit)
        found = measured(
            entrants,
            inputs=to_wire(forward_inputs(point.problem)),
            reference=point.problem.reference,
            names=point.problem.operands,
            promise=promise_of(point.problem),
        )
        yield point.name, {
            "problem": point.problem.to_json(),
            "listed": [each.label for each in entrants if each.listed],
            "method": found["method"],
            "last": found["last"],
            "us": {label: float(f"{us:.4g}") for label, us in found["us"].items()},
            "failures": found["failures"],
        }


# What was found


@dataclass(frozen=True)
class Verdict:
    """The best of all that could compute a point's problem, and the best of what is rendered."""

    name: str
    best: str
    best_us: float
    listed: str
    listed_us: float

    @property
    def ratio(self) -> float:
        return self.listed_us / self.best_us

    @property
    def near(self) -> bool:
        return self.ratio <= NEAR

    @property
    def missed(self) -> str:
        """What should have been chosen otherwise: the form, or one of its configs."""
        forms = [
            label.rpartition(" warps=")[0].rpartition(" ")[0] for label in (self.best, self.listed)
        ]
        return "form" if forms[0] != forms[1] else "config"


def verdict(name: str, found: Mapping[str, Any]) -> Verdict | None:
    """By the last heat's medians alone. None where nothing could be timed, or nothing that is listed."""
    last = {label: found["us"][label] for label in found["last"]}
    ours = {label: us for label, us in last.items() if label in found["listed"]}
    if not ours:
        return None
    best, listed = min(last, key=last.__getitem__), min(ours, key=ours.__getitem__)
    return Verdict(name, best, last[best], listed, ours[listed])


def verdict_today(point: Point, times: Mapping[str, float], gpu: GpuSpec) -> Verdict:
    """Of times that were kept, which are those near the best: what is not there took longer than all of them."""
    first = ways(point.problem, gpu)[0]
    listed = choose(point.problem, gpu)[first.kernel]
    ours = {
        label: times[label] for config in listed if (label := f"{first.name} {config}") in times
    }
    best = min(times, key=times.__getitem__)
    near = min(ours, key=ours.__getitem__) if ours else f"{first.name} {listed[0]}"
    return Verdict(point.name, best, times[best], near, ours.get(near, math.inf))


def kept(data: Mapping[str, Any]) -> str:
    """What the present choice makes of the times in tests/data, of the grid and of the points held out."""
    gpu, said = gpu_called(data["device"]["gpu"]), []
    assert gpu is not None
    for of, every in (("points", points()), ("held_out", held_out())):
        times = data[of]
        verdicts = {
            p.name: verdict_today(p, times[p.name], gpu) if times[p.name] else None for p in every
        }
        said.append(f"{of}:\n\n{table(verdicts)}")
    return "\n".join(said)


def summary(found: Mapping[str, Mapping[str, Any]]) -> str:
    """As Markdown: the share within reach, by family and type, every miss, and what failed."""
    lines = [table({name: verdict(name, each) for name, each in found.items()})]
    wrong = {
        f"{name}: {label}: {why}"
        for name, each in found.items()
        for label, why in each["failures"].items()
    }
    lines += [f"Failures: {len(wrong)}."]
    lines += [f"- {each}" for each in sorted(wrong)[:20]]
    return "\n".join(lines) + "\n"


def table(verdicts: Mapping[str, Verdict | None]) -> str:
    known = [each for each in verdicts.values() if each]
    lines = ["| | points | within 3 % | share |", "|---|---|---|---|"]
    groups: dict[str, list[Verdict]] = {"all": known}
    for each in known:
        groups.setdefault("-".join(each.name.split("-")[:2]), []).append(each)
    for name, some in groups.items():
        good = sum(each.near for each in some)
        share = f"{good / len(some):.1%}" if some else "–"
        lines.append(f"| {name} | {len(some)} | {good} | {share} |")
    misses = sorted((e for e in known if not e.near), key=lambda e: e.ratio, reverse=True)
    lines += ["", "| point | rendered | µs | best | µs | ratio | to be chosen otherwise |"]
    lines += ["|---|---|---|---|---|---|---|"]
    lines += [
        f"| {e.name} | {e.listed} | {e.listed_us:.4g} | {e.best} | {e.best_us:.4g} | {e.ratio:.3f} | {e.missed} |"
        for e in misses
    ]
    untimed = [name for name, each in verdicts.items() if each is None]
    lines += ["", f"Not timed: {', '.join(untimed) or 'none'}."]
    return "\n".join(lines) + "\n"


def in_part(every: Sequence[Point], part: str, only: str) -> list[Point]:
    """The points of part 2/3, say. Types stay together, since they share no kernels."""
    number, parts = map(int, part.split("/"))
    some = [point for point in every if point.name.startswith(only)]
    return some[len(some) * (number - 1) // parts : len(some) * number // parts]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, metavar="OUT.json")
    parser.add_argument("--part", default="1/1", help="2/3: the second third of the points")
    parser.add_argument("--only", default="", help="points whose names begin so")
    parser.add_argument("--held-out", action="store_true", help="the points of the other set")
    parser.add_argument("--summary", action="store_true")
    parser.add_argument("--kept", type=Path, metavar="KEPT.json")
    parser.add_argument("--count", action="store_true")
    parser.add_argument("--gpu", default="h200", help="for --count")
    given = parser.parse_args()
    chosen = in_part(held_out() if given.held_out else points(), given.part, given.only)
    if not chosen:
        parser.error(f"no point of part {given.part} is named {given.only}...")
    if given.kept:
        print(kept(json.loads(given.kept.read_text())), end="")
        return 0
    if given.summary:
        every = [json.loads(path.read_text())["points"] for path in given.files]
        print(summary({name: found for each in every for name, found in each.items()}), end="")
        return 0
    with tempfile.TemporaryDirectory(prefix="codegen-grid-") as folder:
        if given.count:
            plan = Plan(chosen, find_gpu(given.gpu), Path(folder))
            every_candidate = sum(
                len(way.candidates) for some in plan.ways.values() for way in some
            )
            compiled = sum(map(len, plan.batches.values()))
            print(
                f"{len(chosen)} points, {every_candidate} candidates, {compiled} to compile, {len(plan.files)} files"
            )
            return 0
        if len(given.files) != 1:
            parser.error("name one file for the results")
        return run(chosen, given.files[0], Path(folder))


def run(chosen: Sequence[Point], out: Path, folder: Path) -> int:
    name = name_here()
    gpu = gpu_called(name) if name else None
    if gpu is None:
        sys.exit(f"there is no GPU here that codegen knows: {name}")
    # So that what was compiled ahead is found again.
    os.environ |= {"TRITON_INTERPRET": "0", "TRITON_DISABLE_LINE_INFO": "1"}
    data = json.loads(out.read_text()) if out.exists() else {"gpu": gpu.name, "points": {}}
    if data["gpu"] != gpu.name:
        sys.exit(f"{out} is of the {data['gpu']}, and this is the {gpu.name}")
    done = data["points"]
    left = [point for point in chosen if point.name not in done]
    plan = Plan(left, gpu, folder)
    ahead, clock = Ahead(gpu), Clock()
    compiled = {batch: ahead.submit(partial(plan.compiled, batch)) for batch in plan.batches}
    start = time.monotonic()
    try:
        for name, found in grid(
            left, plan, lambda batch: compiled[batch].result(), clock.measured, done
        ):
            done[name] = found
            half = out.with_suffix(".half")
            half.write_text(json.dumps(data) + "\n")
            half.replace(out)
            said = verdict(name, found)
            print(
                f"{time.monotonic() - start:6.1f} s {len(done):4} {name}: "
                + (
                    f"{said.ratio:.3f} {said.listed} {said.listed_us:.4g}, best {said.best}"
                    if said
                    else "not timed"
                ),
                flush=True,
            )
    finally:
        ahead.close()
        clock.close()
    print(summary(done), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
