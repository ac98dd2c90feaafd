"""The grid that the choice of a form and its configs is held to, and everything it could have chosen instead."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from codegen import gemm, trimm
from codegen.families import find_family
from codegen.float32_grade import resolved_precision
from codegen.gpu import GpuSpec
from codegen.outcome import BadInput
from codegen.problem import LAYOUTS, Problem
from codegen.spec import Candidate, Form

# The ways to float32 grade that `codegen.float32_grade` chooses among; who names a precision gets that one.
FLOAT32_GRADE = ("fp16x3", "tf32x3", "ieee")
# Float16 is compiled to the same code as bfloat16 but for a type, so half of the layouts will do.
TYPES = (
    ("bf16", {"dtype": "bfloat16"}, LAYOUTS),
    ("fp16", {"dtype": "float16"}, ("nt", "tn")),
    ("tf32", {"dtype": "float32", "precision": "tf32"}, LAYOUTS),
    ("float32", {"dtype": "float32"}, LAYOUTS),
)
# From so many operations on a product without tensor cores is out of the question: it takes 30 µs at the data
# sheet's 67 TFLOP/s, more than twice as long as three products with them, and long enough to show.
_IEEE_BELOW = 2e9
SEED = 20261121


@dataclass(frozen=True)
class Point:
    """One problem of the grid."""

    name: str  # unique: `gemm-bf16-nt-1024x1024x512`
    problem: Problem


@dataclass(frozen=True)
class Way:
    """A form, of a precision, that could compute a problem; `kernel` is the one its operands lead to."""

    name: str  # `tf32x3 sliced`
    problem: Problem  # with the precision named, where there is a choice
    form: Form
    kernel: str
    chosen: bool  # what `codegen render` takes

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """What it is to be timed with. K whole is left to the other forms, where slices are not what was chosen."""
        found = self.form.kernels[self.kernel]
        if self.chosen:
            return found
        return tuple(each for each in found if dict(each.config.meta).get("SPLIT_K") != 1)


# M, N, K. Triton compiles anew for each combination of sizes that are and are not multiples of 16, so there are few:
# all of them, none, none but rows of whole 16 bytes (1000), and one row.
_SQUARES = tuple((n, n, n) for n in (128, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 8192))
_TALL_AND_WIDE = (
    (8192, 256, 1024),
    (256, 8192, 4096),
    (4096, 128, 4096),
    (512, 4096, 512),
    (8192, 2048, 512),
    (2048, 8192, 2048),
)
_THIN = ((1, 4096, 4096), (16, 8192, 2048), (4096, 16, 8192), (8192, 32, 1024))  # as of one token
_FEW_TILES = ((128, 128, 8192), (256, 512, 8192), (512, 256, 4096))
_SHORT_SUMS = ((4096, 4096, 128), (8192, 4096, 64))
_RAGGED = (
    (1000, 1000, 1000),
    (4095, 1025, 2047),
    (513, 769, 1537),
    (2049, 2050, 300),
    (777, 5000, 136),
)
# batch, M, N, K
_BATCHED = (
    (16, 512, 512, 512),
    (64, 128, 128, 64),
    (32, 1024, 128, 256),
    (16, 256, 1024, 1024),
    (48, 2048, 512, 512),
    (15, 301, 203, 107),
)
_RANDOM = 8  # more, of sizes drawn from 128 to 8192
_HELD_OUT = 12  # of each type
_TRIANGLES = (128, 256, 384, 512, 1000, 1024, 1536, 2048, 3072, 4096, 6144, 8192)


def points() -> tuple[Point, ...]:
    """The grid, the same each time. Layouts take turns, so that each shape meets each of them in some type."""
    return tuple(
        point
        for place, (short, fields, layouts) in enumerate(TYPES)
        for point in (*_dense(place, short, fields, layouts), *_triangular(place, short, fields))
    )


def held_out() -> tuple[Point, ...]:
    """Points of other sizes, drawn when the models' figures stood; little of theirs went back into these."""
    draw = random.Random(SEED + 1)
    found = []
    for short, fields, layouts in TYPES:
        for turn in range(_HELD_OUT):
            m, n, k = (_size(draw) // 16 * 16 or 16 for _ in range(3))
            if turn % 4 == 3:  # ragged
                m, n, k = m + 1, n + 3, k + 5
            found.append(_gemm(short, fields, layouts[turn % len(layouts)], (m, n, k)))
        sides = (_size(draw) // 8 * 8 for _ in range(_HELD_OUT // 4))
        found += [_trimm(short, fields, "lower", n) for n in sides]
    return tuple(found)


def _size(draw: random.Random) -> int:
    """From 32 to 8192, each doubling as likely."""
    return int(2 ** draw.uniform(5, 13))


def _dense(
    place: int, short: str, fields: dict[str, str], layouts: Sequence[str]
) -> Iterator[Point]:
    shapes = (*_SQUARES, *_TALL_AND_WIDE, *_THIN, *_FEW_TILES, *_SHORT_SUMS, *_RAGGED, *_drawn())
    for turn, shape in enumerate((*shapes, *_BATCHED)):
        yield _gemm(short, fields, layouts[(turn + place) % len(layouts)], shape)


def _drawn() -> Iterator[tuple[int, int, int]]:
    draw = random.Random(SEED)
    for turn in range(_RANDOM):
        m, n, k = (int(2 ** draw.uniform(7, 13)) // 64 * 64 for _ in range(3))
        yield (m, n, k) if turn % 2 else (m + 1, n + 1, k + 1)


def _triangular(place: int, short: str, fields: dict[str, str]) -> Iterator[Point]:
    for turn, n in enumerate(_TRIANGLES):
        yield _trimm(short, fields, ("lower", "upper")[(turn + place) % 2], n)


def _gemm(short: str, fields: dict[str, str], layout: str, shape: Sequence[int]) -> Point:
    """Of a shape M, N, K, or with batches before them."""
    *batch, m, n, k = shape
    problem = Problem("gemm", m, n, k, layout=layout, batch=tuple(batch), **fields)  # type: ignore[arg-type]
    return Point(f"gemm-{short}-{layout}-{'x'.join(map(str, shape))}", problem)


def _trimm(short: str, fields: dict[str, str], triangle: str, n: int) -> Point:
    problem = Problem("trimm", n, n, n, triangle=triangle, **fields)  # type: ignore[arg-type]
    return Point(f"trimm-{short}-{triangle}-{n}", problem)


def ways(problem: Problem, gpu: GpuSpec) -> tuple[Way, ...]:
    """Everything that could be best for the problem, what `codegen render` chooses first."""
    family = find_family(problem.family)
    choice = family.form(problem, gpu)
    taken = resolved_precision(problem, gpu)
    choose_by_grade = problem.dtype == "float32" and problem.precision is None
    found = []
    for precision in FLOAT32_GRADE if choose_by_grade else (problem.precision,):
        named = replace(problem, precision=precision)
        if choose_by_grade and precision == "ieee" and problem.flops() >= _IEEE_BELOW:
            continue
        for name, form in _forms(named, gpu).items():
            chosen = precision == taken and form.kernels == choice.kernels
            label = f"{precision} {name}" if precision else name
            way = Way(label, named, form, next(iter(form.kernels)), chosen)
            if way.candidates:  # of slices none may be left
                found.append(way)
    assert [way.form.kernels for way in found if way.chosen] == [choice.kernels], problem
    return tuple(sorted(found, key=lambda way: not way.chosen))


def _forms(problem: Problem, gpu: GpuSpec) -> dict[str, Form]:
    try:
        return {"gemm": gemm.forms, "trimm": trimm.forms}[problem.family](problem, gpu)
    except BadInput:
        return {}
