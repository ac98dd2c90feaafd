"""The ways to compute a float32 product: how far from the exact result each is, and how fast."""

from __future__ import annotations

from codegen.problem import Problem

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
_LAUNCHES_S, COPY_BYTES_PER_S = 10e-6, 3.4e12


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


def splitting_seconds(problem: Problem, parts: int) -> float:
    """How long splitting the operands takes: 4 bytes of each element are read, and 2 written for each part."""
    elements = problem.batches * (problem.m * problem.k + problem.k * problem.n)
    return _LAUNCHES_S + (4 + 2 * parts) * elements / COPY_BYTES_PER_S
