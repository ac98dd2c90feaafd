"""How a float32 product is computed where nobody says how: at float32 grade, the fastest way for its sizes."""

from __future__ import annotations

from collections.abc import Iterator

from codegen.gemm_configs import peak_tflops, pointer_candidates
from codegen.gemm_sliced import sliced_candidates
from codegen.gemm_split import split_candidates
from codegen.gemm_times import parts_seconds, pointer_seconds
from codegen.gemm_view import flat
from codegen.gpu import GpuSpec
from codegen.precision import READ_SHARED_MEMORY
from codegen.problem import Problem
from codegen.slices import slices_of

# Up to this size one triangle's longest tile decides, and has no time to split what it reads: on an H200 N 512 takes
# 11.8 us with multiply-adds, 13.4 as tf32x3 and 25.9 as fp16x3, of which N 1024 takes 33.6, 33.5 and 27.9.
_SMALL_TRIANGLE = 768


def resolved_precision(problem: Problem, gpu: GpuSpec) -> str | None:
    """The way to compute a float32 product; None for other types.

    Where the problem names none, float32 grade is due, from three tensor-core products for one: `fp16x3` where
    splitting operands beforehand is fastest (Hopper, data-centre Blackwell); else `tf32x3`, which splits in
    registers, where a third of the GPU's TF32 rate beats its float32 rate (A100 too); else `ieee` (Ada, where both
    rates are equal). One small triangle is `ieee` on Hopper and its like too, of many each is `tf32x3`.
    """
    if problem.dtype != "float32" or problem.precision is not None:
        return problem.precision
    if gpu.compute_capability[0] in READ_SHARED_MEMORY:
        if problem.triangle and problem.n > _SMALL_TRIANGLE:
            return "fp16x3"
        if problem.triangle and problem.batches == 1:
            return "ieee"
        if not problem.triangle and _parts_pay(problem, gpu):
            return "fp16x3"
    tf32, fp32 = gpu.peak_tflops("tf32"), gpu.peak_tflops("fp32")
    return "tf32x3" if tf32 and fp32 and tf32 / 3 > fp32 else "ieee"


def _parts_pay(problem: Problem, gpu: GpuSpec) -> bool:
    return min(_of_parts(problem, gpu)) < min(_in_registers(problem, gpu))


def _of_parts(problem: Problem, gpu: GpuSpec) -> Iterator[float]:
    """Model times of a gemm as `fp16x3`, K whole or in slices."""
    problem, how = flat(problem), "fp16x3"
    tflops, slices = peak_tflops(problem, gpu, how), slices_of(problem, gpu)
    for cut in (None, slices) if slices.count > 1 else (None,):
        best = split_candidates(problem, gpu, how, tflops, cut)[0]
        yield parts_seconds(problem, gpu, how, best.config, cut)


def _in_registers(problem: Problem, gpu: GpuSpec) -> Iterator[float]:
    """Model times of a gemm as `tf32x3`, K whole or in slices."""
    problem, how = flat(problem), "tf32x3"
    whole = pointer_candidates(problem, gpu, how)
    sliced = sliced_candidates(problem, gpu, peak_tflops(problem, gpu, how), whole)
    yield pointer_seconds(problem, gpu, how, whole[0].config)
    yield pointer_seconds(problem, gpu, how, sliced[0].config, sliced=True)
