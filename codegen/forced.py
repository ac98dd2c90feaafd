"""Runs autotuned kernels with chosen configs instead of tuning them. Child processes only."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from triton.runtime.autotuner import Autotuner
from triton.runtime.autotuner import Config as TritonConfig
from triton.runtime.interpreter import GridExecutor


@dataclass(frozen=True)
class Pick:
    """An entry of a kernel's live list, with other knobs where they are given."""

    config: int
    warps: int | None = None
    stages: int | None = None


_FIRST = Pick(0)
Around = Callable[[Autotuner], contextlib.AbstractContextManager[None]]


def key_of(tuner: Autotuner) -> tuple[str, int]:
    """What an autotuned kernel is known by: its name, and the line of its first decorator."""
    return tuner.base_fn.__name__, tuner.base_fn.__code__.co_firstlineno


def _nothing(_tuner: Autotuner) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


@contextlib.contextmanager
def forced(picks: Mapping[tuple[str, int], Pick], around: Around = _nothing) -> Iterator[None]:
    """Within it each kernel, known by its name and first line, runs with its pick and never benchmarks.

    Kernels not named run with their first config. `around` makes what the launch itself, hooks left out,
    happens in.
    """
    tuned, execute = Autotuner.run, GridExecutor.__call__

    def run(self: Autotuner, *args: Any, **kwargs: Any) -> Any:
        pick = picks.get(key_of(self), _FIRST)
        config = self.configs[pick.config]
        if pick.warps is not None and pick.stages is not None:
            config = with_knobs(config, pick.warps, pick.stages)
        if config.pre_hook is not None:
            config.pre_hook(
                {**dict(zip(self.arg_names, args, strict=False)), **kwargs, **config.all_kwargs()}
            )
        with around(self):
            return self.fn.run(*args, **kwargs, **config.all_kwargs())

    def on_cpu(self: GridExecutor, *args: Any, **kwargs: Any) -> None:
        with torch._C.DisableTorchFunction():  # the interpreter itself must see where tensors are
            execute(self, *args, **kwargs)

    Autotuner.run, GridExecutor.__call__ = run, on_cpu
    try:
        yield
    finally:
        Autotuner.run, GridExecutor.__call__ = tuned, execute


def with_knobs(config: TritonConfig, warps: int, stages: int) -> TritonConfig:
    override = ir_override(config)
    return TritonConfig(
        dict(config.kwargs),
        num_warps=warps,
        num_stages=stages,
        num_ctas=config.num_ctas,
        maxnreg=config.maxnreg,
        pre_hook=config.pre_hook,
        **({"ir_override": override} if override else {}),
    )


def ir_override(config: TritonConfig) -> str | None:
    override: str | None = getattr(config, "ir_override", None)
    return override
