"""What `codegen bench` measures, as data: each case, what it is compared with, and how much faster it should be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from codegen.precision import promise_of
from codegen.problem import LAYOUTS, Problem, Step


@dataclass(frozen=True)
class Row:
    """A row of the table: cases that share a target."""

    name: str  # `gemm-tf32`
    what: str  # for a person
    against: str  # for a person
    mean: float | None = None  # the least geometric mean of the cases' speed-ups
    each: float | None = None  # the least of each


@dataclass(frozen=True)
class Case:
    """One problem, in one row. Speed-up is the fastest of `baselines` and `rivals` over the kernel."""

    row: str
    name: str  # unique: `gemm-tf32-nn-4096x4096x4096`
    problem: Problem
    target: float | None = None  # of this case alone; None: the row's
    baselines: tuple[str, ...] = (
        "eager",
    )  # of those that a bench times: eager, compile, max-autotune
    rivals: tuple[str, ...] = ()  # of PEERS, where the library is one
    peers: tuple[str, ...] = ()  # baselines and PEERS that are timed too, and decide nothing
    quick: bool = False

    @property
    def promise(self) -> str:
        """The precision that the library is measured at: float32 grade, or TF32 where that was asked for."""
        return promise_of(self.problem)

    @property
    def reference(self) -> str:
        """The problem in PyTorch and in the names of forward's parameters, as whoever has no kernel writes it."""
        return self.problem.reference


# Peers that come as kernel files of their own: a template each, in templates/peers/.
PEERS = {
    "tutorial": "Triton's tutorial on matrix multiplication",
    "scaled-mm": "torch._scaled_mm",
    "helion": "Helion",
}

ROWS = (
    Row("gemm-16", "gemm bf16 and fp16", "torch.matmul", mean=1.02, each=0.95),
    Row("gemm-tf32", "gemm float32 at TF32", "torch.matmul in TF32", mean=1.00, each=0.90),
    Row("gemm-float32", "gemm float32 at float32 grade", "torch.matmul in float32", each=3.5),
    Row(
        "trimm-tf32", "trimm float32 at TF32", "torch.tril(torch.matmul), compiled or not, in TF32"
    ),
    Row("trimm-float32", "trimm float32 at float32 grade", "torch.tril(torch.matmul) in float32"),
    Row("trimm-bf16", "trimm bf16", "torch.tril(torch.matmul) in bf16"),
    Row(
        "kernelbench",
        "KernelBench level 1, float32",
        "PyTorch, compiled or not",
        mean=3.5,
        each=1.0,
    ),
    Row("epilogue", "gemm + bias + gelu, bf16", "torch.compile max-autotune", each=1.05),
    Row("small", "small and vector-like gemm", "torch.matmul", each=1.0),
    Row("float8", "gemm float8 e4m3", "torch._scaled_mm", each=1.0),
)

# m, n, k; the last is odd everywhere.
_SHAPES = (
    (2048, 4096, 8192),
    (4096, 4096, 4096),
    (8192, 8192, 8192),
    (16384, 16384, 1024),
    (256, 32768, 4096),
    (32768, 256, 4096),
    (8205, 2949, 5921),
)
_BATCHED = (128, 512, 1024, 2048)
_INDUCTOR = ("max-autotune", "tutorial", "helion")


def cases() -> tuple[Case, ...]:
    """The whole table, in its order."""
    return tuple(
        case
        for part in (
            *(_dense("gemm-16", dtype, None) for dtype in ("bfloat16", "float16")),
            _dense("gemm-tf32", "float32", "fp16"),
            _dense("gemm-float32", "float32", "fp16x3"),
            _triangular(),
            _kernelbench(),
            _rest(),
        )
        for case in part
    )


def _gemm(m: int, n: int, k: int, **fields: object) -> Problem:
    return Problem("gemm", m, n, k, **fields)  # type: ignore[arg-type]


def _dense(row: str, dtype: str, precision: str | None) -> Iterator[Case]:
    short = {"bfloat16": "bf16", "float16": "fp16"}.get(dtype)
    start = row if short is None else f"gemm-{short}"
    for layout in LAYOUTS:
        fields = {"layout": layout, "dtype": dtype, "precision": precision}
        for m, n, k in _SHAPES if precision != "fp16x3" else ((2048, 2048, 2048), *_SHAPES[:3]):
            first = layout == "nn" and (m, n, k) == _SHAPES[1] and dtype != "float16"
            peers = _INDUCTOR if layout == "nn" and m == 4096 and precision != "fp16x3" else ()
            yield Case(
                row,
                f"{start}-{layout}-{m}x{n}x{k}",
                _gemm(m, n, k, **fields),
                peers=peers,
                quick=first or (layout == "tt" and m == 2048 and dtype == "float32"),
            )
        if precision != "fp16x3":
            batch, m, n, k = _BATCHED
            name = f"{start}-{layout}-{batch}x{m}x{n}x{k}"
            yield Case(row, name, _gemm(m, n, k, batch=(batch,), **fields))


def _triangular() -> Iterator[Case]:
    for row, dtype, precision, targets in (
        ("trimm-tf32", "float32", "fp16", {2048: 2.2, 4096: 4.5, 8192: 5.5}),
        ("trimm-float32", "float32", None, {4096: 14.0}),
        ("trimm-bf16", "bfloat16", None, {4096: 3.5, 8192: 4.5}),
    ):
        for n, target in targets.items():
            fields = {"dtype": dtype, "precision": precision, "triangle": "lower"}
            yield Case(
                row,
                f"{row}-{n}",
                Problem("trimm", n, n, n, **fields),  # type: ignore[arg-type]
                target,
                ("eager", "max-autotune") if precision else ("eager",),
                quick=n == 4096,
            )


def _kernelbench() -> Iterator[Case]:
    """The fifteen problems of level 1 that are products, by their numbers there; float32 grade, as its tolerance asks."""
    fold = {"batched": "a"}
    for number, problem in (
        (1, _gemm(4096, 4096, 4096)),
        (2, _gemm(2048, 4096, 8192)),
        (3, _gemm(512, 1024, 2048, batch=(128,))),
        (6, _gemm(256, 256, 524288)),
        (7, _gemm(32768, 32768, 64)),
        (8, _gemm(8205, 2949, 5921)),
        (9, _gemm(32768, 32768, 32)),
        (10, _gemm(1024, 768, 2048, batch=(16,), **fold)),
        (11, _gemm(512, 768, 256, batch=(8, 256), **fold)),
        (13, _gemm(4096, 4096, 4096)),
        (14, Problem("trimm", 4096, 4096, 4096, triangle="upper")),
        (15, Problem("trimm", 4096, 4096, 4096, triangle="lower")),
        (16, _gemm(2048, 4096, 8192, layout="tn")),
        (17, _gemm(2048, 4096, 8192, layout="nt")),
        (18, _gemm(2048, 4096, 8192, layout="tt")),
    ):
        name = f"kernelbench-{number:02}"
        yield Case("kernelbench", name, problem, baselines=("eager", "compile"), quick=number == 8)


def _rest() -> Iterator[Case]:
    epilogue = (Step("bias"), Step("gelu"))
    problem = _gemm(4096, 4096, 4096, layout="nt", dtype="bfloat16", epilogue=epilogue)
    yield Case(
        "epilogue",
        "epilogue-nt-4096",
        problem,
        baselines=("max-autotune",),
        peers=("eager",),
        quick=True,
    )
    for m, n, k in (
        (128, 128, 128),
        (256, 256, 256),
        (512, 512, 512),
        (1, 8192, 8192),
        (16, 8192, 8192),
        (8192, 16, 8192),
    ):
        problem = _gemm(m, n, k, dtype="bfloat16", layout="nt")
        yield Case("small", f"small-{m}x{n}x{k}", problem, quick=m == 512)
    problem = _gemm(8192, 8192, 8192, dtype="float8_e4m3fn", layout="nt")
    yield Case("float8", "float8-nt-8192", problem, baselines=(), rivals=("scaled-mm",), quick=True)


def chosen(names: tuple[str, ...], quick: bool) -> tuple[Case, ...]:
    """The cases whose names, or rows' names, begin with one of `names`; all where there are none."""
    return tuple(
        case
        for case in cases()
        if (not names or any(case.name.startswith(n) or case.row == n for n in names))
        and (case.quick or not quick)
    )
