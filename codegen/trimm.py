"""The trimm family: products of triangular matrices, tril(A) @ tril(B) and triu(A) @ triu(B)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from codegen.float32_grade import resolved_precision
from codegen.gemm_configs import needs_registers
from codegen.gemm_split import SPLIT, split_arguments, split_names
from codegen.gpu import GpuSpec
from codegen.outcome import BadInput
from codegen.precision import READ_SHARED_MEMORY
from codegen.problem import ITEM_BYTES, Problem
from codegen.spec import Family, Form
from codegen.trimm_configs import BAND, descriptor_candidates, pointer_candidates
from codegen.trimm_split import TILE, split_candidates

FIRST_GPU = (8, 0)
FIRST_WITH_TMA = (9, 0)
_SMALL, _SMALL_RAGGED = 1024, 256  # see `_small`
DTYPES = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Edge:
    """Where a tile meets one end of the sum over k: the tile's first row or column, and its extent there."""

    first: str
    block: str


_ROWS, _COLUMNS = Edge("first_row", "BLOCK_M"), Edge("first_col", "BLOCK_N")


@dataclass(frozen=True)
class View:
    """What the templates need besides the spec: the kernels' names, and the words that differ by triangle."""

    problem: Problem
    precision: str | None
    rounded: tuple[str, ...]  # the operands rounded to TF32 on their way through registers
    packed: bool = (
        False  # the triangles are copied K-major, rounded, before the descriptor kernel runs
    )

    parts: int = 0  # float16 parts that each operand is split into; 0: it is not

    @property
    def lower(self) -> bool:
        return self.problem.triangle == "lower"

    @property
    def batched(self) -> bool:
        return bool(self.problem.batch)

    @property
    def function(self) -> str:
        return "tril_matmul" if self.lower else "triu_matmul"

    @property
    def pointer_kernel(self) -> str:
        return f"{self.function}_kernel"

    @property
    def descriptor_kernel(self) -> str:
        return f"{self.function}_descriptor_kernel"

    @property
    def formula(self) -> str:
        half = "tril" if self.lower else "triu"
        suffix = ".mT" if self.batched else ".T"
        a, b = (
            f"{half}({name + suffix if name in self.transposed else name})" for name in ("A", "B")
        )
        return f"{a} @ {b}"

    @property
    def shape(self) -> str:
        return "[..., N, N]" if self.batched else "[N, N]"

    @property
    def transposed(self) -> tuple[str, ...]:
        """The operands stored transposed."""
        return tuple(
            name for name, stored in zip("AB", self.problem.layout, strict=True) if stored == "t"
        )

    @property
    def inside(self) -> str:
        """Where the triangle lies, seen from the diagonal."""
        return "below" if self.lower else "above"

    @property
    def keeps(self) -> str:
        """How the row of an element in the triangle compares to its column."""
        return ">=" if self.lower else "<="

    @property
    def start(self) -> Edge:
        """What bounds k from below: B's diagonal for lower triangles, A's for upper ones."""
        return _COLUMNS if self.lower else _ROWS

    @property
    def stop(self) -> Edge:
        return _ROWS if self.lower else _COLUMNS

    @property
    def key(self) -> tuple[str, ...]:
        """What a change of asks for tuning anew. Triton adds the operands' types."""
        return ("N", "batches") if self.batched else ("N",)

    @property
    def pointer_key(self) -> tuple[str, ...]:
        """For the pointer kernel also the strides that are 1 if operands are contiguous.

        An operand that lies the other way round in memory is loaded otherwise, so another config may be best.
        """
        inner = [
            names["tn".index(way)]
            for names, way in zip((("am", "ak"), ("bk", "bn")), self.problem.layout, strict=True)
        ]
        return (*self.key, *(f"stride_{name}" for name in inner))

    @property
    def parts_kernel(self) -> str:
        return f"{self.function}_parts_kernel"

    @property
    def tile(self) -> int:
        """Longest side of a tile of split operands."""
        return TILE

    @property
    def band(self) -> int:
        """Longest side of a tile of the descriptor kernel."""
        return BAND

    def k_major(self, operand: str) -> bool:
        """Whether the elements of a sum lie side by side in an operand, and so in its parts."""
        return (operand == "A") != (operand in self.transposed)

    @property
    def split_names(self) -> tuple[str, ...]:
        return split_names(self.batched, self.parts)

    @property
    def split_arguments(self) -> tuple[str, ...]:
        # Parts lie as operands do.
        found = []
        for name, row, k in (("A", -2, -1), ("B", -1, -2)):
            found.append((name, (row, k), (-2, -1) if self.k_major(name) else (-1, -2)))
        return split_arguments(self.split_names, found)

    @property
    def loads(self) -> str:
        """How a step's tiles are read, at k and the tile's rows of A or columns of B."""
        a = "a_first + first_row, k" if self.k_major("A") else "a_first + k, first_row"
        b = "b_first + first_col, k" if self.k_major("B") else "b_first + k, first_col"
        return f"a = a_desc.load([{a}])\nb = b_desc.load([{b}])"

    @property
    def factors(self) -> str:
        return f"{'a' if self.k_major('A') else 'a.T'}, {'b.T' if self.k_major('B') else 'b'}"

    @property
    def dot_options(self) -> str:
        return f', input_precision="{self.precision}"' if self.precision is not None else ""


def form(problem: Problem, gpu: GpuSpec) -> Form:
    """How to compute a triangular product on a GPU: through pointers where it is small, else the first way there is."""
    found = forms(problem, gpu)
    if "pointer" in found and _small(problem):
        return found["pointer"]
    return next(iter(found.values()))


def forms(problem: Problem, gpu: GpuSpec) -> dict[str, Form]:
    """Every way to compute a triangular product on a GPU at its precision, by the name of its template, fastest first.

    Through descriptors from Hopper on, but for what these do not help: multiply-adds without tensor cores, operands
    that are split or turned in registers, batches, and rows that are not whole 16 bytes. For TF32 on Hopper both
    triangles are packed first: wgmma, which is Hopper's alone, reads TF32 operands from shared memory K-major only,
    and B is not (PTX ISA, wgmma.mma_async: transposing is for .f16 and .bf16); and A, masked on its diagonal,
    would reach it in registers, which Triton 3.6 overwrites too early (docs/hazards.md).

    Raises BadInput where there is none.
    """
    _refuse(problem, gpu)
    precision = resolved_precision(problem, gpu)
    if precision in SPLIT:
        view = View(problem, precision, (), parts=SPLIT[precision])
        candidates = split_candidates(problem, gpu, precision)
        return {"split": Form("trimm/split.py.jinja", {view.parts_kernel: candidates}, view)}
    view = View(problem, precision, _through_registers(problem, gpu) if precision == "tf32" else ())
    pointer = {view.pointer_kernel: pointer_candidates(problem, gpu, precision)}
    found = {"pointer": Form("trimm/pointer.py.jinja", pointer, view)}
    packed = precision == "tf32" and gpu.compute_capability[0] == 9
    if gpu.compute_capability >= FIRST_WITH_TMA and _describable(problem, precision, packed):
        kernels = {
            view.descriptor_kernel: descriptor_candidates(problem, gpu, precision),
            **pointer,
        }
        name = "packed" if packed else "descriptor"
        described = Form(f"trimm/{name}.py.jinja", kernels, replace(view, packed=packed))
        found = {name: described, **found}
    return found


FAMILY = Family("trimm", "tril(A) @ tril(B) and triu(A) @ triu(B), the other half zeros", form)


def _refuse(problem: Problem, gpu: GpuSpec) -> None:
    """Raises BadInput where the family or the GPU cannot compute the problem."""
    if problem.triangle is None:
        raise BadInput("trimm multiplies triangular matrices: say which triangle, lower or upper")
    if gpu.compute_capability < FIRST_GPU:
        raise BadInput(f"kernels are rendered for sm_80 and later, and the {gpu.name} is {gpu.sm}")
    if problem.dtype not in DTYPES:
        raise BadInput(f"trimm takes {', '.join(DTYPES)}, and not {problem.dtype}")
    if problem.precision in SPLIT and gpu.compute_capability[0] not in READ_SHARED_MEMORY:
        raise BadInput(
            f"{problem.precision} is for sm_90 and sm_100, and the {gpu.name} is {gpu.sm}"
        )
    if problem.batch and problem.batched != "ab":
        raise BadInput("trimm takes batches of both operands: expand the one that all share")
    if problem.epilogue:
        raise BadInput(f"trimm has no epilogue, and {problem.epilogue[0]} was asked for")


def _describable(problem: Problem, precision: str | None, packed: bool) -> bool:
    """Whether operands and result, contiguous, suit descriptors; packed operands always do."""
    whole_rows = all(
        problem.n * ITEM_BYTES[dtype] % 16 == 0 for dtype in (problem.dtype, problem.out_dtype)
    )
    as_stored = problem.layout == "nn" or packed
    in_one_go = precision in (None, "tf32")  # from shared memory to the tensor cores
    return in_one_go and as_stored and not problem.batch and whole_rows


def _small(problem: Problem) -> bool:
    """Whether the product ends before copies of its diagonal, or of its operands, would pay.

    On an H200 N 512 takes 5.0 us through pointers and 7.2 through descriptors, N 1536 13.4 and 12.7; N 344 7.5 and 6.6,
    N 1000 18.1 and 10.1, as Triton takes rows to be aligned that begin at multiples of 16 elements (bfloat16).
    """
    return problem.n <= (_SMALL if problem.n % 16 == 0 else _SMALL_RAGGED)


def _through_registers(problem: Problem, gpu: GpuSpec) -> tuple[str, ...]:
    """The operands that reach the tensor cores through registers, where rounding to TF32 is free.

    Both of mma.sync, which computes Hopper's TF32 products too where A does not lie K-major; of wgmma and
    tcgen05 only B, unless it is stored transposed.
    """
    if gpu.compute_capability[0] not in (9, 10) or needs_registers(problem, gpu):
        return ("a", "b")
    return ("b",) if problem.layout[1] == "n" else ()
