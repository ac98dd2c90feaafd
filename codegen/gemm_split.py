"""A gemm of float32 operands that are split once, into scaled float16 parts, before tensor cores multiply them.

Float16 runs at twice TF32's rate on the same 11 bits of mantissa, and its operands may lie either way in shared
memory. One part of each operand gives TF32's accuracy (`fp16`), two give float32's (`fp16x3`, three products).
The way there and what was measured: docs/performance.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from codegen.config import Config
from codegen.gemm_view import Operand, View
from codegen.gpu import GpuSpec
from codegen.problem import ITEM_BYTES, Problem
from codegen.rank import seconds
from codegen.slices import LEAST_STEPS, STEP, TILE_M, TILE_N, Slices, one_by_one
from codegen.spec import Candidate

SPLIT = {"fp16": 1, "fp16x3": 2}  # precision -> float16 parts of an operand

# BLOCK_M, BLOCK_N, warps, stages, programs on a multiprocessor, reason. Steps of K are 64 elements, 128 bytes: the
# widest row that the tensor memory accelerator swizzles.
_Row = tuple[int, int, int, int, int, str]
_ROWS: dict[str, tuple[_Row, ...]] = {
    # One accumulator: the tiles of any float16 product.
    "fp16": (
        (128, 256, 8, 4, 1, "least traffic per multiply-add, deep pipeline"),
        (256, 128, 8, 4, 1, "the same, for tall results"),
        (128, 256, 8, 3, 1, "one stage less"),
        (128, 128, 8, 5, 1, "square, deep pipeline"),
        (128, 128, 8, 3, 2, "square: while one program stores, another computes"),
        (128, 64, 4, 4, 2, "more tiles where the result is small"),
        (64, 128, 4, 4, 2, "the same, wide"),
        (64, 64, 4, 6, 2, "four times the tiles of 128x128: fills the GPU for small results"),
    ),
    # Two accumulators. At 128x256 the loop's counters spill, 120 to 136 bytes a thread, which costs less than the
    # traffic of smaller tiles.
    "fp16x3": (
        (128, 256, 8, 3, 1, "least traffic per multiply-add: best on an H200 at 2048x4096x8192"),
        (128, 256, 8, 4, 1, "the same, deep pipeline"),
        (128, 128, 8, 5, 1, "square, deep pipeline"),
        (64, 256, 4, 4, 1, "wide, one warp group"),
        (128, 64, 4, 4, 2, "more tiles where the result is small"),
        (64, 128, 4, 4, 2, "the same, wide"),
        (64, 64, 4, 6, 2, "four times the tiles of 128x128: fills the GPU for small results"),
    ),
}


Dims = tuple[int, int]  # of a row, along which sums run, and of its elements


def split_names(batched: bool, parts: int) -> tuple[str, ...]:
    """What splitting an operand needs to know of it and of its parts, besides sizes."""
    batch = ("stride_z",) if batched else ()
    part = ("part",) if parts > 1 else ()
    return (*batch, "stride_r", "stride_k", *part, "matrix", "step_r", "step_k")


def split_arguments(
    names: Sequence[str], operands: Iterable[tuple[str, Dims, Dims]]
) -> tuple[str, ...]:
    """The same for A and for B, as Python: of each its name, and where its dimensions are, in it and in its parts.

    A row, of which the product takes sums, is a column of B.
    """
    found = []
    for operand, (row, k), (step_r, step_k) in operands:
        places = {
            "stride_z": f"{operand}.stride(0)",
            "stride_r": f"{operand}.stride({row})",
            "stride_k": f"{operand}.stride({k})",
            "part": f"{operand}_parts.stride(0)",
            "matrix": f"{operand}_parts.stride(1)",
            "step_r": f"{operand}_parts.stride({step_r})",
            "step_k": f"{operand}_parts.stride({step_k})",
        }
        found += [places[wanted] for wanted in names]
    return tuple(found)


@dataclass(frozen=True)
class SplitView(View):
    """A gemm as the template of split operands sees it."""

    parts: int = 2  # of each operand
    sliced: bool = False  # K, where tiles are few; of two parts only

    slice_tile = (TILE_M, TILE_N)
    least_steps = LEAST_STEPS

    @property
    def axes(self) -> tuple[int, ...]:
        """One batch axis at most: the parts of a batch lie one after the other, whatever its shape."""
        return super().axes[:1]

    @property
    def flattened(self) -> tuple[str, ...]:
        """The tensors whose batch axes have to be made one."""
        if self.folded or len(self.problem.batch) < 2:
            return ()
        return ("A", "B", "residual") if "residual" in self.extras else ("A", "B")

    @property
    def split_names(self) -> tuple[str, ...]:
        return split_names(bool(self.axes), self.parts)

    @property
    def split_arguments(self) -> tuple[str, ...]:
        first = len(self.axes)
        found = []
        for x in (self.a, self.b):
            row, k = (0, 1) if x.k_major else (1, 0)
            found.append((x.letter.upper(), (first + row, first + k), (2 + row, 2 + k)))
        return split_arguments(self.split_names, found)

    def part_rows(self, x: Operand) -> str:
        """Rows of one part of one matrix; sums run along K, which is padded with zeros."""
        return "K_PADDED" if x.rows == "K" else x.rows

    def parts_shape(self, x: Operand) -> str:
        columns = "K_PADDED" if x.columns == "K" else f"triton.cdiv({x.columns}, 8) * 8"
        return f"({self.parts}, batches, {self.part_rows(x)}, {columns})"

    @property
    def factors(self) -> str:
        return f"{'a' if self.a.k_major else 'a.T'}, {'b.T' if self.b.k_major else 'b'}"

    @property
    def gemm_parameters(self) -> tuple[str, ...]:
        """Of the kernel that multiplies: sizes, and operands of the epilogue, unless another adds up slices after it."""
        return self.key if self.sliced else self.tma_parameters

    @property
    def gemm_arguments(self) -> tuple[str, ...]:
        return self._arguments(self.gemm_parameters, {})

    @property
    def sum_parameters(self) -> tuple[str, ...]:
        """Of the kernel that adds up slices: M, N, and operands of the epilogue."""
        left_out = set(self.key) - {"M", "N"}
        return tuple(name for name in self.tma_parameters if name not in left_out)

    @property
    def sum_arguments(self) -> tuple[str, ...]:
        return self._arguments(self.sum_parameters, {})


def split_candidates(
    problem: Problem, gpu: GpuSpec, precision: str, tflops: float, slices: Slices | None = None
) -> tuple[Candidate, ...]:
    """Configs of the kernel that multiplies parts, best first; of parts in slices of K, if `slices` are given."""
    if slices:
        problem = one_by_one(problem, slices)
    candidates = []
    for m, n, warps, stages, programs, reason in _ROWS[precision]:
        meta = (
            ("BLOCK_M", m),
            ("BLOCK_N", n),
            ("BLOCK_K", STEP),
            ("PROGRAMS", programs * gpu.sms),
        )
        config = Config(meta, warps, stages)
        bound = shared_bound(problem, gpu, m, n, stages)
        where = f"; K in {slices.count} slices" if slices else ""
        candidates.append(Candidate(config, reason + where, bound))
    return tuple(sorted(candidates, key=lambda c: seconds(problem, gpu, c.config, tflops)))


def shared_bound(problem: Problem, gpu: GpuSpec, m: int, n: int, stages: int) -> int:
    """At least the shared memory, in bytes, that a config takes.

    The stages of both operands, a quarter of the result's tile on its way out (half of it on Blackwell, where
    accumulators come out of tensor memory), a residual's tile on its way to the accumulator's layout, barriers, and what
    a row's exponents pass through.
    """
    operands = stages * (m + n) * STEP * 2
    result = m * n * ITEM_BYTES[problem.out_dtype]
    residual = any(step.op == "residual" for step in problem.epilogue)
    leaving = result // (2 if gpu.compute_capability[0] == 10 else 4)
    return operands + leaving + (result if residual else 0) + 16 * (stages + 1) + 4 * (m + n)
