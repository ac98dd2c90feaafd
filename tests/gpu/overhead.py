"""What a call of a rendered file costs the CPU beyond launching its kernels: a file of every template.

Needs PyTorch, Triton and Jinja:

    python tests/gpu/overhead.py OUT.json [NAME ...]         # on a GPU: the real thing
    python tests/gpu/overhead.py OUT.json [NAME ...] --dry   # without one: everything but the driver's calls

Each file is called with small operands, those that its first kernel takes and, of odd sizes, those that only its
last one does. Of each in µs of the CPU a call, in batches that are too short to fill the queue:

    total      ModelNew(*operands)
    triton     the same launches through Triton's autotuner and JIT function, warm; the file's grid functions and
               its hook, which gives descriptors their blocks, included
    bare       the same compiled kernels through their launchers, which encode descriptors for the driver
    overhead   total - bare: what the wrapper and Triton add, memory included
    wrapper    total - triton: of that, the rest of the file

`launches` counts Triton's kernels. PyTorch's own (zeros) are part of the overhead. On a GPU a call is also captured
in a CUDA graph: graph and bare_graph are the GPU's µs a call in a replay.

With --dry operands are in the CPU's memory and say that they are on a GPU, Triton compiles for the H200, and
launching ends where the driver's C code would begin. So all of Python's work is there, and PyTorch's allocator for
the CPU stands for the one for the GPU, its fill for the launch that zeros are.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import importlib.util
import json
import statistics
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent)]

import torch  # noqa: E402
import triton  # noqa: E402
from triton.runtime.autotuner import Autotuner  # noqa: E402
from triton.runtime.jit import JITFunction  # noqa: E402
from triton.tools.tensor_descriptor import TensorDescriptor  # noqa: E402

from codegen.fitting import forward_inputs  # noqa: E402
from codegen.gpu import GpuSpec, find_gpu, gpu_called  # noqa: E402
from codegen.inputs import TensorSpec  # noqa: E402
from codegen.pretend import pretend_gpu  # noqa: E402
from codegen.problem import Problem, Step  # noqa: E402
from codegen.render import MIN_CONFIGS, choose, filled_in  # noqa: E402

CALLS, BATCHES = 50, 40  # a queue holds about 1024 launches, and a call makes five at most
GRAPH_CALLS = 20
SMALL = {"m": 256, "n": 256, "k": 256}  # what files are called with
FLOAT32 = {"dtype": "float32"}
BF16 = {"dtype": "bfloat16"}
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1  # malloc.h


@dataclass(frozen=True)
class Asked:
    """A file to render, and the sizes it is called with."""

    problem: Problem
    template: str
    sizes: tuple[tuple[str, Problem], ...]


def _gemm(m: int = 4096, n: int = 4096, k: int = 4096, **fields: Any) -> Problem:
    return Problem("gemm", m, n, k, **fields)


def _trimm(n: int = 4096, **fields: Any) -> Problem:
    return Problem("trimm", n, n, n, triangle="lower", **fields)


# Each with the template that it is rendered from for an H200.
PROBLEMS = {
    "gemm-pointer": (_gemm(256, 256, 256, **BF16), "gemm/pointer"),
    "gemm-descriptor": (_gemm(**BF16), "gemm/descriptor"),
    "gemm-descriptor-epilogue": (
        _gemm(**BF16, batch=(2,), epilogue=(Step("bias"), Step("residual"))),
        "gemm/descriptor",
    ),
    "gemm-packed": (_gemm(layout="tn", **FLOAT32, precision="tf32"), "gemm/packed"),
    "gemm-split": (_gemm(**FLOAT32, precision="fp16x3"), "gemm/split"),
    "gemm-sliced": (_gemm(256, 256, 65536, **BF16), "gemm/sliced"),
    "trimm-pointer": (_trimm(layout="tn", **BF16), "trimm/pointer"),
    "trimm-descriptor": (_trimm(**BF16), "trimm/descriptor"),
    "trimm-packed": (_trimm(**FLOAT32, precision="tf32"), "trimm/packed"),
    "trimm-split": (_trimm(**FLOAT32, precision="fp16x3"), "trimm/split"),
}


def asked_of(name: str) -> Asked:
    problem, template = PROBLEMS[name]
    sizes = dict(SMALL)
    if template == "gemm/sliced":
        sizes["k"] = 4096  # more than one slice
    fitting = replace(problem, **sizes)
    odd = replace(problem, **{side: size - 1 for side, size in sizes.items()})
    return Asked(problem, template, (("fitting", fitting), ("odd", odd)))


# What was launched


@dataclass(frozen=True)
class Launch:
    """A launch of a call: as the wrapper asked for it, and as it reached the compiled kernel."""

    through: Callable[..., Any]  # Autotuner.run or JITFunction.run, bound
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    kernel: Any  # triton.compiler.CompiledKernel
    grid: tuple[int, int, int]
    bound: tuple[Any, ...]  # every parameter's value, in order


def launches_of(call: Callable[[], Any]) -> list[Launch]:
    """The launches that a warm call makes."""
    found: list[Launch] = []
    asked: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
    tuned, compiled = Autotuner.run, JITFunction.run

    def through_tuner(tuner: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append((tuned.__get__(tuner), args, kwargs))
        return tuned(tuner, *args, **kwargs)

    def through_jit(function: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
        kernel = compiled(function, *args, grid=grid, warmup=warmup, **kwargs)
        whole = (compiled.__get__(function), args, {"grid": grid, "warmup": warmup, **kwargs})
        values = {**dict(zip(function.arg_names, args, strict=False)), **kwargs}
        values = {name: values[name] for name in function.arg_names}
        sides = grid(values) if callable(grid) else grid
        sides = (*sides, 1, 1)[:3]
        outer = asked.pop() if asked else whole
        found.append(Launch(*outer, kernel, sides, tuple(values.values())))
        return kernel

    Autotuner.run, JITFunction.run = through_tuner, through_jit
    try:
        call()
    finally:
        Autotuner.run, JITFunction.run = tuned, compiled
    return found


def through_triton(launches: Sequence[Launch]) -> Callable[[], None]:
    def run() -> None:
        for launch in launches:
            launch.through(*launch.args, **launch.kwargs)

    return run


def bare(launches: Sequence[Launch]) -> Callable[[], None]:
    """Launches the compiled kernels."""
    runs = [(launch.kernel[launch.grid], launch.bound) for launch in launches]

    def run() -> None:
        for each, values in runs:
            each(*values)

    return run


# Timing


def host_us(
    calls: Sequence[Callable[[], Any]],
    synchronize: Callable[[], None],
    clock: Callable[[], int] = time.perf_counter_ns,
) -> list[float]:
    """µs of the CPU that each of the calls takes, timed in turn in batches that each begin with an empty queue.

    The lower quartile over batches: other processes only ever add to a time.
    """
    for call in calls:
        for _ in range(CALLS):
            call()
    found: list[list[int]] = [[] for _ in calls]
    for _ in range(BATCHES):
        for call, times in zip(calls, found, strict=True):
            synchronize()
            start = clock()
            for _ in range(CALLS):
                call()
            times.append(clock() - start)
    synchronize()
    return [statistics.quantiles(times)[0] / CALLS / 1e3 for times in found]


def graph_us(call: Callable[[], Any]) -> float:
    """µs of the GPU that a call takes in the replay of a CUDA graph of several: the median over replays."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = [call() for _ in range(GRAPH_CALLS)]
    found = []
    for _ in range(BATCHES):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        found.append(start.elapsed_time(end) * 1e3 / GRAPH_CALLS)
    del kept
    return statistics.median(found)


def figures(total: float, triton_us: float, bare_us: float, launches: int) -> dict[str, Any]:
    """What the docstring above says, in µs."""
    return {
        "total": round(total, 2),
        "triton": round(triton_us, 2),
        "bare": round(bare_us, 2),
        "overhead": round(total - bare_us, 2),
        "wrapper": round(total - triton_us, 2),
        "launches": launches,
    }


def measured(name: str, gpu: GpuSpec, folder: Path, dry: bool) -> dict[str, Any]:
    asked = asked_of(name)
    configs = {
        kernel: some[:MIN_CONFIGS]  # enough for the autotuner to have something to look up
        for kernel, some in choose(asked.problem, gpu).items()
    }
    path = folder / f"{name.replace('-', '_')}.py"
    source = filled_in(asked.problem, gpu, configs)
    path.write_text(on_the_cpu(source) if dry else source, "utf-8")
    model = imported(path).ModelNew()
    device = "cpu" if dry else "cuda"
    synchronize = (lambda: None) if dry else torch.cuda.synchronize
    found: dict[str, Any] = {"template": asked.template}
    for kind, problem in asked.sizes:
        operands = [operand(spec, device) for spec in forward_inputs(problem)]

        def call(operands: list[torch.Tensor] = operands) -> torch.Tensor:
            result: torch.Tensor = model(*operands)
            return result

        call()
        launches = launches_of(call)
        straight = bare(launches)
        times = host_us((call, through_triton(launches), straight), synchronize)
        row = figures(*times, len(launches))
        if not dry:
            row |= {"graph": graph_us(call), "bare_graph": graph_us(straight)}
        found[kind] = row
    return found


def operand(spec: Any, device: str) -> torch.Tensor:
    assert isinstance(spec, TensorSpec)
    return torch.randn(spec.shape, device=device).to(getattr(torch, spec.dtype))


def imported(path: Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Without a GPU


def on_the_cpu(source: str) -> str:
    """A rendered file that takes the CPU's tensors for a GPU's, and is otherwise the same."""
    return source.replace(".is_cuda", ".is_cpu").replace('device="cuda"', 'device="cpu"')


class DryLauncher:
    """Triton's launcher up to the driver's C code: descriptors are taken apart for it, nothing is launched."""

    def __init__(self, _source: Any, _metadata: Any) -> None:
        pass

    def __call__(self, x: int, y: int, z: int, stream: int, function: Any, *args: Any) -> None:
        taken_apart: list[Any] = []
        for each in args:
            if isinstance(each, TensorDescriptor):
                taken_apart += [each.base.data_ptr(), *each.shape, *each.strides]
            else:
                taken_apart.append(each)


@contextlib.contextmanager
def without_a_gpu(gpu: GpuSpec) -> Iterator[None]:
    """Triton compiles for `gpu`, and PyTorch changes devices as it does with one, but for CUDA's call."""
    # Memory that is freed is kept, as PyTorch keeps a GPU's: no system calls.
    for option in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
        ctypes.CDLL(None).mallopt(option, 32 << 20)
    device, index = torch.cuda.device, torch.cuda._utils._get_device_index
    pretend_gpu(gpu)
    on_gpu = torch.device("cuda", 0)
    torch.cuda.device = device
    torch.cuda._get_device_index = lambda _device, optional=False: index(on_gpu, optional)
    torch.cuda._exchange_device = torch.cuda._maybe_exchange_device = lambda number: number
    driver = triton.runtime.driver.active
    driver.launcher_cls = DryLauncher
    driver.utils.load_binary = lambda *_args: (0, 0, 0, 0, 1024)
    driver.get_benchmarker = lambda: lambda _call, quantiles: [1.0] * len(quantiles)
    yield


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PROBLEMS))
    parser.add_argument("--dry", action="store_true")
    given = parser.parse_args()
    if given.dry:
        gpu = find_gpu("h200")
    else:
        called = torch.cuda.get_device_name()
        known = gpu_called(called)
        if known is None:
            sys.exit(f"{called} is not among the GPUs that codegen knows")
        gpu = known
    present = without_a_gpu(gpu) if given.dry else contextlib.nullcontext()
    files: dict[str, Any] = {}
    result = {
        "gpu": None if given.dry else gpu.name,
        "torch": torch.__version__,
        "triton": triton.__version__,
        "python": sys.version.split()[0],
        "us": files,
    }
    print(f"{'':25} {'':8} total triton   bare overhead wrapper launches")
    with tempfile.TemporaryDirectory() as folder, present, torch.no_grad():
        for name in given.names or PROBLEMS:
            files[name] = measured(name, gpu, Path(folder), given.dry)
            given.out.write_text(json.dumps(result, indent=1) + "\n")
            for kind in ("fitting", "odd"):
                row = files[name][kind]
                print(
                    f"{name:25} {kind:8} {row['total']:5.1f} {row['triton']:6.1f} {row['bare']:6.1f} "
                    f"{row['overhead']:8.1f} {row['wrapper']:7.1f} {row['launches']:8}"
                    + (
                        f"  graph {row['graph']:.2f} {row['bare_graph']:.2f}"
                        if "graph" in row
                        else ""
                    ),
                    flush=True,
                )


if __name__ == "__main__":
    main()
