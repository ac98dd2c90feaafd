"""Rendered files on a real GPU: every config against float64, and times against the library.

Needs PyTorch and Triton alone:

    python tests/gpu/rendered.py generated/*_h200.json              # right?
    python tests/gpu/rendered.py --time generated/*_h200.json       # and how fast (--time-only: nothing else)
    python tests/gpu/rendered.py --modes generated/gemm_*_h200.json # CUDA graphs, torch.compile, streams
    python tests/gpu/rendered.py --few generated/*_h200.json        # two small cases: for compute-sanitizer
    python tests/gpu/rendered.py --render DIR --gpu h200            # where Jinja and black are: the whole
    ls DIR/*.json | xargs -P 12 -n 4 python tests/gpu/rendered.py --few  # table of gemm_matrix.py, then checked

Every config of every kernel, on standard normal operands, into memory filled with NaN, three times with equal
bits. Compiling takes nearly all of the time, about a minute a file on one core: hence xargs.
Prints a row for each file, and JSON with --json FILE. Exit status 1 if a config is wrong.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]

import gemm_operands as gemm  # noqa: E402
import torch  # noqa: E402
import trimm_operands as trimm  # noqa: E402
from gemm_matrix import odd, problems, whole  # noqa: E402
from torch.overrides import TorchFunctionMode  # noqa: E402
from triton.runtime.autotuner import Autotuner  # noqa: E402

from codegen.problem import FLOAT8, PRECISIONS, TRIANGLES, Problem  # noqa: E402
from codegen.trimm import View  # noqa: E402

REPEATS = 3
TRIMM_TYPES = [("float32", p) for p in PRECISIONS] + [("float16", None), ("bfloat16", None)]
L2_FLUSH_BYTES = 1 << 30  # and long enough for the host to be ahead of the GPU
ROUNDS = 30
FAR = "rows 2^30 elements apart"  # for three rows, no more


class NanFilled(TorchFunctionMode):
    """New memory holds NaN: an element that nobody writes is seen."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if function in (torch.empty, torch.empty_strided) and result.is_floating_point():
            result.fill_(float("nan"))
        return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("records", nargs="*", type=Path)
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--modes", action="store_true")
    parser.add_argument("--render", type=Path)
    parser.add_argument("--gpu", default="h200")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--few", action="store_true")
    parser.add_argument("--time-only", action="store_true")
    parser.add_argument("--rival", type=Path, help="a file whose ModelNew to time as well")
    options = parser.parse_args()
    if options.render:
        render_table(options.render, options.gpu)
        return 0
    checked = [] if options.time_only else options.records
    rows = [row for path in checked for row in check(path, few=options.few)]
    wrong = [row for row in rows if not row["right"]]
    print(f"{len(rows)} runs of {len(checked)} files, {len(wrong)} wrong")
    if options.time or options.time_only:
        print(f"{'file':52} {'ms':>8} {'library':>8} {'rival':>8}  error, library's")
        rows += [timed(path, options.rival) for path in options.records]
    if options.modes:
        for path in options.records:
            check_modes(path)
    if options.json:
        options.json.write_text(json.dumps({"device": device(), "rows": rows}, indent=1))
    return 1 if wrong else 0


def device() -> dict[str, str]:
    import triton

    properties = torch.cuda.get_device_properties(0)
    return {"gpu": properties.name, "torch": torch.__version__, "triton": triton.__version__}


def render_table(folder: Path, gpu: str) -> None:
    """Writes a file and a record for every problem of the table that the GPU takes."""
    from codegen.gpu import find_gpu
    from codegen.outcome import BadInput
    from codegen.record import Record
    from codegen.render import choose
    from codegen.spec import Spec

    folder.mkdir(parents=True, exist_ok=True)
    for number, problem in enumerate([*problems().values(), *triangular()]):
        try:
            record = Record(Spec(problem, find_gpu(gpu), choose(problem, find_gpu(gpu))))
        except BadInput as error:
            print(error)
            continue
        path = folder / f"{problem.family}_{number:03}.json"
        path.write_text(record.text())
        path.with_suffix(".py").write_text(record.source())


def triangular() -> Iterator[Problem]:
    """Products of triangles: every type, and for two of them every layout and a batch."""
    for triangle in TRIANGLES:
        for dtype, precision in TRIMM_TYPES:
            plain = Problem(
                "trimm", 4096, 4096, 4096, triangle=triangle, dtype=dtype, precision=precision
            )
            yield plain
            if (dtype, precision) in (("float32", "tf32"), ("bfloat16", None)):
                yield from (replace(plain, layout=layout) for layout in ("nt", "tn", "tt"))
                yield replace(plain, batch=(2,))


def read(path: Path) -> tuple[Problem, Any]:
    return Problem.from_json(json.loads(path.read_text())["problem"]), gemm.load(
        path.with_suffix(".py")
    )


def operands(problem: Problem, way: str = "contiguous", seed: int = 0) -> list[Any]:
    if problem.triangle is None:
        return gemm.operands(problem, "cuda", seed, way)
    factor = 1 + seed
    return [factor * trimm.operand(problem, name, problem.n, way, "cuda") for name in "AB"]


def product(problem: Problem, given: list[Any], compute: torch.dtype) -> torch.Tensor:
    """The problem in plain PyTorch, computed in `compute`."""
    if problem.triangle is None:
        return gemm.reference(problem, given, compute)
    return trimm.product(View(problem, None, ()), *given, compute)


def library(problem: Problem, given: list[Any]) -> torch.Tensor:
    """PyTorch's own result, in TF32 where the problem is."""
    torch.backends.cuda.matmul.allow_tf32 = problem.precision == "tf32"
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    if problem.triangle is None:
        return gemm.library(problem, given)
    result = product(problem, given, getattr(torch, problem.dtype))
    return result.to(getattr(torch, problem.out_dtype))


def cases(problem: Problem, *, few: bool) -> list[tuple[Problem, str]]:
    """Sizes, and how the operands lie in memory: whole tiles and ragged ones, the file's own size last."""
    if problem.triangle is not None:
        sizes = (136, 133) if few else (1, 8, 776, 1001, 1024, 2056, 4096, 4097, 8191, 8192)
        found = [(square(problem, n), "contiguous") for n in sizes]
        places = () if few else trimm.PLACES[1:]
        return found + [(square(problem, n), place) for place in places for n in (776, 773)]
    found = [(whole(problem), "contiguous"), (odd(problem), "contiguous")]
    if few:
        return found
    # A batch of one takes no residual of several.
    skipped = {FAR} | (
        {"batches of one"} if len(problem.batch) == 1 and problem.epilogue else set()
    )
    found += [(whole(problem), way) for way in gemm.WAYS if way not in skipped]
    found += [
        (replace(whole(problem), k=4096), "contiguous"),
        (replace(odd(problem), k=1), "contiguous"),
        (problem, "contiguous"),
        (replace(problem, m=problem.m | 1, n=problem.n | 1, k=problem.k | 1), "contiguous"),
    ]
    if not problem.batch:
        found.append((replace(problem, m=3, n=3, k=3), FAR))
        found.append((replace(problem, m=8192, n=8192, k=8192), "contiguous"))
    return found


def square(problem: Problem, n: int) -> Problem:
    return replace(problem, m=n, n=n, k=n)


def check(path: Path, *, few: bool) -> list[dict[str, Any]]:
    """Every config of a file, on each of its cases."""
    problem, module = read(path)
    rows = []
    for small, way in cases(problem, few=few):
        given = operands(small, way)
        kept = [x.clone() for x in given]
        expected = product(small, given, torch.float64)
        # Under compute-sanitizer's racecheck cuBLAS's bfloat16 kernels fail: there the CPU stands for it.
        near = [x.cpu() for x in given] if few else given
        theirs = gemm.relative_error(library(small, near), expected.to(near[0].device))
        allowed = gemm.bound(small, theirs)
        for name, index, out in every_config(module, given):
            error = gemm.relative_error(out, expected)
            again = [call(module, name, index, given) for _ in range(REPEATS - 1)]
            repeats = all(gemm.same([out, *given], [other, *kept]) for other in again)
            row = {
                "file": path.stem,
                "kernel": name,
                "config": str(getattr(module, name).configs[index]),
                "case": f"{way} {small.m}x{small.n}x{small.k}",
                "error": error,
                "library_error": theirs,
                "repeats": repeats,
                "right": error <= allowed and repeats and out.shape == expected.shape,
            }
            rows.append(row)
            if not row["right"]:
                print("WRONG", row, f"allowed {allowed:.2g}")
    worst = max(rows, key=lambda row: row["error"])
    print(
        f"{path.stem:52} {len(rows)} runs, error at most {worst['error']:.2g}, the library's"
        f" there {worst['library_error']:.2g} ({worst['case']})",
        flush=True,
    )
    return rows


def check_modes(path: Path) -> None:
    """The same result, bit for bit, in a CUDA graph, under torch.compile, in inference mode, on another stream."""
    problem, module = read(path)
    model = module.ModelNew()
    small = whole(problem) if problem.triangle is None else square(problem, 264)
    given, fresh = operands(small), operands(small, seed=1)
    with torch.no_grad():
        expected, expected_fresh = model(*given), model(
            *fresh
        )  # and tuned, which a graph cannot be
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = model(*given)
        graph.replay()
        same = {"graph": torch.equal(captured, expected)}
        for held, x in zip(given, fresh, strict=True):
            held.copy_(x)
        graph.replay()
        same["graph replayed"] = torch.equal(captured, expected_fresh)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            out = model(*given)
        torch.cuda.current_stream().wait_stream(stream)
        same["stream"] = torch.equal(out, expected_fresh)
        with torch.inference_mode():
            same["inference"] = torch.equal(model(*given), expected_fresh)
        # A wrapper that asks for a graph break gets it.
        whole_graph = "@torch.compiler.disable" not in path.with_suffix(".py").read_text()
        compiled = torch.compile(model, fullgraph=whole_graph)(*given)
        reference = product(small, given, torch.float64)
        # Inductor tunes for itself and may choose another config.
        error = gemm.relative_error(compiled, reference)
        theirs = gemm.relative_error(library(small, given), reference)
        same["torch.compile"] = error <= gemm.bound(small, theirs)
    print(f"{path.stem:52} {', '.join(f'{k}: {v}' for k, v in same.items())}", flush=True)


def every_config(module: Any, given: list[Any]) -> Any:
    """Kernel, config's place and result, for each config of the kernel that the operands lead to."""
    for name, kernel in tuned(module).items():
        for index in range(len(kernel.configs)):
            launched: list[str] = []
            out = call(module, name, index, given, launched)
            if name not in launched:
                break
            yield name, index, out


def call(
    module: Any, name: str, index: int, given: list[Any], launched: list[str] | None = None
) -> torch.Tensor:
    """The model's result with one config of one kernel, the other kernel with its first."""
    kernels = tuned(module)
    kept = {n: kernel.configs for n, kernel in kernels.items()}
    for n, kernel in kernels.items():
        place = index if n == name else 0
        kernel.configs = kept[n][place : place + 1]
        kernel.run = noting(
            n, type(kernel).run.__get__(kernel), launched if launched is not None else []
        )
    try:
        with NanFilled(), torch.no_grad():
            out: torch.Tensor = module.ModelNew()(*given)
        torch.cuda.synchronize()
        return out
    finally:
        for n, kernel in kernels.items():
            kernel.configs = kept[n]
            del kernel.run


def noting(name: str, run: Callable[..., Any], launched: list[str]) -> Callable[..., Any]:
    def noted(*args: Any, **kwargs: Any) -> Any:
        launched.append(name)
        return run(*args, **kwargs)

    return noted


def timed(path: Path, rival: Path | None) -> dict[str, Any]:
    """Medians of interleaved rounds at the file's own sizes, L2 flushed before each."""
    problem, module = read(path)
    # torch.tril(A @ B) has to be given triangles.
    given = [x.nan_to_num() if problem.triangle else x for x in operands(problem)]
    model = module.ModelNew()
    contenders: dict[str, Callable[[], Any]] = {
        "ours": lambda: model(*given),
        "library": peer(problem, given),
    }
    if rival:
        other = gemm.load(rival).ModelNew()
        contenders["rival"] = lambda: other(*given)
    flush = torch.empty(L2_FLUSH_BYTES, dtype=torch.int8, device="cuda")
    times: dict[str, list[float]] = {name: [] for name in contenders}
    with torch.no_grad():
        for contender in list(contenders.values()) * 3:  # tuned, compiled, warm
            contender()
        for _ in range(ROUNDS):
            for name, contender in contenders.items():
                flush.zero_()
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                start.record()
                contender()
                end.record()
                end.synchronize()
                times[name].append(start.elapsed_time(end))
        expected = product(problem, given, torch.float64)
        errors = {name: gemm.relative_error(run(), expected) for name, run in contenders.items()}
    median = {name: statistics.median(taken) for name, taken in times.items()}
    row = {
        "file": path.stem,
        "ms": median,
        "error": errors,
        "best": {
            name: str(kernel.best_config)
            for name, kernel in tuned(module).items()
            if hasattr(kernel, "best_config")
        },
    }
    print(
        f"{path.stem:52} {median['ours']:8.3f} {median['library']:8.3f} {median.get('rival', 0):8.3f}"
        f"  {errors['ours']:.2g}, {errors['library']:.2g}  {row['best']}",
        flush=True,
    )
    return row


def peer(problem: Problem, given: list[Any]) -> Callable[[], Any]:
    """The library's way: torch.matmul with the epilogue, torch.tril of it, torch._scaled_mm for float8."""
    if problem.triangle is not None:
        a, b = (
            x if stored == "n" else x.mT for x, stored in zip(given, problem.layout, strict=True)
        )
        half = torch.tril if problem.triangle == "lower" else torch.triu
        library(problem, given)  # which says whether TF32 is allowed
        return lambda: half(a @ b)
    if problem.dtype not in FLOAT8:
        return lambda: library(problem, given)
    a, b = given[0], given[1]
    a = a if problem.layout[0] == "n" else a.mT.contiguous()
    b = b if problem.layout[1] == "n" else b.mT
    b = b.mT.contiguous().mT
    if problem.dtype == "float8_e5m2":  # which _scaled_mm takes for one operand at most
        return lambda: library(problem, given)
    one = torch.ones((), device="cuda")
    out = getattr(torch, problem.out_dtype)
    return lambda: torch._scaled_mm(a, b, scale_a=one, scale_b=one, out_dtype=out)


def tuned(module: Any) -> dict[str, Any]:
    """A file's autotuned kernels, by name."""
    return {name: value for name, value in vars(module).items() if isinstance(value, Autotuner)}


if __name__ == "__main__":
    sys.exit(main())
