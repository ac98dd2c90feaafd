"""How float32 products are computed, and how far from the exact result each way is."""

from __future__ import annotations

from codegen.gpu import GpuSpec
from codegen.problem import Problem
from codegen.slices import slices_of

# Hopper and data-centre Blackwell: their tensor cores take operands straight from shared memory, which
# the tensor memory accelerator fills. Others read them through registers, and gain nothing from it.
READ_SHARED_MEMORY = (9, 10)  # major compute capabilities

# Relative Frobenius error of A.T @ B.T, M 2048, N 4096, K 8192, standard normal float32 inputs, against
# float64; measured on an H200 (Triton 3.6), where cuBLAS float32 has 1.6e-6 and cuBLAS TF32 2.9e-4.
# Errors of sums grow no faster than the square root of K on such inputs.
MEASURED_K = 8192
MEASURED_ERROR = {
    "ieee": 1.6e-6,  # float32 multiply-adds, as cuBLAS; order of summation aside
    "tf32": 7.9e-4,  # tensor cores drop the operands' low 13 bits; 2.9e-4 if rounded to nearest first
    "bf16x3": 4.4e-6,  # operands split into two bfloat16 parts, three products
    "tf32x3": 3.2e-7,  # operands split into two TF32 parts, three products
    "fp16": 2.9e-4,  # operands scaled and rounded to float16: TF32's mantissa
    "fp16x3": 8.4e-7,  # operands scaled and split into two float16 parts, three products
}

# Of the same product on an H200 (PyTorch 2.11, Triton 3.6): 2MNK a second. Operands that are split in registers
# keep the tensor cores waiting; fp16x3 is of parts that are there already. For ieee it is cuBLAS, for fp16
# the ceiling of 16-bit products.
MEASURED_FLOPS = {
    "ieee": 50e12,
    "tf32": 352e12,
    "bf16x3": 101e12,
    "tf32x3": 81e12,
    "fp16": 795e12,
    "fp16x3": 191e12,
}
# And what making the parts takes.
_LAUNCHES_S, _COPY_BYTES_PER_S = 10e-6, 3.4e12
# tf32x3 where tiles are few and K is in slices: 256x256x524288 in 1608 µs (H200, PyTorch 2.11, Triton 3.6).
_SLICED_FLOPS = 43e12
# A launch more, of what adds up the sums of slices. An allowance: not measured yet.
_SUMMING_S = 5e-6


# Those whose products are of TF32's grade by design; all others are of float32's.
TF32_GRADE = ("tf32", "fp16")


# How products are meant to be computed: those of float32 in float32 (`ieee`) or in TF32; and, `wide`, those of fewer
# bits summed in float32 and rounded once, to a result that holds more than the operands do.
PROMISES = ("ieee", "tf32", "wide")

_HOLDS_MORE = {"float16": ("float32",), "bfloat16": ("float32", "float16")}


def promise_of(problem: Problem) -> str:
    """What a rendered kernel promises, one of PROMISES.

    `wide` is not for float8, which Hopper's tensor cores sum in fewer bits than float32 has.
    """
    if problem.out_dtype in _HOLDS_MORE.get(problem.dtype, ()):
        return "wide"
    return "tf32" if problem.precision in TF32_GRADE else "ieee"


def resolved_precision(problem: Problem, gpu: GpuSpec) -> str | None:
    """The way to compute a float32 product; None for other types.

    Where the problem names none, float32 grade is due, from three tensor-core products for one: `fp16x3` where
    operands that are split once serve enough tiles, or enough slices of a long K (Hopper, data-centre Blackwell);
    else `tf32x3`, which splits in registers, where a third of the GPU's TF32 rate beats its float32 rate (A100 too); else `ieee` (Ada,
    where both rates are equal).
    """
    if problem.dtype != "float32" or problem.precision is not None:
        return problem.precision
    if gpu.compute_capability[0] in READ_SHARED_MEMORY and _splitting_pays(problem, gpu):
        return "fp16x3"
    tf32, fp32 = gpu.peak_tflops("tf32"), gpu.peak_tflops("fp32")
    return "tf32x3" if tf32 and fp32 and tf32 / 3 > fp32 else "ieee"


def _splitting_pays(problem: Problem, gpu: GpuSpec) -> bool:
    """Whether a copy of the operands in parts costs less time than products of such parts save.

    What splits in registers takes K in slices where tiles are few: so parts must beat that if their own K is
    in slices, and the rate of many tiles else.
    """
    splitting, flops = splitting_seconds(problem, 2), problem.flops()
    if splitting + _parts_seconds(problem, gpu, 1) < flops / MEASURED_FLOPS["tf32x3"]:
        return True
    if problem.triangle or not slices_of_parts_pay(problem, gpu):
        return False
    count = slices_of(problem, gpu).count
    return splitting + _parts_seconds(problem, gpu, count) < flops / _SLICED_FLOPS


def slices_of_parts_pay(problem: Problem, gpu: GpuSpec) -> bool:
    """Whether the product of two parts each (`fp16x3`) takes less time with K in slices than with K whole."""
    count = slices_of(problem, gpu).count
    if problem.precision not in (None, "fp16x3") or count == 1:
        return False
    return _parts_seconds(problem, gpu, count) < _parts_seconds(problem, gpu, 1)


def _parts_seconds(problem: Problem, gpu: GpuSpec, slices: int) -> float:
    """Model time of a product of parts.

    Fewer tiles of 128x128 than multiprocessors leave some idle, and slices of tiles are summed in whole waves.
    """
    units = max(-(-problem.m // 128) * -(-problem.n // 128) * problem.batches, 1) * slices
    waves = -(-units // gpu.sms) if slices > 1 else 1
    occupied = min(units / (waves * gpu.sms), 1.0)
    return problem.flops() / (MEASURED_FLOPS["fp16x3"] * occupied) + _summing_seconds(
        problem, slices
    )


def splitting_seconds(problem: Problem, parts: int) -> float:
    """How long splitting the operands takes: 4 bytes of each element are read, and 2 written for each part."""
    elements = problem.batches * (problem.m * problem.k + problem.k * problem.n)
    return _LAUNCHES_S + (4 + 2 * parts) * elements / _COPY_BYTES_PER_S


def _summing_seconds(problem: Problem, slices: int) -> float:
    """How long slices of K take beyond their products: each one's float32 sums are written, and read again."""
    if slices == 1:
        return 0.0
    elements = problem.batches * problem.m * problem.n
    return _SUMMING_S + 8 * slices * elements / _COPY_BYTES_PER_S
