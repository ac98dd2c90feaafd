"""A launch that was noted, made again with a config, as far as compiling it. Child processes only."""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Mapping
from typing import Any

from triton.runtime.autotuner import Autotuner
from triton.runtime.autotuner import Config as TritonConfig
from triton.runtime.jit import JITFunction

from codegen import build
from codegen.forced import call_hook


def replay(
    tuner: Autotuner,
    config: TritonConfig,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    known: Mapping[str, dict[str, Any]],
) -> dict[str, Any]:
    """What Autotuner.run does once it has chosen `config`, short of the launch."""
    kwargs = {name: value for name, value in kwargs.items() if name != "warmup"}
    grid = kwargs.pop("grid")
    call_hook(tuner, config, args, kwargs)
    launched: dict[str, Any] = {}

    def compile_only(
        self: JITFunction, *call: Any, grid: Any, warmup: bool, **options: Any
    ) -> None:
        bound = inspect.signature(self.fn).bind(
            *call, **{k: v for k, v in options.items() if k in self.arg_names}
        )
        bound.apply_defaults()
        launched["grid"] = grid(bound.arguments) if callable(grid) else grid
        launched["kernel"] = run(self, *call, grid=grid, warmup=True, **options)

    run, JITFunction.run = JITFunction.run, compile_only
    try:
        tuner.fn.run(*args, grid=grid, warmup=False, **kwargs, **config.all_kwargs())
    finally:
        JITFunction.run = run
    blocks = math.prod(int(side) for side in launched["grid"])
    return {**build.resources(launched["kernel"], known), "grid": blocks}


def together(binaries: list[str]) -> str:
    """One hash for the machine code of all launches: kernels that differ at some sizes are not the same."""
    if len(set(binaries)) == 1:
        return binaries[0]
    return hashlib.sha256(" ".join(binaries).encode()).hexdigest()
