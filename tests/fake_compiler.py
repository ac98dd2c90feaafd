"""A compiler with planted answers: what the steps after compiling are tested with, in milliseconds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from codegen.config import Config
from codegen.gpu import GpuSpec
from codegen.inputs import InputSpec
from codegen.outcome import Rejected, Resources
from codegen.sites import find_sites
from codegen.toolchain import Built, Compilation, Launches, LiveSite, UserFile

# (config, num_warps, num_stages) -> machine code, or None for one that does not compile. By default all differ.
Binary = Callable[[Config, int, int], str | None]


def distinct(config: Config, warps: int, stages: int) -> str:
    return hashlib.sha256(f"{config.meta} {warps} {stages}".encode()).hexdigest()


class FakeCompiler:
    """Launches every site of the file once; stands where `toolchain.Compiler` does."""

    binary: Binary = staticmethod(distinct)

    def __init__(self, source: UserFile, gpu: GpuSpec) -> None:
        self.turn_to(source)

    def turn_to(self, source: UserFile) -> None:
        sites = find_sites(source.path.read_bytes())
        self._sites = tuple(
            LiveSite(place, site.kernel, str(source.path), site.line, site.configs or ())
            for place, site in enumerate(sites)
        )

    def launches(self, problem: Path | None, inputs: Sequence[InputSpec] | None) -> Launches:
        return Launches(self._sites, tuple(inputs or ()))

    def compile(
        self, jobs: Sequence[Compilation], on_done: Callable[[int], None] | None = None
    ) -> list[Built | Rejected]:
        return list(self.stream(jobs, on_done))

    def stream(
        self, jobs: Sequence[Compilation], on_done: Callable[[int], None] | None = None
    ) -> Generator[Built | Rejected, None, None]:
        for done, job in enumerate(jobs, 1):
            config = self._sites[job.site].configs[job.config]
            code = self.binary(config, job.num_warps, job.num_stages)
            if on_done:
                on_done(done)
            if code is None:
                yield Rejected("compile", "no such instruction")
            else:
                shared = 300_000 if code == "too much" else 1024
                yield Built(Resources(shared, 32, 0, job.num_warps, code), 100)

    def __enter__(self) -> FakeCompiler:
        return self

    def __exit__(self, *_error: object) -> None:
        pass
