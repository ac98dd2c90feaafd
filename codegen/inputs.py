"""What a kernel's wrapper is called with: `float32[8192,2048] tril float32[4096,4096] 0.5`, and smaller copies of it."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from codegen.config import Config
from codegen.outcome import BadInput

# PyTorch's names, and the short ones people write.
DTYPES = {
    name: dtype
    for dtype, names in {
        "float64": "float64 double f64 fp64",
        "float32": "float32 float f32 fp32",
        "float16": "float16 half f16 fp16",
        "bfloat16": "bfloat16 bf16",
        "float8_e4m3fn": "float8_e4m3fn float8_e4m3 fp8 e4m3",
        "float8_e5m2": "float8_e5m2 e5m2",
        "int64": "int64 long i64",
        "int32": "int32 int i32",
        "int16": "int16 short i16",
        "int8": "int8 i8",
        "uint8": "uint8 byte u8",
        "bool": "bool",
    }.items()
    for name in names.split()
}

# Added to two whole tiles to make a side ragged: odd, distinct, and smaller than the smallest tile that
# tensor cores take twice over, so that sides that differ in the given inputs differ here too.
_RAGGED = (37, 19, 29, 11, 23, 31, 13, 7, 17, 5)
_MAX_ELEMENTS = 1 << 21  # of one small tensor: the interpreter runs tiles one after another
_MIN_BLOCK = 16  # the smallest side tl.dot takes


@dataclass(frozen=True)
class TensorSpec:
    """One tensor argument, contiguous."""

    dtype: str  # PyTorch's name
    shape: tuple[int, ...]
    structure: str | None = None  # tril, triu or symmetric; None: dense

    def __str__(self) -> str:
        text = f"{self.dtype}[{','.join(map(str, self.shape))}]"
        return f"{self.structure} {text}" if self.structure else text


Scalar = int | float | bool | str | None
InputSpec = TensorSpec | Scalar

_TOKEN = re.compile(
    r"\s*(?:(?P<structure>tril|triu|symmetric)\s+)?"
    r"(?:(?P<dtype>[A-Za-z]\w*)\s*\[(?P<shape>[^\]]*)\]|(?P<scalar>'[^']*'|\"[^\"]*\"|[^\s,\[\]]+))\s*,?"
)


def parse_inputs(text: str) -> tuple[InputSpec, ...]:
    """Reads `--inputs`: tensors as `[structure] dtype[sizes]`, scalars as Python literals, in forward's order.

    Raises BadInput naming the part that can't be read.
    """
    specs: list[InputSpec] = []
    position = 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if not match:
            raise _bad(text[position:].strip(), "expected `float32[4096,4096]` or a literal")
        position = match.end()
        specs.append(_tensor(match) if match["dtype"] else _scalar(match))
    if not specs:
        raise BadInput("--inputs is empty: write one `dtype[sizes]` per argument of forward")
    return tuple(specs)


def _tensor(match: re.Match[str]) -> TensorSpec:
    dtype = DTYPES.get(match["dtype"].lower())
    if dtype is None:
        raise _bad(
            match[0].strip(),
            f"no dtype {match['dtype']!r}; one of {', '.join(sorted(set(DTYPES.values())))}",
        )
    sides = [side.strip() for side in match["shape"].split(",")] if match["shape"].strip() else []
    if not all(re.fullmatch(r"[0-9]{1,12}", side) for side in sides):
        raise _bad(match[0].strip(), "sizes are whole numbers separated by commas")
    shape = tuple(map(int, sides))
    structure = match["structure"]
    if structure and (len(shape) < 2 or shape[-1] != shape[-2]):
        raise _bad(match[0].strip(), f"{structure} needs its last two sizes equal")
    return TensorSpec(dtype, shape, structure)


def _scalar(match: re.Match[str]) -> Scalar:
    try:
        value = ast.literal_eval(match["scalar"])
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        value = ...
    if match["structure"] or not isinstance(value, int | float | str | None):
        raise _bad(match[0].strip(), "neither `dtype[sizes]` nor a Python literal")
    return value


def _bad(part: str, why: str) -> BadInput:
    return BadInput(f"--inputs: can't read {part[:60]!r}: {why}")


def block_sides(configs: Iterable[Config]) -> tuple[int, ...]:
    """The tile sides among the configs' meta-parameters, ascending.

    A tile side is a whole number of at least 16 (the least tl.dot takes) whose name does not say that it
    counts something else (groups, splits, stages, warps, multiprocessors).
    """
    counts = re.compile(r"GROUP|SPLIT|SPAN|STAGE|WARP|NUM|SMS|PROGRAMS", re.IGNORECASE)
    return tuple(
        sorted(
            {
                value
                for config in configs
                for name, value in config.meta
                if isinstance(value, int) and not counts.search(name) and value >= _MIN_BLOCK
            }
        )
    )


def small_sizes(
    specs: Sequence[InputSpec], sides: Sequence[int], *, ragged: bool = True
) -> dict[int, int]:
    """Given size -> the small size that stands for it: two tiles of the largest side and a ragged rest.

    Sizes that are equal stay equal, sizes that differ stay different, and a size already as small is
    kept. Sizes that only lead (batches) become a handful. Where whole tiles of the largest side would make
    a tensor too big to interpret, smaller sides are taken. With `ragged` false every size is a multiple of the side, for wrappers that ask for that.
    """
    tensors = [spec for spec in specs if isinstance(spec, TensorSpec)]
    given = sorted({size for spec in tensors for size in spec.shape}, reverse=True)
    choices = sorted({side for side in sides if side >= _MIN_BLOCK}, reverse=True) or [128]
    while choices[-1] > _MIN_BLOCK:
        choices.append(choices[-1] // 2)
    inner = {size for spec in tensors for size in spec.shape[-2:]}
    leading = [size for size in given if size not in inner]
    for side in choices:
        small = _sizes_of([size for size in given if size in inner], side, ragged)
        small |= _batch_sizes(leading, set(small.values()))
        if all(elements((shrink(spec, small),)) <= _MAX_ELEMENTS for spec in tensors):
            break
    return small


def _sizes_of(given: Sequence[int], side: int, ragged: bool) -> dict[int, int]:
    small = {size: size for size in given if size <= 2 * side + max(_RAGGED)}  # small already
    for place, size in enumerate(size for size in given if size not in small):
        rest = _RAGGED[place % len(_RAGGED)] if ragged else side * place
        stands = 2 * side + rest
        while stands in small.values():
            stands += 2 * max(_RAGGED) if ragged else side
        small[size] = min(size, stands)
    return small


def _batch_sizes(given: Sequence[int], taken: set[int]) -> dict[int, int]:
    small: dict[int, int] = {}
    for size in given:
        stands = next(n for n in range(2, 1 << 20) if n not in taken)
        taken.add(stands)
        small[size] = min(size, stands)
    return small


def elements(specs: Iterable[InputSpec]) -> int:
    """How many elements the tensors among the specs have together."""
    return sum(math.prod(spec.shape) for spec in specs if isinstance(spec, TensorSpec))


def shrink(spec: TensorSpec, sizes: dict[int, int]) -> TensorSpec:
    """The same tensor with every side replaced by the size that stands for it."""
    return replace(spec, shape=tuple(sizes.get(size, size) for size in spec.shape))


def shrink_all(specs: Sequence[InputSpec], sizes: dict[int, int]) -> tuple[InputSpec, ...]:
    """`shrink` for tensors; a whole number that equals one of the sizes is that size (a wrapper's N)."""
    return tuple(_shrink_any(spec, sizes) for spec in specs)


def _shrink_any(spec: InputSpec, sizes: dict[int, int]) -> InputSpec:
    if isinstance(spec, TensorSpec):
        return shrink(spec, sizes)
    return sizes.get(spec, spec) if type(spec) is int else spec


def describe(specs: Sequence[InputSpec]) -> tuple[str, ...]:
    return tuple(str(spec) if isinstance(spec, TensorSpec) else repr(spec) for spec in specs)


def to_wire(specs: Sequence[InputSpec]) -> list[Any]:
    """The specs as JSON values, for a child process."""
    return [asdict(spec) if isinstance(spec, TensorSpec) else spec for spec in specs]


def from_wire(values: Sequence[Any]) -> tuple[InputSpec, ...]:
    return tuple(
        (
            TensorSpec(value["dtype"], tuple(value["shape"]), value["structure"])
            if isinstance(value, dict)
            else value
        )
        for value in values
    )
