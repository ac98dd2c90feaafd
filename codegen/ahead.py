"""Compiling what will be run next, on the cores that timing does not need; Triton's cache hands it over.

Each thread keeps one compiling child and turns it from file to file: a child takes seconds to import PyTorch and
Triton, and remembers what it has read in machine code.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from codegen.closing import Closing
from codegen.families import find_family
from codegen.fitting import Compiled, forward_inputs, odd_sizes, settle
from codegen.gpu import GpuSpec
from codegen.outcome import BadInput
from codegen.problem import Problem
from codegen.render import render
from codegen.spec import Configs
from codegen.toolchain import Compiler, UserFile

# Each child compiles on every core it may use; while one's last configs take long, the others' keep the cores busy.
_CHILDS = 3
_SPARE = 4  # cores that compiling leaves to timing, where there are twice as many: calls must be queued in time

T = TypeVar("T")
TurnTo = Callable[[Path], Compiler]  # the thread's compiler, with that file imported


class Ahead(Closing):
    """Does tasks in the order they come in, several at a time; each is given a compiler for the GPU."""

    def __init__(self, gpu: GpuSpec) -> None:
        self._gpu = gpu
        self._pool = ThreadPoolExecutor(_CHILDS, initializer=stand_back)
        self._own = threading.local()
        self._compilers: list[Compiler] = []

    def submit(self, task: Callable[[TurnTo], T]) -> Future[T]:
        return self._pool.submit(self._done, task)

    def _done(self, task: Callable[[TurnTo], T]) -> T:
        try:
            return task(self._turned_to)
        except BadInput:
            self._own.compiler = None  # it may have died: the next task gets another
            raise

    def _turned_to(self, path: Path) -> Compiler:
        file = UserFile(path.name, path)
        compiler: Compiler | None = getattr(self._own, "compiler", None)
        if compiler is None:
            compiler = self._own.compiler = Compiler(file, self._gpu)
            self._compilers.append(compiler)
        else:
            compiler.turn_to(file)
        return compiler

    def close(self) -> None:
        """Ends what is under way, and leaves out the rest."""
        for compiler in self._compilers:
            compiler.stop()
        self._pool.shutdown(cancel_futures=True)
        for compiler in self._compilers:
            compiler.close()


def stand_back() -> None:
    """Leaves the machine to timing as far as possible, this thread and all that it starts."""
    os.setpriority(os.PRIO_PROCESS, 0, 19)  # of the thread that calls it, on Linux
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) >= 2 * _SPARE:
        os.sched_setaffinity(0, cores[_SPARE:])


def settled(problem: Problem, gpu: GpuSpec, turn_to: TurnTo) -> Configs:
    """The best candidates that fit the GPU, as `choose_compiled` finds them, for the kernel that the problem's sizes launch.

    Compiled are that kernel's alone, and whatever else a call launches: the file's other kernels get the configs
    that `choose` gives them. Raises BadInput and Refused as that does.
    """
    kernel = next(iter(find_family(problem.family).form(problem, gpu).kernels))

    def compile_new(configs: Configs, known: Compiled) -> Compiled:
        new = [c for c in configs[kernel] if (kernel, c) not in known]
        with tempfile.TemporaryDirectory(prefix="codegen-") as folder:
            path = Path(folder) / "rendered.py"
            # As it will be timed, to the line: Triton's cache knows a kernel by the line it begins at.
            path.write_text(render(problem, gpu, configs), "utf-8")
            compiler = turn_to(path)
            compiler.launches(None, forward_inputs(problem))
            compiler.compile_plain()
            sites = compiler.launches(None, forward_inputs(odd_sizes(problem, gpu))).sites
            (site,) = (site for site in sites if site.kernel == kernel)
            jobs = [site.compilations[configs[kernel].index(config)] for config in new]
            results = compiler.compile(jobs)
        return {(kernel, config): result for config, result in zip(new, results, strict=True)}

    return settle(problem, gpu, compile_new, (kernel,))[0]


def compile_file(path: Path, problem: Problem, turn_to: TurnTo) -> None:
    """Compiles every config of a file that computes the problem, as its sizes launch it.

    Raises BadInput where the file can't be imported, or launches no autotuned kernel.
    """
    compiler = turn_to(path)
    sites = compiler.launches(None, forward_inputs(problem)).sites
    compiler.compile_plain()
    compiler.compile([job for site in sites for job in site.compilations])
