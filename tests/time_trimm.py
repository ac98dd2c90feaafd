"""Times rendered trimm files against torch.tril(torch.matmul(A, B)) on the GPU of this machine; prints a table.

    python tests/time_trimm.py [--json FILE]

Medians of interleaved rounds, the L2 cache flushed before each call. By hand, on a machine with a GPU.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]

import torch  # noqa: E402
from test_trimm_gpu import KEYS  # noqa: E402
from trimm_operands import relative_error  # noqa: E402

from codegen.gpu import find_gpu  # noqa: E402
from codegen.load import import_file  # noqa: E402
from codegen.problem import Problem  # noqa: E402
from codegen.render import choose, render  # noqa: E402

CASES = [
    # Triangle, dtype, precision, N.
    *(("lower", "float32", "tf32", n) for n in (2048, 4096, 8192)),
    *(("lower", "float32", None, n) for n in (2048, 4096)),
    ("lower", "float32", "bf16x3", 4096),
    *(("lower", "bfloat16", None, n) for n in (4096, 8192)),
    ("upper", "float32", "tf32", 4096),
    ("upper", "float16", None, 4096),
    ("lower", "float32", "tf32", 4095),
]
ROUNDS, CALLS = 5, 20
L2_FLUSH_BYTES = 256 << 20


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}")
    results = []
    for case in CASES:
        results.append(result := time_case(*case))
        print("  ".join(f"{name} {_text(value)}" for name, value in result.items()), flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1) + "\n")


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def time_case(triangle: str, dtype: str, precision: str | None, n: int) -> dict[str, Any]:
    """Both sides' times and errors, and the config that the tuner took."""
    problem = Problem("trimm", n, n, n, dtype=dtype, precision=precision, triangle=triangle)
    gpu = find_gpu(KEYS[torch.cuda.get_device_capability()])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "timed.py")
        path.write_text(render(problem, gpu, choose(problem, gpu)))
        module = import_file(str(path))
        model = module.ModelNew()
        half = torch.tril if triangle == "lower" else torch.triu
        A, B = (half(torch.randn(n, n, device="cuda")).to(getattr(torch, dtype)) for _ in "AB")
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        exact = half(A.double() @ B.double())
        errors = [relative_error(C, exact) for C in (model(A, B), half(A @ B))]
        ours, theirs = interleaved(lambda: model(A, B), lambda: half(A @ B))
    kernels = [kernel for name, kernel in vars(module).items() if name.endswith("_kernel")]
    best = [str(kernel.best_config) for kernel in kernels if getattr(kernel, "best_config", None)]
    return {
        "case": f"{triangle} {dtype} {precision or ''} N={n}",
        "ms": ours,
        "library_ms": theirs,
        "speedup": theirs / ours,
        "tflops": problem.flops() / ours / 1e9,
        "error": errors[0],
        "library_error": errors[1],
        "config": "; ".join(best),
    }


def interleaved(*sides: Callable[[], object]) -> list[float]:
    """Median milliseconds of each side, a round of one after a round of the other."""
    flush = torch.empty(L2_FLUSH_BYTES, dtype=torch.int8, device="cuda")
    times: list[list[float]] = [[] for _ in sides]
    for _ in range(ROUNDS):
        for side, taken in zip(sides, times, strict=True):
            for _ in range(CALLS):
                flush.zero_()
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                start.record()
                side()
                end.record()
                end.synchronize()
                taken.append(start.elapsed_time(end))
    return [statistics.median(taken) for taken in times]


if __name__ == "__main__":
    main()
