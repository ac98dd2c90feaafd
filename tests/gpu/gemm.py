"""Rendered gemm files on a real GPU: every config against float64, and times against the library.

Needs PyTorch and Triton alone:

    python tests/gpu/gemm.py generated/gemm_*_h200.json                 # right?
    python tests/gpu/gemm.py --time generated/gemm_*_h200.json          # and how fast
    python tests/gpu/gemm.py --modes generated/gemm_*_h200.json         # CUDA graphs, torch.compile, streams
    python tests/gpu/gemm.py --render DIR --gpu h200                    # where Jinja and black are: the whole
    ls DIR/*.json | xargs -P 12 -n 4 python tests/gpu/gemm.py           # table of gemm_matrix.py, then checked

Compiling takes nearly all of the time of a check, about a minute a file on one core: hence xargs.
Prints a row for each config, or for each file when timing, and JSON with --json FILE. Exit status 1 if a
config is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]

import gemm_operands as gemm  # noqa: E402
import torch  # noqa: E402
from gemm_matrix import odd, problems, whole  # noqa: E402
from torch.overrides import TorchFunctionMode  # noqa: E402

from codegen.problem import FLOAT8, Problem  # noqa: E402

KERNELS = ("gemm_tma_kernel", "gemm_kernel")
L2_FLUSH_BYTES = 256 << 20
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
    options = parser.parse_args()
    if options.render:
        render_table(options.render, options.gpu)
        return 0
    rows = [row for path in options.records for row in check(path)]
    wrong = [row for row in rows if not row["right"]]
    print(f"{len(rows)} runs of {len(options.records)} files, {len(wrong)} wrong")
    if options.time:
        print(f"{'file':52} {'ms':>8} {'library':>8} {'ratio':>6}  error, library's")
        rows += [timed(path) for path in options.records]
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
    for number, problem in enumerate(problems().values()):
        try:
            record = Record(Spec(problem, find_gpu(gpu), choose(problem, find_gpu(gpu))))
        except BadInput as error:
            print(error)
            continue
        path = folder / f"gemm_{number:03}.json"
        path.write_text(record.text())
        path.with_suffix(".py").write_text(record.source())


def read(path: Path) -> tuple[Problem, Any]:
    return Problem.from_json(json.loads(path.read_text())["problem"]), gemm.load(
        path.with_suffix(".py")
    )


def library(problem: Problem, given: list[Any]) -> torch.Tensor:
    """PyTorch's own result, in TF32 where the problem is."""
    torch.backends.cuda.matmul.allow_tf32 = problem.precision == "tf32"
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    return gemm.library(problem, given)


def check(path: Path) -> list[dict[str, Any]]:
    """Every config of a file, on whole, odd and strided operands and at the file's own sizes."""
    problem, module = read(path)
    rows = []
    cases = [(whole(problem), "contiguous"), (odd(problem), "contiguous")]
    cases += [(whole(problem), way) for way in gemm.WAYS if way != FAR]
    cases += [
        (replace(whole(problem), k=4096), "contiguous"),
        (replace(odd(problem), k=1), "contiguous"),
    ]
    cases.append((problem, "contiguous"))
    if not problem.batch:
        cases.append((replace(problem, m=3, n=3, k=3), FAR))
    for small, way in cases:
        given = gemm.operands(small, "cuda", way=way)
        kept = [x.clone() for x in given]
        expected = gemm.reference(small, given, torch.float64)
        theirs = gemm.relative_error(library(small, given), expected)
        allowed = gemm.bound(small, theirs)
        for name, index, out in every_config(module, given):
            error = gemm.relative_error(out, expected)
            again = call(module, name, index, given)
            row = {
                "file": path.stem,
                "kernel": name,
                "config": str(getattr(module, name).configs[index]),
                "case": f"{way} {small.m}x{small.n}x{small.k}",
                "error": error,
                "library_error": theirs,
                "right": error <= allowed
                and out.shape == expected.shape
                and gemm.same([out, *given], [again, *kept]),
            }
            rows.append(row)
            if not row["right"]:
                repeats = "repeats" if gemm.same([out], [again]) else "differs when run again"
                print("WRONG", row, f"allowed {allowed:.2g}", repeats)
    worst = max(row["error"] / max(row["library_error"], 1e-12) for row in rows)
    print(
        f"{path.stem:60} {len(rows)} runs, error at most {worst:.3g} of the library's", flush=True
    )
    return rows


def check_modes(path: Path) -> None:
    """The same result, bit for bit, in a CUDA graph, under torch.compile, in inference mode, on another stream."""
    problem, module = read(path)
    model = module.ModelNew()
    small = whole(problem)
    given, fresh = gemm.operands(small, "cuda"), gemm.operands(small, "cuda", seed=1)
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
        compiled = torch.compile(model, fullgraph=True)(*given)
        reference = gemm.reference(small, given, torch.float64)
        # Inductor tunes for itself and may choose another config.
        error = gemm.relative_error(compiled, reference)
        theirs = gemm.relative_error(library(small, given), reference)
        same["torch.compile"] = error <= gemm.bound(small, theirs)
    print(f"{path.stem:52} {', '.join(f'{k}: {v}' for k, v in same.items())}", flush=True)


def every_config(module: Any, given: list[Any]) -> Any:
    """Kernel, config's place and result, for each config of the kernel that the operands lead to."""
    for name in KERNELS:
        kernel = getattr(module, name, None)
        for index in range(len(kernel.configs) if kernel else 0):
            launched: list[str] = []
            out = call(module, name, index, given, launched)
            if name not in launched:
                break
            yield name, index, out


def call(
    module: Any, name: str, index: int, given: list[Any], launched: list[str] | None = None
) -> torch.Tensor:
    """The model's result with one config of one kernel, the other kernel with its first."""
    kernels = {n: getattr(module, n) for n in KERNELS if hasattr(module, n)}
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


def timed(path: Path) -> dict[str, Any]:
    """Medians of interleaved rounds at the file's own sizes, L2 flushed before each."""
    problem, module = read(path)
    given = gemm.operands(problem, "cuda")
    model = module.ModelNew()
    theirs = peer(problem, given)
    flush = torch.empty(L2_FLUSH_BYTES, dtype=torch.int8, device="cuda")
    with torch.no_grad():
        contenders: list[Callable[[], Any]] = [lambda: model(*given), theirs]
        for contender in contenders * 3:  # tuned, compiled, warm
            contender()
        times: list[list[float]] = [[], []]
        for _ in range(ROUNDS):
            for contender, samples in zip(contenders, times, strict=True):
                flush.zero_()
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                start.record()
                contender()
                end.record()
                end.synchronize()
                samples.append(start.elapsed_time(end))
        ours_ms, theirs_ms = (sorted(samples)[ROUNDS // 2] for samples in times)
        expected = gemm.reference(problem, given, torch.float64)
        errors = [gemm.relative_error(run(), expected) for run in contenders]
    row = {
        "file": path.stem,
        "ms": ours_ms,
        "library_ms": theirs_ms,
        "errors": errors,
        "best": {n: str(getattr(module, n).best_config) for n in KERNELS if used(module, n)},
    }
    print(
        f"{path.stem:52} {ours_ms:8.3f} {theirs_ms:8.3f} {theirs_ms / ours_ms:6.2f}"
        f"  {errors[0]:.2g}, {errors[1]:.2g}  {row['best']}",
        flush=True,
    )
    return row


def used(module: Any, name: str) -> bool:
    return hasattr(getattr(module, name, None), "best_config")


def peer(problem: Problem, given: list[Any]) -> Callable[[], Any]:
    """The library's way: torch.matmul and the epilogue, or for float8 K-major operands torch._scaled_mm."""
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


if __name__ == "__main__":
    sys.exit(main())
