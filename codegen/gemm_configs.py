"""The configs worth trying for a gemm, with reasons, and their order for a problem on a GPU."""

from __future__ import annotations

from codegen.config import Config
from codegen.gemm_view import ragged
from codegen.gpu import GpuSpec
from codegen.problem import FLOAT8, ITEM_BYTES, Problem
from codegen.rank import seconds, shared_bound
from codegen.spec import Candidate

# What one multiply-add unit can do decides which tiles are good. Each row: BLOCK_M, BLOCK_N, BLOCK_K, warps,
# stages, reason. Rows are in order of preference where the model calls two equal.
_Row = tuple[int, int, int, int, int, str]

# Pointer kernels, by how the product is computed.
_POINTER: dict[str, tuple[_Row, ...]] = {
    "16 bits": (
        (128, 256, 64, 8, 3, "largest tile whose accumulators fit: least traffic per multiply-add"),
        (256, 128, 64, 8, 3, "the same, for tall results"),
        (128, 128, 64, 8, 3, "square, half the registers: a second block may fit beside it"),
        (128, 128, 32, 4, 4, "square, little shared memory: two blocks or more on Ampere and Ada"),
        (64, 256, 32, 4, 4, "wide, one warp per 64 columns"),
        (128, 64, 32, 4, 4, "more tiles where the result is small"),
        (64, 128, 32, 4, 4, "the same, wide"),
        (64, 64, 64, 4, 4, "four times the tiles of 128x128: fills the GPU for small results"),
        (32, 64, 64, 4, 4, "short results"),
        (64, 32, 64, 4, 4, "narrow results"),
        (16, 128, 64, 4, 4, "a few rows: bound by reading B"),
        (128, 16, 64, 4, 4, "a few columns: bound by reading A"),
        (16, 32, 128, 4, 4, "a few rows, more tiles"),
        (32, 16, 128, 4, 4, "a few columns, more tiles"),
        (16, 64, 128, 4, 4, "a few rows, longer steps"),
        (64, 16, 128, 4, 4, "a few columns, longer steps"),
        (16, 64, 128, 4, 7, "a few rows: most bytes on their way at once"),
        (64, 16, 128, 4, 7, "the same, a few columns"),
        (16, 32, 256, 4, 4, "a few rows, longest steps"),
        (32, 16, 256, 4, 4, "a few columns, longest steps"),
        (32, 32, 128, 4, 4, "sixteen times the tiles of 128x128: fills the GPU for 256x256"),
        (64, 32, 128, 4, 3, "128 tiles of 512x512, half as many steps"),
    ),
    "tf32": (
        (128, 128, 32, 8, 3, "square, 64 accumulators a thread"),
        (64, 256, 32, 4, 3, "wide, one warp group"),
        (128, 256, 16, 8, 3, "least traffic per multiply-add within 100 KB"),
        (256, 128, 16, 8, 3, "the same, for tall results"),
        (64, 128, 32, 4, 3, "two blocks per multiprocessor on Ampere and Ada"),
        (128, 64, 32, 4, 3, "the same, tall"),
        (64, 64, 32, 4, 4, "four times the tiles of 128x128: fills the GPU for small results"),
        (32, 64, 64, 4, 3, "short results"),
        (64, 32, 64, 4, 3, "narrow results"),
        (16, 128, 32, 4, 4, "a few rows: bound by reading B"),
        (128, 16, 32, 4, 4, "a few columns: bound by reading A"),
        (16, 32, 64, 4, 4, "a few rows, more tiles"),
        (32, 16, 64, 4, 4, "a few columns, more tiles"),
        (16, 64, 64, 4, 4, "a few rows, longer steps"),
        (64, 16, 64, 4, 4, "a few columns, longer steps"),
        (16, 32, 128, 4, 4, "a few rows, longest steps: most bytes on their way at once"),
        (32, 16, 128, 4, 4, "the same, a few columns"),
        (32, 32, 64, 4, 4, "sixteen times the tiles of 128x128: fills the GPU for 256x256"),
    ),
    # TF32 on Hopper where A does not lie K-major: wgmma could read it only from registers, which Triton 3.6
    # overwrites too early (docs/hazards.md). Two warps, or fewer than 64 rows, make Triton use mma.sync.
    "tf32 by mma.sync": (
        (64, 128, 64, 2, 2, "best on an H200 at 2048x4096x8192 with both operands transposed"),
        (128, 64, 64, 2, 2, "the same, tall"),
        (64, 128, 32, 2, 3, "half the shared memory: more blocks per multiprocessor"),
        (128, 64, 32, 2, 3, "the same, tall"),
        (64, 64, 64, 2, 2, "half the accumulators: no spills"),
        (64, 64, 32, 2, 4, "twice the tiles of 64x128: fills the GPU for small results"),
        (32, 64, 64, 4, 3, "short results"),
        (64, 32, 64, 2, 3, "narrow results"),
        (16, 128, 32, 4, 4, "a few rows: bound by reading B"),
        (128, 16, 32, 2, 4, "a few columns: bound by reading A"),
        (16, 32, 64, 4, 4, "a few rows, more tiles"),
        (32, 16, 64, 4, 4, "a few columns, more tiles"),
        (16, 64, 64, 4, 4, "a few rows, longer steps"),
        (64, 16, 64, 2, 4, "a few columns, longer steps"),
        (16, 32, 128, 4, 4, "a few rows, longest steps: most bytes on their way at once"),
        (32, 16, 128, 4, 4, "the same, a few columns"),
        (32, 32, 64, 4, 4, "sixteen times the tiles of 128x128: fills the GPU for 256x256"),
    ),
    # Three products for one, on operands split in registers: smaller tiles leave room for the parts.
    "split": (
        (128, 128, 32, 8, 3, "square, 64 accumulators a thread beside the parts"),
        (
            128,
            64,
            32,
            4,
            3,
            "best tf32x3 on an H200 at 2048x4096x8192 with both operands transposed",
        ),
        (64, 128, 32, 4, 3, "best bf16x3 there"),
        (128, 64, 32, 8, 3, "half the registers a thread: no spills"),
        (64, 128, 32, 8, 3, "the same, wide"),
        (64, 64, 32, 4, 4, "four times the tiles of 128x128: fills the GPU for small results"),
        (32, 64, 32, 4, 4, "short results"),
        (64, 32, 32, 4, 4, "narrow results"),
        (16, 64, 64, 4, 3, "a few rows: bound by reading B"),
        (64, 16, 64, 4, 3, "a few columns: bound by reading A"),
        (16, 32, 64, 4, 3, "a few rows, more tiles"),
        (32, 16, 64, 4, 3, "a few columns, more tiles"),
        (16, 32, 128, 4, 3, "a few rows, longest steps: most bytes on their way at once"),
        (32, 16, 128, 4, 3, "the same, a few columns"),
        (32, 32, 64, 4, 3, "sixteen times the tiles of 128x128: fills the GPU for 256x256"),
    ),
    # Float32 multiply-adds, no tensor cores: operands come from registers, so K is taken in small steps.
    "ieee": (
        (128, 128, 16, 8, 3, "8x8 results a thread: two operands read for eight multiply-adds"),
        (128, 64, 16, 4, 3, "8x8 a thread with half the threads: three blocks per multiprocessor"),
        (64, 128, 16, 4, 3, "the same, wide"),
        (64, 64, 16, 4, 4, "4x8 a thread: fills the GPU for small results"),
        (64, 64, 32, 8, 3, "4x4 a thread, many warps to hide latency"),
        (32, 64, 32, 4, 3, "short results"),
        (64, 32, 32, 4, 3, "narrow results"),
        (16, 64, 32, 4, 3, "a few rows: bound by reading B"),
        (64, 16, 32, 4, 3, "a few columns: bound by reading A"),
        (16, 32, 64, 4, 3, "a few rows, more tiles"),
        (32, 16, 64, 4, 3, "a few columns, more tiles"),
        (32, 32, 32, 4, 3, "sixteen times the tiles of 128x128: fills the GPU for 256x256"),
    ),
    "8 bits": (
        (128, 256, 64, 8, 3, "largest tile whose accumulators fit: least traffic per multiply-add"),
        (256, 128, 64, 8, 3, "the same, for tall results"),
        (128, 128, 128, 8, 3, "square, long steps of K"),
        (128, 128, 64, 4, 4, "square, little shared memory"),
        (64, 256, 64, 4, 4, "wide"),
        (128, 64, 64, 4, 4, "more tiles where the result is small"),
        (64, 128, 64, 4, 4, "the same, wide"),
        (64, 64, 128, 4, 4, "four times the tiles of 128x128: fills the GPU for small results"),
        (32, 64, 128, 4, 4, "short results"),
        (64, 32, 128, 4, 4, "narrow results"),
        (16, 128, 128, 4, 4, "a few rows: bound by reading B"),
        (128, 16, 128, 4, 4, "a few columns: bound by reading A"),
        (16, 64, 256, 4, 4, "a few rows, longer steps"),
        (64, 16, 256, 4, 4, "a few columns, longer steps"),
        (16, 32, 256, 4, 4, "a few rows, more tiles"),
        (32, 16, 256, 4, 4, "a few columns, more tiles"),
        (32, 32, 128, 4, 4, "sixteen times the tiles of 128x128: fills the GPU for 256x256"),
    ),
}

# Persistent kernels on tensor descriptors, whose steps of K are 128 bytes, the widest row that the tensor
# memory accelerator swizzles. BLOCK_K here is in bytes; the table holds for all types.
_DESCRIPTOR: tuple[_Row, ...] = (
    (128, 256, 128, 8, 4, "least traffic per multiply-add, deep pipeline where it fits"),
    (128, 256, 128, 8, 3, "level with cuBLAS on an H200"),
    (256, 128, 128, 8, 4, "for tall results"),
    (256, 128, 128, 8, 3, "the same, one stage less"),
    (128, 128, 128, 8, 4, "square, deep pipeline"),
    (128, 128, 128, 8, 5, "square, deeper pipeline"),
    (128, 128, 128, 4, 4, "square, one warp group: fewer barriers"),
    (64, 256, 128, 4, 4, "wide, one warp group"),
    (256, 64, 128, 8, 4, "tall"),
    (64, 128, 128, 4, 5, "more tiles where the result is small"),
    (128, 64, 128, 4, 5, "the same, tall"),
    (64, 64, 128, 4, 6, "four times the tiles of 128x128: fills the GPU for small results"),
    (64, 32, 128, 4, 6, "narrow results"),
)


def pointer_candidates(
    problem: Problem, gpu: GpuSpec, precision: str | None
) -> tuple[Candidate, ...]:
    """The pointer kernel's candidates, best first."""
    unit = _unit(problem, precision)
    if unit == "tf32" and needs_registers(problem, gpu):
        unit = "tf32 by mma.sync"
    return _ranked(problem, gpu, precision, _POINTER[unit], persistent=False)


def descriptor_candidates(
    problem: Problem, gpu: GpuSpec, precision: str | None
) -> tuple[Candidate, ...]:
    """The descriptor kernel's candidates, best first."""
    item = ITEM_BYTES[problem.dtype]
    rows = tuple(
        (m, n, k // item, warps, stages, why) for m, n, k, warps, stages, why in _DESCRIPTOR
    )
    return _ranked(problem, gpu, precision, rows, persistent=True)


def _ranked(
    problem: Problem,
    gpu: GpuSpec,
    precision: str | None,
    rows: tuple[_Row, ...],
    *,
    persistent: bool,
) -> tuple[Candidate, ...]:
    tflops = peak_tflops(problem, gpu, precision)
    candidates = []
    for m, n, k, warps, stages, reason in rows:
        config = _config(m, n, k, warps, stages)
        bound = shared_bound(problem, gpu, config, persistent=persistent)
        candidates.append(Candidate(config, reason, bound))

    def order(candidate: Candidate) -> tuple[bool, float]:
        config = candidate.config
        return too_few_loads(problem, config), seconds(problem, gpu, config, tflops)

    return tuple(sorted(candidates, key=order))


def too_few_loads(problem: Problem, config: Config) -> bool:
    """Whether too few loads would be under way: 64 threads that load an element each."""
    return config.warps == 2 and ragged(problem)


def _config(m: int, n: int, k: int, warps: int, stages: int) -> Config:
    meta = (("BLOCK_M", m), ("BLOCK_N", n), ("BLOCK_K", k))
    return Config(meta, warps, stages)


def needs_registers(problem: Problem, gpu: GpuSpec) -> bool:
    """Whether a TF32 product's first operand would reach Hopper's wgmma in registers: stored `t`, it isn't K-major."""
    return gpu.compute_capability[0] == 9 and problem.layout[0] == "t"


def _unit(problem: Problem, precision: str | None) -> str:
    if problem.dtype in FLOAT8:
        return "8 bits"
    if problem.dtype != "float32":
        return "16 bits"
    return "split" if precision in ("bf16x3", "tf32x3") else str(precision)


def peak_tflops(problem: Problem, gpu: GpuSpec, precision: str | None) -> float:
    """What the GPU's data sheet promises for the unit that does the product, in 10^12 FLOP/s.

    Products split in three run at a third of it. A unit without a figure is taken as the bfloat16 one.
    """
    names = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
    unit = names.get(problem.dtype, "fp8")
    if precision is not None and precision != "ieee":
        unit = precision.removesuffix("x3")
    peak = gpu.peak_tflops(unit) or gpu.peak_tflops("bf16")
    assert peak is not None, f"{gpu.key} has no bfloat16 rate"
    return peak / 3 if precision in ("bf16x3", "tf32x3", "fp16x3") else peak
