"""Runs autotuned kernels with chosen configs instead of tuning them. Child processes only."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from triton.runtime.autotuner import Autotuner
from triton.runtime.autotuner import Config as TritonConfig
from triton.runtime.interpreter import GridExecutor

from codegen.outcome import BadInput


@dataclass(frozen=True)
class Pick:
    """An entry of a kernel's live list, with other knobs where they are given."""

    config: int
    warps: int | None = None
    stages: int | None = None
    blocks: bool = False  # any entry with its meta-parameters will do


@dataclass
class Picked:
    """Which kernels, as `key_of` knows them, ran with their pick, and at which launches it was pruned."""

    ran: set[tuple[str, int]] = field(default_factory=set)
    pruned: set[tuple[str, int]] = field(default_factory=set)

    def untried(self, kernel: tuple[str, int]) -> bool:
        """Whether the kernel was launched, and never with its pick."""
        return kernel in self.pruned - self.ran


_FIRST = Pick(0)
Around = Callable[[Autotuner], contextlib.AbstractContextManager[None]]


def key_of(tuner: Autotuner) -> tuple[str, int]:
    """What an autotuned kernel is known by: its name, and the line of its first decorator."""
    return tuner.base_fn.__name__, tuner.base_fn.__code__.co_firstlineno


def _nothing(_tuner: Autotuner) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


def standing(
    tuner: Autotuner,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    joined: TritonConfig | None = None,
) -> list[TritonConfig]:
    """The configs that `early_config_prune` leaves of a launch's list, as Autotuner.prune_configs asks it.

    A config that would be `joined` to the list stands at its end. `perf_model` and `top_k` say which configs are
    slow: those are right all the same, and stand. Raises BadInput where none is left, or none of the list.
    """
    configs = [*tuner.configs]
    if joined is not None and joined not in configs:
        configs.append(joined)
    if tuner.early_config_prune is None or len(configs) == 1:
        return configs
    left = list(tuner.early_config_prune([*configs], named(tuner, args, {}), **kwargs))
    if not any(config in left for config in configs):
        what = "configs that are not in the list" if left else "no config"
        raise BadInput(f"{tuner.base_fn.__name__}: early_config_prune leaves {what}")
    return left


@contextlib.contextmanager
def forced(
    picks: Mapping[tuple[str, int], Pick], around: Around = _nothing, picked: Picked | None = None
) -> Iterator[None]:
    """Within it each kernel, known by its name and first line, runs with its pick and never benchmarks.

    Kernels not named run with their first config. A launch whose pick `early_config_prune` removes runs with the
    first config that stands, as Triton would run one of those; `picked` is told. `around` makes what the launch
    itself, hooks left out, happens in.
    """
    told = picked or Picked()
    tuned, execute = Autotuner.run, GridExecutor.__call__

    def run(self: Autotuner, *args: Any, **kwargs: Any) -> Any:
        key = key_of(self)
        config = _meant(self, picks.get(key, _FIRST), args, kwargs)
        if config is None:
            config = standing(self, args, kwargs)[0]
            told.pruned.add(key)
        else:
            told.ran.add(key)
        call_hook(self, config, args, kwargs)
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


def named(tuner: Autotuner, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a launch by name."""
    return {**dict(zip(tuner.arg_names, args, strict=False)), **kwargs}


def call_hook(
    tuner: Autotuner, config: TritonConfig, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    """The config's own pre_hook, if it has one, as Autotuner.run calls it before a launch."""
    if config.pre_hook is not None:
        config.pre_hook({**named(tuner, args, kwargs), **config.all_kwargs()})


def _meant(
    tuner: Autotuner, pick: Pick, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> TritonConfig | None:
    """The config that a pick means at a launch; None: it is pruned there."""
    config = tuner.configs[pick.config]
    if pick.warps is not None and pick.stages is not None:
        config = with_knobs(config, pick.warps, pick.stages)
    if tuner.early_config_prune is None:  # at once: timed calls come through here
        return config
    left = standing(tuner, args, kwargs, config)
    if config in left:
        return config
    alike = [each for each in left if pick.blocks and each.kwargs == config.kwargs]
    return alike[0] if alike else None


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
