"""What the gemm templates ask beyond the spec: names and places, worked out from the problem."""

from __future__ import annotations

from dataclasses import dataclass, replace

from codegen.gpu import GpuSpec
from codegen.problem import FLOAT8, Problem

# Operands whose rows are not whole 16 bytes are copied for descriptors from so many rows and columns of C on, each an
# element's uses, and from so many multiply-adds on. Through pointers such a product ran at 90 to 180 TFLOP/s on
# an H200 (bfloat16, 2113x577x5569: 188 us), through descriptors aligned ones do at 600 to 750. Copying moves 4 bytes
# for an element of 2, at 1.35 TB/s where its rows begin anywhere, and is a launch of 2 us or two.
COPYING_PAYS_FROM = 256
COPYING_PAYS_FROM_PRODUCTS = 2**28


@dataclass(frozen=True)
class Operand:
    """A matrix as it lies in memory: `rows` and `columns` are dimensions of the product, M, N or K."""

    letter: str  # a or b
    rows: str
    columns: str

    @property
    def k_major(self) -> bool:
        """Whether the elements of one sum lie side by side, as tensor cores read them best."""
        return self.columns == "K"

    @property
    def transposed(self) -> Operand:
        return Operand(self.letter, self.columns, self.rows)


def flat(problem: Problem) -> Problem:
    """The problem as its tiles lie: leading dimensions of A alone are only more rows."""
    if not View(problem, None).folded:
        return problem
    return replace(problem, m=problem.m * problem.batches, batch=())


def row_lengths(problem: Problem) -> tuple[int, int]:
    """Elements of a row of A and of B, as they are stored."""
    a = problem.k if problem.layout[0] == "n" else problem.m
    b = problem.n if problem.layout[1] == "n" else problem.k
    return a, b


def ragged(problem: Problem) -> bool:
    """Whether pointers load an operand's elements one by one.

    Triton takes rows of whole 16 elements to be aligned, and no others.
    """
    return any(length % 16 for length in row_lengths(problem))


@dataclass(frozen=True)
class View:
    """A gemm as its templates see it.

    `rounded` and `packed` name operands, by the letters a and b: those that the pointer kernel rounds to
    TF32, and those that are copied K-major before the descriptor kernel runs.
    """

    problem: Problem
    precision: str | None
    rounded: str = ""
    packed: str = ""

    @property
    def function(self) -> str:
        """The wrapper's name."""
        return "gemm"

    @property
    def formula(self) -> str:
        return self.problem.formula

    @property
    def folded(self) -> bool:
        """Whether A's leading dimensions are only more rows: one B serves all, and A enters as stored."""
        problem = self.problem
        return bool(problem.batch) and problem.batched == "a" and problem.layout[0] == "n"

    @property
    def axes(self) -> tuple[int, ...]:
        """The batch axes that kernels see."""
        return () if self.folded else tuple(range(len(self.problem.batch)))

    @property
    def a(self) -> Operand:
        return Operand("a", *("MK" if self.problem.layout[0] == "n" else "KM"))

    @property
    def b(self) -> Operand:
        return Operand("b", *("KN" if self.problem.layout[1] == "n" else "NK"))

    @property
    def tma_a(self) -> Operand:
        """A as the descriptor kernel reads it."""
        return self.a.transposed if "a" in self.packed else self.a

    @property
    def tma_b(self) -> Operand:
        return self.b.transposed if "b" in self.packed else self.b

    @property
    def padded(self) -> bool:
        """Whether the wrapper copies operands that descriptors cannot address where that pays, and C may lie anyhow."""
        return not (self.packed or self.axes)

    copying_pays_from = COPYING_PAYS_FROM
    copying_pays_from_products = f"2**{COPYING_PAYS_FROM_PRODUCTS.bit_length() - 1}"

    @property
    def copying_pays(self) -> bool:
        """At the problem's own sizes."""
        problem = self.problem
        m = problem.m * (problem.batches if self.folded else 1)
        large = m * problem.n * problem.k >= COPYING_PAYS_FROM_PRODUCTS
        return self.padded and large and min(m, problem.n) >= COPYING_PAYS_FROM

    @property
    def rounds(self) -> bool:
        """Whether a kernel of the file rounds to TF32."""
        return bool(self.rounded) or (bool(self.packed) and self.problem.dtype == "float32")

    @property
    def pointer_factors(self) -> str:
        """What the pointer kernel multiplies."""
        return ", ".join(f"round_to_tf32({x})" if x in self.rounded else x for x in "ab")

    @property
    def dot_options(self) -> str:
        """What tl.dot is told besides the operands and the accumulator."""
        if self.precision is not None:
            return f', input_precision="{self.precision}"'
        # Hopper sums float8 products in 14 bits of mantissa unless told to add to float32 in between.
        return ", max_num_imprecise_acc=BLOCK_K" if self.problem.dtype in FLOAT8 else ""

    # Products that tensor cores add up before they are added to the others in float32, where that is seen to in the
    # descriptor kernel. On an H200 at 8192^3 sums of 128, 512 and 1024 were 1.3e-4, 3.4e-4 and 5.4e-4 off in float32,
    # where the result's bfloat16 alone is 1.7e-3.
    chunk = 512

    def chunked(self, gpu: GpuSpec) -> bool:
        """Whether it is: Triton's own way adds after every step, in which tensor cores wait."""
        return self.problem.dtype in FLOAT8 and gpu.compute_capability[0] == 9

    # Parameters of the kernels, in order.

    @property
    def key(self) -> tuple[str, ...]:
        """What a change of asks for tuning anew: every size. Triton adds the types of pointers; a file has one anyway."""
        return ("M", "N", "K", *self.batch_sizes)

    @property
    def pointer_key(self) -> tuple[str, ...]:
        """For the pointer kernel also the strides that are 1 if operands are contiguous.

        An operand that lies the other way round in memory is loaded otherwise, so another config may be best. The
        other strides are not there: where rows begin makes no such difference, and would tune anew for
        every slice.
        """
        return (*self.key, *(f"stride_{x.letter}{x.columns.lower()}" for x in (self.a, self.b)))

    @property
    def batch_sizes(self) -> tuple[str, ...]:
        return tuple(f"size_z{axis}" for axis in self.axes)

    @property
    def extras(self) -> tuple[str, ...]:
        """Operands of the epilogue, in order."""
        return tuple(s.op for s in self.problem.epilogue if s.op in ("bias", "residual"))

    @property
    def extra_pointers(self) -> tuple[str, ...]:
        return tuple(f"{name}_ptr" for name in self.extras)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Of the pointer kernel, after A, B and C."""
        strides = ("stride_am", "stride_ak", "stride_bk", "stride_bn")
        return self._with_sizes((*strides, *self._batch_strides("a"), *self._batch_strides("b")))

    @property
    def tma_parameters(self) -> tuple[str, ...]:
        """Of the descriptor kernel, after A, B and C."""
        return self._with_sizes(())

    def _with_sizes(self, strides: tuple[str, ...]) -> tuple[str, ...]:
        extra: list[str] = []
        for name in self.extras:
            extra += ["stride_bias"] if name == "bias" else ["stride_rm", "stride_rn"]
            extra += self._batch_strides("r") if name == "residual" else []
        return (*self.extra_pointers, *self.key, *strides, *extra)

    def _batch_strides(self, letter: str) -> tuple[str, ...]:
        return tuple(f"stride_{letter}z{axis}" for axis in self.axes)

    def batch_place(self, axis: int) -> str:
        """Where the matrix with the flat number `batch` is along an axis; the last axis runs fastest."""
        inner = [f"size_z{later}" for later in self.axes if later > axis]
        text = "batch"
        if inner:
            text += f" // ({' * '.join(inner)})" if len(inner) > 1 else f" // {inner[0]}"
        return text if axis == 0 else f"{text} % size_z{axis}"

    def batch_offset(self, letter: str) -> str:
        """Elements from the first matrix of a batch to the one at z0, z1, ..."""
        return " + ".join(f"z{axis}.to(tl.int64) * stride_{letter}z{axis}" for axis in self.axes)

    # Arguments that the wrapper passes for them.

    @property
    def arguments(self) -> tuple[str, ...]:
        return self._arguments(self.parameters, {"a": ("A", self.a), "b": ("B", self.b)})

    @property
    def tma_arguments(self) -> tuple[str, ...]:
        return self._arguments(self.tma_parameters, {})

    def _arguments(
        self, parameters: tuple[str, ...], operands: dict[str, tuple[str, Operand]]
    ) -> tuple[str, ...]:
        passed = {"stride_bias": "bias.stride(0)", "bias_ptr": "bias", "residual_ptr": "residual"}
        for axis in self.axes:
            passed[f"size_z{axis}"] = f"batch[{axis}]"
        for letter, (tensor, operand) in {
            **operands,
            "r": ("residual", Operand("r", "M", "N")),
        }.items():
            for axis in self.axes:
                passed[f"stride_{letter}z{axis}"] = f"{tensor}.stride({axis})"
            for place, dim in enumerate((operand.rows, operand.columns), len(self.axes)):
                passed[f"stride_{letter}{dim.lower()}"] = f"{tensor}.stride({place})"
        return tuple(passed.get(name, name) for name in parameters)

    # What the wrapper checks, and words for the reader.

    @property
    def tensors(self) -> tuple[tuple[str, int, str], ...]:
        """Name, dimensions and type of each operand, in the order that `forward` takes them."""
        problem, depth = self.problem, len(self.problem.batch)
        dims = {"residual": 2 + depth, "bias": 1}
        for name in "AB":
            dims[name] = 2 + depth if name.lower() in problem.batched else 2
        types = dict.fromkeys("AB", problem.dtype)
        return tuple(
            (name, dims[name], types.get(name, problem.out_dtype))
            for name in ("A", "B", *self.extras)
        )

    def stored(self, name: str) -> str:
        """The shape of A, B or C as stored, `[K, M]` or, where it is batched, `[*batch, K, M]`."""
        operand = {"A": self.a, "B": self.b, "C": Operand("c", "M", "N")}[name]
        batched = self.problem.batch and (name == "C" or name.lower() in self.problem.batched)
        return f"[{'*batch, ' if batched else ''}{operand.rows}, {operand.columns}]"

    @property
    def in_place(self) -> tuple[str, ...]:
        """Of A, B and C, those that the descriptor kernel reads or writes where they are."""
        return tuple(name for name in "ABC" if name.lower() not in self.packed)

    @property
    def sizes_text(self) -> str:
        problem = self.problem
        sizes = f"M={problem.m}, N={problem.n}, K={problem.k}"
        return f"batch={'x'.join(map(str, problem.batch))}, {sizes}" if problem.batch else sizes
