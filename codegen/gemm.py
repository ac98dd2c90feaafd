"""The gemm family: C = epilogue(op(A) @ op(B)), with leading batch dimensions or without."""

from __future__ import annotations

from dataclasses import replace

from codegen.gemm_configs import (
    descriptor_candidates,
    needs_registers,
    peak_tflops,
    pointer_candidates,
)
from codegen.gemm_sliced import DESCRIPTORS_GAIN, SlicedView, sliced_candidates, slicing_pays
from codegen.gemm_split import SPLIT, SplitView, split_candidates
from codegen.gemm_view import View
from codegen.gpu import GpuSpec
from codegen.outcome import BadInput
from codegen.precision import READ_SHARED_MEMORY, resolved_precision, slices_of_parts_pay
from codegen.problem import FLOAT8, ITEM_BYTES, Problem
from codegen.slices import slices_of
from codegen.spec import Family, Form

FIRST_GPU = (8, 0)
FIRST_WITH_FLOAT8 = (8, 9)
_TMA_MAX_AXES = 3  # a tensor map has five dimensions

# Copying an operand K-major moves 2 x 4 bytes for each of its elements at the memory's rate, and raises
# the product's rate for the 2N (or 2M) operations that the element takes part in. On an H200 (4.3 TB/s; TF32 at
# 160 TFLOP/s through pointers and 416 through descriptors) that pays from about 240 on.
_PACKING_PAYS_FROM = 256

# Up to this size on every side a product takes about as long as its launch, and every program of a persistent
# kernel would first make its descriptors; up to this many rows or columns, tiles of 16 or 32 suit.
_SMALL, _THIN = 512, 32


def form(problem: Problem, gpu: GpuSpec) -> Form:
    """How to compute a gemm on a GPU.

    Through descriptors on Hopper and its like, where the problem's sizes let them or are so large that copying
    operands pays; operands of the types that its tensor cores read K-major only are copied so first, if that
    pays. Through pointers everywhere else: splitting float32 operands, or multiplying without tensor cores, happens in registers, where
    descriptors have measured no better; and small or thin products, which descriptors' tiles do not suit.
    Where tiles are few and K is long, several programs share a tile, if the model says that this pays.
    """
    found = forms(problem, gpu)
    if "split" in found:
        return found["split-sliced" if slices_of_parts_pay(_flat(problem), gpu) else "split"]
    flat, precision = _flat(problem), resolved_precision(problem, gpu)
    whole = found["pointer"]
    described = found.get("descriptor") or found.get("packed")
    if described and not _small_or_thin(flat) and _packing_pays(described):
        whole = described
    (best, *_), (sliced,) = whole.kernels.values(), found["sliced"].kernels.values()
    gain = 1.0 if whole is found["pointer"] else DESCRIPTORS_GAIN[precision]
    if slicing_pays(flat, gpu, peak_tflops(problem, gpu, precision), sliced, best, gain):
        return found["sliced"]
    return whole


def forms(problem: Problem, gpu: GpuSpec) -> dict[str, Form]:
    """Every way to compute a gemm on a GPU at the problem's precision, by the name of its template, or so.

    Raises BadInput where there is none.
    """
    _refuse(problem, gpu)
    precision = resolved_precision(problem, gpu)
    tflops, flat = peak_tflops(problem, gpu, precision), _flat(problem)
    if precision in SPLIT:
        candidates = split_candidates(problem, gpu, precision, tflops)
        split = SplitView(problem, precision, parts=SPLIT[precision])
        found = {"split": Form("gemm/split.py.jinja", {"gemm_parts_kernel": candidates}, split)}
        slices = slices_of(flat, gpu)
        if SPLIT[precision] > 1 and slices.count > 1:
            candidates = split_candidates(flat, gpu, precision, tflops, slices)
            found["split-sliced"] = Form(
                "gemm/split.py.jinja",
                {"gemm_parts_kernel": candidates},
                replace(split, sliced=True),
            )
        return found
    from_shared = gpu.compute_capability[0] in READ_SHARED_MEMORY
    through_registers = "ab"
    if from_shared and not needs_registers(problem, gpu):
        through_registers = _not_k_major(problem)
    rounded = through_registers if precision == "tf32" else ""  # which costs nothing there
    pointer = {"gemm_kernel": pointer_candidates(flat, gpu, precision)}
    sliced = sliced_candidates(flat, gpu, tflops, pointer["gemm_kernel"])
    found = {
        "pointer": Form("gemm/pointer.py.jinja", pointer, View(problem, precision, rounded)),
        "sliced": Form(
            "gemm/sliced.py.jinja",
            {"gemm_sliced_kernel": sliced},
            SlicedView(problem, precision, rounded),
        ),
    }
    if from_shared and precision in (None, "tf32"):
        k_major_only = precision == "tf32" or problem.dtype in FLOAT8
        view = View(problem, precision, rounded, _not_k_major(problem) if k_major_only else "")
        # Packing copies a matrix, which no batch is.
        if (_describable(view) or view.copying_pays) and not (view.packed and view.axes):
            kernels = {"gemm_tma_kernel": descriptor_candidates(flat, gpu, precision), **pointer}
            name = "packed" if view.packed else "descriptor"
            found[name] = Form(f"gemm/{name}.py.jinja", kernels, view)
    return found


FAMILY = Family("gemm", "C = op(A) @ op(B), batched or not, with an epilogue", form)


def _refuse(problem: Problem, gpu: GpuSpec) -> None:
    """Raises BadInput where the family or the GPU cannot compute the problem."""
    if problem.triangle is not None:
        raise BadInput("gemm multiplies dense matrices; triangular ones are for the family trimm")
    if gpu.compute_capability < FIRST_GPU:
        raise BadInput(f"kernels are rendered for sm_80 and later, and the {gpu.name} is {gpu.sm}")
    if problem.dtype in FLOAT8 and gpu.compute_capability < FIRST_WITH_FLOAT8:
        raise BadInput(f"{problem.dtype} needs sm_89 or later, and the {gpu.name} is {gpu.sm}")
    if problem.precision in SPLIT and gpu.compute_capability[0] not in READ_SHARED_MEMORY:
        raise BadInput(
            f"{problem.precision} is for sm_90 and sm_100, and the {gpu.name} is {gpu.sm}"
        )


def _flat(problem: Problem) -> Problem:
    """The problem as its tiles lie: leading dimensions of A alone are only more rows."""
    if not View(problem, None).folded:
        return problem
    return replace(problem, m=problem.m * problem.batches, batch=())


def _small_or_thin(problem: Problem) -> bool:
    """Whether descriptors are not worth making, or their tiles, 64 rows and more, would be half empty."""
    return max(problem.m, problem.n, problem.k) <= _SMALL or min(problem.m, problem.n) <= _THIN


def _not_k_major(problem: Problem) -> str:
    """The operands whose elements of one sum do not lie side by side: `a`, `b`, both or none.

    Hopper's tensor cores read 32-bit and 8-bit operands from shared memory only if they do (PTX ISA,
    wgmma.mma_async: transposing is for .f16 and .bf16). Others go through registers on their way.
    """
    view = View(problem, None)
    return ("" if view.a.k_major else "a") + ("" if view.b.k_major else "b")


def _describable(view: View) -> bool:
    """Whether operands of the problem's sizes, contiguous, have rows of whole 16 bytes."""
    problem = view.problem
    if len(view.axes) > _TMA_MAX_AXES:
        return False
    dims = {"M": problem.m, "N": problem.n, "K": problem.k}
    rows = [(operand.columns, problem.dtype) for operand in (view.a, view.b)]
    rows = [row for row, name in zip(rows, "ab", strict=True) if name not in view.packed]
    rows.append(("N", problem.out_dtype))
    return all(dims[dim] * ITEM_BYTES[dtype] % 16 == 0 and dims[dim] > 0 for dim, dtype in rows)


def _packing_pays(described: Form) -> bool:
    """Whether copying the operands that must be copied costs less than it gains."""
    view = described.view
    assert isinstance(view, View)
    problem = view.problem
    uses = {"a": problem.n, "b": problem.m * (problem.batches if view.folded else 1)}
    return all(uses[name] >= _PACKING_PAYS_FROM for name in view.packed)
