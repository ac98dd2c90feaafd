"""Runs ModelNew on this machine's GPU: what its autotuner times, and a launch of chosen configs to profile.

Child processes only.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from triton.runtime.autotuner import Autotuner

from codegen.forced import Pick, Picked, forced, key_of
from codegen.inputs import from_wire
from codegen.load import import_file, make_input, model_class, problem_function
from codegen.outcome import PRUNED, BadInput
from codegen.sections import MODEL_CLASS
from codegen.sensors import machine

_SEED = 0
_WARM_UP_CALLS = 2  # the first compiles, the second finds everything loaded
# Profiled of each kernel that a call launches more often: each is replayed many times.
_MAX_LAUNCHES = 4
_DEVICE = "cuda"

Run = Callable[..., Any]


class OnGpu:
    """Answers the parent's questions about one file: `machine`, `load`, `timings`, `profile`."""

    def handle(self, question: dict[str, Any]) -> Any:
        operations: dict[str, Callable[..., Any]] = {
            "machine": _machine,
            "load": self._load,
            "timings": self._timings,
            "profile": self._profile,
        }
        return operations[question.pop("op")](**question)

    def _load(self, path: str, problem: str | None, inputs: list[Any] | None) -> None:
        """Imports the file and makes the model and its inputs, on the GPU.

        `inputs` None: the problem file's own.
        """
        model = model_class(import_file(path), MODEL_CLASS)
        torch.manual_seed(_SEED)
        module = import_file(problem) if problem else None
        init = list(problem_function(module, "get_init_inputs")()) if module else []
        if module and inputs is None:
            values = list(problem_function(module, "get_inputs")())
        else:
            generator = torch.Generator(_DEVICE).manual_seed(_SEED)
            values = [make_input(spec, generator) for spec in from_wire(inputs or [])]
        self._inputs = [
            value.to(_DEVICE) if isinstance(value, torch.Tensor) else value for value in values
        ]
        with torch.device(_DEVICE):
            self._model = model(*init).eval()

    def _timings(self, path: str) -> list[dict[str, Any]]:
        """Calls the model once, as it is; answers what the autotuner of each kernel measured and chose."""
        tuners: list[Autotuner] = []
        run = Autotuner.run

        def noted(tuner: Autotuner, *args: Any, **kwargs: Any) -> Any:
            result = run(tuner, *args, **kwargs)
            if not any(tuner is other for other in tuners):
                tuners.append(tuner)
            return result

        with running(noted):
            self._call()
        return [
            {
                **_named(tuner),
                "times_us": _times_us(tuner),
                "best": _index(tuner, tuner.best_config),
            }
            for tuner in tuners
        ]

    def _profile(self, path: str, chosen: list[tuple[str, int, int]], shown: list[Any]) -> None:
        """Calls the model with its configs forced, and lets the profiler see the `shown` kernels' launches.

        `chosen` is (kernel, line, index) of configs, `shown` (kernel, line) of kernels. Warm-up, hooks and
        every other kernel stay outside of what the profiler sees. Raises BadInput for a config that is pruned.
        """
        picks = {(kernel, line): Pick(index) for kernel, line, index in chosen}
        left = dict.fromkeys(map(tuple, shown), _MAX_LAUNCHES)

        def seen(tuner: Autotuner) -> contextlib.AbstractContextManager[None]:
            key = key_of(tuner)
            left[key] = left.get(key, 0) - 1
            return _profiled() if left[key] >= 0 else contextlib.nullcontext()

        picked = Picked()
        with forced(picks, picked=picked):
            for _ in range(_WARM_UP_CALLS):
                self._call()
        for (kernel, line), pick in picks.items():
            if picked.untried((kernel, line)):
                raise BadInput(f"#{pick.config} of {kernel}: {PRUNED}")
        with forced(picks, seen):
            self._call()

    def _call(self) -> None:
        with torch.no_grad():
            self._model(*self._inputs)
        torch.cuda.synchronize()


@contextlib.contextmanager
def running(run: Run) -> Iterator[None]:
    """Within it `run` stands for Triton's Autotuner.run."""
    own, Autotuner.run = Autotuner.run, run
    try:
        yield
    finally:
        Autotuner.run = own


@contextlib.contextmanager
def _profiled() -> Iterator[None]:
    torch.cuda.synchronize()
    torch.cuda.profiler.start()
    try:
        yield
        torch.cuda.synchronize()
    finally:
        torch.cuda.profiler.stop()


def _named(tuner: Autotuner) -> dict[str, Any]:
    kernel, line = key_of(tuner)
    return {"kernel": kernel, "line": line}


def _times_us(tuner: Autotuner) -> list[float | None]:
    """By config: the autotuner's median, None where it timed none (pruned, cannot launch, only one config)."""
    times: list[float | None] = [None] * len(tuner.configs)
    for config, measured in getattr(tuner, "configs_timings", {}).items():
        index = _index(tuner, config)
        milliseconds = measured if isinstance(measured, int | float) else measured[0]
        if index is not None and math.isfinite(milliseconds):
            times[index] = 1000 * float(milliseconds)
    return times


def _index(tuner: Autotuner, config: Any) -> int | None:
    return next((i for i, own in enumerate(tuner.configs) if own is config or own == config), None)


def _machine() -> dict[str, Any]:
    """The fields of `evidence.Machine`."""
    if not torch.cuda.is_available():
        raise BadInput("there is no GPU that PyTorch can use")
    return machine(0)
