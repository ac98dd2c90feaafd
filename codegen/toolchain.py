"""The parent's side of the compiling child: what a file launches, and what each config needs on a GPU."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codegen.child import MEMORY_LIMIT_BYTES, NO_LIMIT, Child, ChildFailed
from codegen.closing import Closing
from codegen.config import Config, Source
from codegen.gpu import GpuSpec
from codegen.inputs import InputSpec, from_wire, to_wire
from codegen.outcome import PRUNED, BadInput, Rejected, Resources

IMPORT_SECONDS = 60
LAUNCH_SECONDS = 60
RUN_SECONDS = 300  # a run of the user's own
COMPILE_SECONDS = 120

Progress = Callable[[str, int, int], None]  # step, done, total


@dataclass(frozen=True)
class UserFile:
    """A file to work on: what to call it in messages, and where the child finds it."""

    name: str
    path: Path

    def at(self, line: int) -> str:
        """Where a line is, for a person: `prompt.md:61`."""
        return f"{self.name}:{line}"


@dataclass(frozen=True)
class Compilation:
    """One config to compile: an entry of a live list, with the given knobs."""

    site: int
    config: int
    num_warps: int
    num_stages: int


@dataclass(frozen=True)
class LiveSite:
    """An autotuned kernel that the model launched."""

    index: int  # what the child knows it by
    kernel: str
    path: str
    line: int  # of its first decorator
    configs: tuple[Config, ...]  # as Triton sees them: every knob a number

    @property
    def compilations(self) -> list[Compilation]:
        """Of every config, as it is."""
        return [
            Compilation(self.index, number, config.warps or 0, config.stages or 0)
            for number, config in enumerate(self.configs)
        ]


@dataclass(frozen=True)
class Launches:
    """What one call of the model, or a run of the user's own, launched."""

    sites: tuple[LiveSite, ...]
    inputs: tuple[InputSpec, ...] = ()  # what the model was called with
    ended: str | None = None  # how a run of the user's own failed, if it did
    really: bool = False  # that run was on the GPU in this machine, not on fake tensors


@dataclass(frozen=True)
class Built:
    """A config that compiles: what it needs, and how many blocks its launch has."""

    resources: Resources
    grid: int
    unsafe: str | None = None  # why its machine code may compute anything


class Compiler(Closing):
    """A child process that holds one imported file and answers for one GPU.

    With `here` the GPU is the one in this machine, and `run` is to be the first thing asked.
    Every method raises BadInput, naming the file and the reason, when the file's own code fails.
    """

    def __init__(self, source: UserFile, gpu: GpuSpec, *, here: bool = False) -> None:
        self._stop = threading.Event()
        env = {
            "TRITON_INTERPRET": "0",
            # Line tables name the file, and Triton's cache hands out what another path's run put there: equal
            # kernels would not be equal machine code.
            "TRITON_DISABLE_LINE_INFO": "1",
        }
        if not here:
            # What a file wraps in torch.compile runs as it is: no GPU is there that it could be compiled for.
            env |= {"CUDA_VISIBLE_DEVICES": "", "TORCHDYNAMO_DISABLE": "1"}
        memory = NO_LIMIT if here else MEMORY_LIMIT_BYTES
        self._child = Child("compile", env=env, memory_bytes=memory, stop=self._stop)
        self._source, self._gpu, self._here = source, gpu, here
        try:
            if not here:
                self.turn_to(source)
        except BaseException:
            self._child.close()
            raise

    def turn_to(self, source: UserFile) -> None:
        """Goes on with another file, or another version of it, without the seconds that a new child takes."""
        self._source = source
        self._ask("importing it", IMPORT_SECONDS, op="load", gpu=asdict(self._gpu))

    def launches(self, problem: Path | None, inputs: Sequence[InputSpec] | None) -> Launches:
        """Calls `ModelNew` once on fake tensors. Raises BadInput when it raises, or launches no tuned kernel."""
        answer = self._ask(
            "calling ModelNew",
            LAUNCH_SECONDS,
            op="launches",
            problem=str(problem) if problem else None,
            inputs=to_wire(inputs) if inputs is not None else None,
        )
        return Launches(_live_sites(answer["sites"]), from_wire(answer["inputs"]))

    def autotuners(self) -> tuple[LiveSite, ...]:
        """Every autotuned kernel that importing the file made, launched or not, with its live configs."""
        return _live_sites(self._ask("reading its configs", IMPORT_SECONDS, op="autotuners"))

    def run(self, command: Sequence[str]) -> Launches:
        """Records the launches of a run of the user's own: `script.py ...` or a module, `pytest ...`.

        On fake tensors, or really if the GPU is here.
        """
        how = {"op": "run_here", "gpu": asdict(self._gpu)} if self._here else {"op": "run"}
        answer = self._ask(f"running {command[0]}", RUN_SECONDS, command=list(command), **how)
        ended = answer["ended"]
        if ended is not None and ended.startswith("exit status"):
            said = self._child.last_lines(3)
            ended = f"{ended}: {said}" if said else ended
        return Launches(_live_sites(answer["sites"]), ended=ended, really=self._here)

    def compile(
        self, jobs: Sequence[Compilation], on_done: Callable[[int], None] | None = None
    ) -> list[Built | Rejected]:
        """Compiles every job, in parallel; a job that fails is a Rejected, in its place."""
        results: dict[int, Built | Rejected] = {}

        def take(index: int, result: Built | Rejected) -> None:
            results[index] = result
            if on_done:
                on_done(len(results))

        self._compile(jobs, take)
        return [results[index] for index in range(len(jobs))]

    def compile_plain(self) -> None:
        """Compiles the kernels that `launches` saw beside the autotuned ones: they are in Triton's cache then."""
        self._ask(
            "compiling",
            2 * COMPILE_SECONDS,
            lambda _: None,
            op="compile_plain",
            limit=COMPILE_SECONDS,
        )

    def stream(
        self, jobs: Sequence[Compilation], on_done: Callable[[int], None] | None = None
    ) -> Generator[Built | Rejected, None, None]:
        """What `compile` gives, in the jobs' order, each as soon as it and those before it are known.

        Compiling goes on meanwhile, in a thread. Closing the iterator early ends the compiler.
        """
        found: queue.SimpleQueue[tuple[int, Built | Rejected] | BadInput] = queue.SimpleQueue()

        def work() -> None:
            try:
                self._compile(jobs, lambda index, result: found.put((index, result)))
            except BadInput as error:
                found.put(error)

        beside = threading.Thread(target=work)
        beside.start()
        known: dict[int, Built | Rejected] = {}
        try:
            for index in range(len(jobs)):
                while index not in known:
                    result = found.get()
                    if isinstance(result, BadInput):
                        raise result
                    known[result[0]] = result[1]
                    if on_done:
                        on_done(len(known))
                yield known[index]
        except BaseException:  # GeneratorExit and Ctrl-C too
            self._stop.set()
            raise
        finally:
            beside.join()

    def _compile(
        self, jobs: Sequence[Compilation], take: Callable[[int, Built | Rejected], None]
    ) -> None:
        wire = [
            {
                "site": job.site,
                "config": job.config,
                "warps": job.num_warps,
                "stages": job.num_stages,
            }
            for job in jobs
        ]
        if wire:
            self._ask(
                "compiling",
                2 * COMPILE_SECONDS,
                lambda answer: take(answer.pop("job"), _built(answer)),
                op="compile",
                jobs=wire,
                limit=COMPILE_SECONDS,
            )

    def _ask(
        self,
        doing: str,
        seconds: float,
        on_progress: Callable[[Any], None] | None = None,
        **question: Any,
    ) -> Any:
        try:
            return self._child.ask(
                {**question, "path": str(self._source.path)},
                seconds=seconds,
                on_progress=on_progress,
            )
        except ChildFailed as failure:
            raise BadInput(f"{self._source.name}: {doing} failed: {failure}") from None

    def stop(self) -> None:
        """Ends what is being asked in another thread, and whatever is asked later."""
        self._stop.set()

    def close(self) -> None:
        self._child.close()


def _live_sites(sites: Sequence[dict[str, Any]]) -> tuple[LiveSite, ...]:
    return tuple(_live_site(index, site) for index, site in enumerate(sites))


def _live_site(index: int, site: dict[str, Any]) -> LiveSite:
    return LiveSite(
        index, site["kernel"], site["path"], site["line"], tuple(map(_live_config, site["configs"]))
    )


def _live_config(config: dict[str, Any]) -> Config:
    meta = tuple((name, value if plain else Source(value)) for name, value, plain in config["meta"])
    extra = tuple((name, text) for name, text in config["extra"])
    return Config(meta, config["warps"], config["stages"], extra)


def _built(answer: dict[str, Any]) -> Built | Rejected:
    if "rejected" in answer:
        return Rejected("compile", answer["rejected"])
    if "pruned" in answer:
        return Rejected("prune", PRUNED)
    return Built(
        Resources(**{name: answer[name] for name in Resources.__annotations__}),
        answer["grid"],
        answer["unsafe"],
    )
