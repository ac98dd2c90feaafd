"""Records what a model launches, with fake tensors: no GPU, no memory; a run of the user's own also on the GPU.
Child processes only.

Under PyTorch's FakeTensorMode a wrapper runs as it would in production, at production sizes; Triton's
`Autotuner.run` is replaced by one that notes its arguments. Replaying a note with a config goes through
Triton's own heuristics, binding and specialisation, so what is compiled is what would be launched.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch._dynamo  # what FakeTensorMode imports: here, a process that is forked has it already
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from triton.runtime.autotuner import Autotuner
from triton.runtime.autotuner import Config as TritonConfig
from triton.runtime.jit import JITFunction

from codegen import build
from codegen.failure import explain
from codegen.forced import ir_override, named, standing, with_knobs
from codegen.gpu import GpuSpec
from codegen.inputs import from_wire, to_wire
from codegen.load import (
    fake_input,
    guess_inputs,
    import_file,
    model_class,
    problem_function,
    run_command,
    spec_of,
)
from codegen.noting import launching, like, making, recording
from codegen.outcome import BadInput
from codegen.pretend import PretendCuda, convert_fake_parameters, pretend_gpu
from codegen.replay import replay, together
from codegen.sections import MODEL_CLASS

_BASE_ADDRESS = 1 << 20  # of every fake tensor: aligned as PyTorch's allocator aligns
_MAX_VERSIONS = 6  # of one kernel that are compiled: for even and odd sizes, say


@dataclass
class Recorded:
    """One autotuned kernel and, of the calls the model made to it, those that take machine code of their own."""

    tuner: Autotuner
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Plain:
    """A launch of a kernel that is not autotuned."""

    function: JITFunction
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Recorder:
    """Answers the parent's questions about one file on one GPU: `load`, `launches`, `compile`."""

    def __init__(self, progress: Callable[[Any], None]) -> None:
        self._progress = progress
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)
        self._made: list[Autotuner] = []
        self._sites: list[Recorded] = []
        self._plain: list[Plain] = []
        # By machine code, what was read in it: also in that of files that are forgotten.
        self._known: dict[str, dict[str, Any]] = {}
        # Triton asks a tensor for its address to specialise on its alignment; fake ones have none.
        FakeTensor.data_ptr = (
            lambda tensor: _BASE_ADDRESS + tensor.storage_offset() * tensor.element_size()
        )

    def handle(self, question: dict[str, Any]) -> Any:
        operations: dict[str, Callable[..., Any]] = {
            "load": self._load,
            "autotuners": self._autotuners,
            "launches": self._launches,
            "run": self._run,
            "run_here": self._run_here,
            "compile": self._compile,
            "compile_plain": self._compile_plain,
        }
        return operations[question.pop("op")](**question)

    def _load(self, path: str, gpu: dict[str, Any]) -> None:
        """Imports the file, and notes the autotuned kernels it makes. What was loaded before is forgotten."""
        self._made, self._sites, self._plain = [], [], []
        convert_fake_parameters()
        pretend_gpu(GpuSpec(**gpu))
        with self._present(), making(self._made):
            self._module = import_file(path)

    def _autotuners(self, path: str) -> list[dict[str, Any]]:
        """The autotuned kernels that the import made."""
        return [_site_to_wire(Recorded(tuner)) for tuner in self._made]

    def _launches(self, path: str, problem: str | None, inputs: list[Any] | None) -> dict[str, Any]:
        """Calls the model once; answers its inputs and, for each autotuned kernel launched, what is known of it."""
        self._model = model_class(self._module, MODEL_CLASS)
        with self._present(), self._fake, recording(self._record, self._record_plain):
            specs, init = self._inputs(problem, inputs)
            model = self._construct(init)
            model(*(fake_input(spec) for spec in specs))
        return {"inputs": to_wire(specs), "sites": self._recorded()}

    def _run(self, path: str, command: list[str]) -> dict[str, Any]:
        """Runs the user's own script or pytest on fake tensors; answers what it launched and how it ended.

        Values are not known on fake tensors, so a run that looks at its results ends there: what it launched
        up to that point counts.
        """
        with self._present(), self._fake, recording(self._record):
            ended = self._ended(path, command)
        return {"ended": ended, "sites": self._recorded()}

    def _run_here(self, path: str, command: list[str], gpu: dict[str, Any]) -> dict[str, Any]:
        """The same on the GPU in this machine, which is `gpu`: everything runs as it would without us.

        What is compiled afterwards is compiled as for `_run`, with fake tensors like those it was launched with.
        """
        with launching(self._record_like):
            ended = self._ended(path, command)
        pretend_gpu(GpuSpec(**gpu))
        for site in self._sites:
            # What is in there was compiled and loaded by the driver that was.
            _kernel_of(site.tuner).device_caches.clear()
        return {"ended": ended, "sites": self._recorded()}

    def _ended(self, path: str, command: list[str]) -> str | None:
        """Runs the user's command here; how it failed, if it did."""
        try:
            run_command(command)
        except SystemExit as stop:
            sys.stdout.flush()  # its last lines say more
            return None if stop.code in (None, 0) else f"exit status {stop.code}"
        except Exception as error:  # foreign code: whatever it raises is the answer
            return explain(error, path)
        return None

    def _record_plain(
        self, function: JITFunction, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._plain.append(Plain(function, args, {**kwargs, "warmup": True}))

    def _record_like(self, tuner: Autotuner, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        named = {name: like(value, self._fake) for name, value in kwargs.items()}
        self._record(tuner, tuple(like(value, self._fake) for value in args), named)

    def _recorded(self) -> list[dict[str, Any]]:
        return [_site_to_wire(site) for site in self._sites]

    def _inputs(self, problem: str | None, inputs: list[Any] | None) -> tuple[Any, list[Any]]:
        init: list[Any] = []
        given = from_wire(inputs) if inputs is not None else None
        if problem is not None:
            module = import_file(problem)
            init = list(problem_function(module, "get_init_inputs")())
            given = given or tuple(map(spec_of, problem_function(module, "get_inputs")()))
        return given if given is not None else guess_inputs(self._model), init

    def _construct(self, init: list[Any]) -> torch.nn.Module:
        try:
            with torch.device("cuda"):
                return self._model(*init).eval()
        except TypeError as error:
            if init or "argument" not in str(error):
                raise
            raise BadInput(
                f"{MODEL_CLASS}() can't be made without arguments ({error}): give them with --problem"
            ) from None

    @contextlib.contextmanager
    def _present(self) -> Iterator[None]:
        with PretendCuda("cuda"), torch.no_grad():
            yield

    def _record(self, tuner: Autotuner, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        site = next((site for site in self._sites if site.tuner is tuner), None)
        if site is None:
            site = Recorded(tuner)
            self._sites.append(site)
        left = standing(tuner, args, kwargs)
        # What differs only in which configs stand takes the same machine code, but of other configs.
        version = f"{_version(tuner, args, kwargs)}; {[config in left for config in tuner.configs]}"
        if version not in site.seen and len(site.calls) < _MAX_VERSIONS:
            site.seen.add(version)
            site.calls.append((args, kwargs))

    def _compile(self, path: str, jobs: list[dict[str, int]], limit: int) -> None:
        """Compiles each job (site, config, warps, stages) in a process of its own; results come as progress."""

        def run(job: dict[str, int]) -> dict[str, Any]:
            site = self._sites[job["site"]]
            config = with_knobs(site.tuner.configs[job["config"]], job["warps"], job["stages"])
            results = []
            for args, kwargs in site.calls:
                if config not in standing(site.tuner, args, kwargs, config):
                    continue
                result = replay(site.tuner, config, args, kwargs, self._known)
                self._known[result["binary"]] = result
                results.append(result)
            if not results:
                return {"pruned": True}
            # What binds is the hungriest of the launches; they share one row. One unsafe launch is enough.
            most = max(results, key=lambda result: (result["shared_bytes"], result["registers"]))
            reasons = [result["unsafe"] for result in results if result["unsafe"]]
            binary = together([result["binary"] for result in results])
            whole = {**most, "binary": binary, "unsafe": reasons[0] if reasons else None}
            whole["serialised"] = any(result["serialised"] for result in results)
            return {**whole, "launches": results}

        with self._present(), self._fake:
            for index, result in build.in_forks(jobs, run, path=path, seconds=limit):
                for launch in result.pop("launches", ()):
                    self._known[launch["binary"]] = launch
                self._progress({"job": index, **result})

    def _compile_plain(self, path: str, limit: int) -> None:
        """Compiles what the model launched beside its autotuned kernels, for whoever looks in Triton's cache."""

        def run(plain: Plain) -> dict[str, Any]:
            plain.function.run(*plain.args, **plain.kwargs)
            return {}

        with self._present(), self._fake:
            for _ in build.in_forks(self._plain, run, path=path, seconds=limit):
                self._progress({})


def _kernel_of(tuner: Autotuner) -> JITFunction:
    """The kernel, beneath what stands between (heuristics)."""
    kernel = tuner.fn
    while not isinstance(kernel, JITFunction):
        kernel = kernel.fn
    return kernel


def _version(tuner: Autotuner, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """What of a call decides the machine code: constants, and of other arguments what Triton specialises on.

    That is whether an integer is 1, a multiple of 16, and how wide; and a tensor's type and alignment. Heuristics
    compute constants from whatever they like: beneath them every value counts.
    """
    kernel = _kernel_of(tuner)
    constants = {param.name for param in kernel.params if param.is_constexpr}
    exact = kernel is not tuner.fn
    said = []
    for name, value in sorted(named(tuner, args, kwargs).items()):
        if isinstance(value, torch.Tensor):
            shape = f"{list(value.shape)}{value.stride()}" if exact else ""
            said.append(f"{name}: {value.dtype}{shape}, {value.data_ptr() % 16}")
        elif name in {"grid", "warmup"}:
            continue
        elif exact or name in constants or type(value) is not int:
            said.append(f"{name}: {value!r:.80}")
        else:
            said.append(f"{name}: {value == 1}, {value % 16 == 0}, {-(2**31) <= value < 2**31}")
    return "; ".join(said)


def _site_to_wire(site: Recorded) -> dict[str, Any]:
    function = site.tuner.base_fn
    return {
        "kernel": function.__name__,
        "line": function.__code__.co_firstlineno,
        "path": os.path.realpath(function.__code__.co_filename),
        "configs": [_config_to_wire(config) for config in site.tuner.configs],
    }


def _config_to_wire(config: TritonConfig) -> dict[str, Any]:
    extra = {
        "num_ctas": config.num_ctas if config.num_ctas != 1 else None,
        "maxnreg": config.maxnreg,
    }
    extra["ir_override"] = repr(override) if (override := ir_override(config)) else None
    extra["pre_hook"] = getattr(config.pre_hook, "__name__", None)
    return {
        "meta": [[name, *_value_to_wire(value)] for name, value in config.kwargs.items()],
        "warps": config.num_warps,
        "stages": config.num_stages,
        "extra": [[name, str(value)] for name, value in extra.items() if value is not None],
    }


def _value_to_wire(value: Any) -> tuple[Any, bool]:
    """A meta-parameter's value, and whether that is the value itself or only its text."""
    plain = value is None or type(value) in (int, float, bool, str)
    return (value, True) if plain else (repr(value), False)
