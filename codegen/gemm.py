"""The gemm family: C = epilogue(op(A) @ op(B)), with leading batch dimensions or without."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from codegen.float32_grade import resolved_precision
from codegen.gemm_configs import (
    descriptor_candidates,
    needs_registers,
    peak_tflops,
    pointer_candidates,
)
from codegen.gemm_sliced import SlicedView, sliced_candidates
from codegen.gemm_split import SPLIT, SplitView, split_candidates
from codegen.gemm_times import descriptor_seconds, parts_seconds, pointer_seconds
from codegen.gemm_view import COPYING_PAYS_FROM, View, flat, row_lengths
from codegen.gpu import GpuSpec
from codegen.outcome import BadInput
from codegen.precision import READ_SHARED_MEMORY
from codegen.problem import FLOAT8, ITEM_BYTES, Problem
from codegen.slices import slices_of
from codegen.spec import Family, Form, one_larger

FIRST_GPU = (8, 0)
FIRST_WITH_FLOAT8 = (8, 9)
_TMA_MAX_AXES = 3  # a tensor map has five dimensions


def form(problem: Problem, gpu: GpuSpec) -> Form:
    """How to compute a gemm on a GPU: of all forms that can, the one whose model time is least (gemm_times.py)."""
    found = forms(problem, gpu)
    return min(found.values(), key=lambda each: _form_seconds(flat(problem), gpu, each))


def _form_seconds(problem: Problem, gpu: GpuSpec, chosen: Form) -> float:
    view = chosen.view
    assert isinstance(view, View)
    precision, config = view.precision, next(iter(chosen.kernels.values()))[0].config
    if isinstance(view, SplitView):
        assert precision is not None
        slices = slices_of(problem, gpu) if view.sliced else None
        return parts_seconds(problem, gpu, precision, config, slices)
    if "gemm_tma_kernel" in chosen.kernels:
        return descriptor_seconds(problem, gpu, precision, config, view.packed)
    return pointer_seconds(problem, gpu, precision, config, sliced=isinstance(view, SlicedView))


def forms(problem: Problem, gpu: GpuSpec) -> dict[str, Form]:
    """Every way to compute a gemm on a GPU at the problem's precision, by the name of its template, or so.

    Raises BadInput where there is none.
    """
    _refuse(problem, gpu)
    precision = resolved_precision(problem, gpu)
    tflops, whole = peak_tflops(problem, gpu, precision), flat(problem)
    if precision in SPLIT:
        candidates = split_candidates(whole, gpu, precision, tflops)
        split = SplitView(problem, precision, parts=SPLIT[precision])
        found = {"split": Form("gemm/split.py.jinja", {"gemm_parts_kernel": candidates}, split)}
        slices = slices_of(whole, gpu)
        if SPLIT[precision] > 1 and slices.count > 1:
            candidates = split_candidates(whole, gpu, precision, tflops, slices)
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
    pointer = {"gemm_kernel": pointer_candidates(whole, gpu, precision)}
    sliced = sliced_candidates(whole, gpu, tflops, pointer["gemm_kernel"])
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
            kernels = {"gemm_tma_kernel": descriptor_candidates(whole, gpu, precision), **pointer}
            name = "packed" if view.packed else "descriptor"
            ragged = partial(_not_copied, view)
            found[name] = Form(f"gemm/{name}.py.jinja", kernels, view, ragged)
    return found


def _not_copied(view: View, problem: Problem) -> Problem:
    """One larger, or where the file would copy such rows for descriptors, with too few columns for that to pay."""
    odd = one_larger(problem)
    if replace(view, problem=odd).copying_pays:
        return replace(odd, n=COPYING_PAYS_FROM - 1)
    return odd


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
    lengths = dict(zip("ab", row_lengths(problem), strict=True))
    rows = [lengths[name] * ITEM_BYTES[problem.dtype] for name in "ab" if name not in view.packed]
    rows.append(problem.n * ITEM_BYTES[problem.out_dtype])
    return all(row > 0 and row % 16 == 0 for row in rows)
