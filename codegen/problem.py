"""What a rendered kernel computes, as data: the operation, its operands, types, sizes and epilogue."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codegen.outcome import BadInput

LAYOUTS = ("nn", "nt", "tn", "tt")
TRIANGLES = ("lower", "upper")
ITEM_BYTES = {
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
}
FLOAT8 = ("float8_e4m3fn", "float8_e5m2")
MAX_SIZE = 1 << 63  # PyTorch's sizes are 64-bit
PRECISIONS = ("ieee", "tf32", "bf16x3", "tf32x3", "fp16", "fp16x3")  # of float32 products
BATCHED = ("ab", "a", "b")
# What may follow the product, and what each step takes besides it.
STEPS = {
    "bias": "a vector, one value per column",
    "relu": None,
    "gelu": None,
    "gelu_tanh": None,
    "silu": None,
    "scale": "a number",
    "residual": "a matrix of the result's shape",
}


@dataclass(frozen=True)
class Step:
    """One step of an epilogue; `value` is the factor of `scale` and None elsewhere."""

    op: str
    value: float | None = None

    @classmethod
    def parse(cls, text: str) -> Step:
        """Reads `relu` or `scale=0.5`. Raises BadInput for anything else."""
        op, equals, value = text.strip().partition("=")
        try:
            return cls(op, float(value) if equals else None)
        except ValueError:
            raise BadInput(f"epilogue step {text[:40]!r}: {value[:40]!r} is no number") from None

    def __post_init__(self) -> None:
        if self.op not in STEPS:
            raise BadInput(f"epilogue step {self.op[:40]!r} is not one of {', '.join(STEPS)}")
        if self.op == "scale" and (self.value is None or not math.isfinite(self.value)):
            raise BadInput("epilogue step scale needs a finite factor: scale=0.5")
        if self.op != "scale" and self.value is not None:
            raise BadInput(f"epilogue step {self.op} takes no value")

    def __str__(self) -> str:
        return self.op if self.value is None else f"{self.op}={self.value!r}"


@dataclass(frozen=True)
class Problem:
    """A product C = epilogue(op(A) @ op(B)).

    A layout letter says how an operand is stored: `n` as it enters the product (A as [M, K], B as
    [K, N]), `t` transposed (A as [K, M], B as [N, K]). `triangle` is the half that the operands of a
    triangular product, and so its result, have; None for a dense one. `batch` holds the leading sizes of
    the result, and `batched` which operands have them: with `a`, one B serves all.

    The rendered kernel takes any sizes; the ones here guide the choice of configs.

    Raises BadInput where a field is out of range or two contradict each other.
    """

    family: str
    m: int
    n: int
    k: int
    layout: str = "nn"
    dtype: str = "float32"
    out_dtype: str = ""  # empty: the operands' own, and bfloat16 for float8
    precision: str | None = (
        None  # None: the dtype's own; for float32, whichever way gives float32 grade
    )
    triangle: str | None = None
    batch: tuple[int, ...] = ()
    batched: str = "ab"
    epilogue: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        _one_of("layout", self.layout, LAYOUTS)
        _one_of("dtype", self.dtype, ITEM_BYTES)
        if not self.out_dtype:
            object.__setattr__(
                self, "out_dtype", "bfloat16" if self.dtype in FLOAT8 else self.dtype
            )
        _one_of("out_dtype", self.out_dtype, [name for name in ITEM_BYTES if name not in FLOAT8])
        if self.precision is not None:
            _one_of("precision", self.precision, PRECISIONS)
            if self.dtype != "float32":
                raise BadInput(f"precision is for float32 operands, and these are {self.dtype}")
        if self.triangle is not None:
            _one_of("triangle", self.triangle, TRIANGLES)
            if not self.m == self.n == self.k:
                raise BadInput(
                    f"triangular matrices are square: m={self.m}, n={self.n}, k={self.k} differ"
                )
        for name, size in [("m", self.m), ("n", self.n), ("k", self.k)]:
            _size(name, size)
        for size in self.batch:
            _size("batch", size)
        _one_of("batched", self.batched, BATCHED)
        for op in STEPS:
            if [step.op for step in self.epilogue].count(op) > 1 and STEPS[op] and op != "scale":
                raise BadInput(f"epilogue step {op} may be given once")

    @property
    def batches(self) -> int:
        """How many products there are."""
        return math.prod(self.batch)

    @property
    def operands(self) -> tuple[str, ...]:
        """The tensors it takes, in order: A, B, then the epilogue's."""
        return ("A", "B", *(s.op for s in self.epilogue if s.op in ("bias", "residual")))

    @property
    def expression(self) -> str:
        """The product as PyTorch spells it: `A.T @ B.T`; batched operands are transposed with `.mT`."""
        names = []
        for name, stored in zip("AB", self.layout, strict=True):
            batched = self.batch and name.lower() in self.batched
            suffix = (".mT" if batched else ".T") if stored == "t" else ""
            names.append(name + suffix)
        product = " @ ".join(names)
        if self.triangle is None:
            return product
        return f"torch.{'tril' if self.triangle == 'lower' else 'triu'}({product})"

    @property
    def formula(self) -> str:
        """What C is, epilogue included, for a reader: `relu(A @ B + bias)`."""
        text = self.expression
        for step in self.epilogue:
            if step.op in ("bias", "residual"):
                text = f"{text} + {step.op}"
            elif step.op == "scale":
                text = f"{step.value} * ({text})"
            else:
                text = f"{step.op}({text})"
        return text

    @property
    def reference(self) -> str:
        """What C is, as Python in the names of forward's parameters: `F.relu(A @ B + bias)`."""
        text = self.expression
        for step in self.epilogue:
            if step.op in ("bias", "residual"):
                text = f"({text} + {step.op})"
            elif step.op == "scale":
                text = f"({text}) * {step.value}"
            elif step.op == "gelu_tanh":
                text = f"F.gelu({text}, approximate='tanh')"
            else:
                text = f"F.{step.op}({text})"
        # Rounded as C is, where its type does not hold what the operands' does: that is no error of a kernel's.
        holds = (self.dtype, "float32") if self.dtype not in FLOAT8 else ITEM_BYTES
        return text if self.out_dtype in holds else f"({text}).to(torch.{self.out_dtype})"

    @property
    def gives_another_dtype(self) -> bool:
        """Whether the result's type is not the one it has if none is asked for."""
        return self.out_dtype != Problem(self.family, 1, 1, 1, dtype=self.dtype).out_dtype

    def flops(self) -> int:
        """Multiplications and additions of the product; the epilogue's are not counted.

        A triangular product sums, for each of its N(N+1)/2 entries, the i-j+1 terms that are not zero:
        N(N+1)(N+2)/6 multiply-adds.
        """
        if self.triangle is None:
            return 2 * self.batches * self.m * self.n * self.k
        return self.batches * self.n * (self.n + 1) * (self.n + 2) // 3

    def bytes_moved(self) -> int:
        """Bytes of every operand read once and the result written once, the least memory traffic.

        Of a triangular operand only the triangle is read; the result is written whole, zeros included.
        """
        a = self.m * self.k * (self.batches if "a" in self.batched else 1)
        b = self.k * self.n * (self.batches if "b" in self.batched else 1)
        c = self.m * self.n * self.batches
        if self.triangle is not None:
            a = a // max(self.n, 1) * (self.n + 1) // 2
            b = b // max(self.n, 1) * (self.n + 1) // 2
        ops = [step.op for step in self.epilogue]
        extra = c * ops.count("residual") + self.n * ops.count("bias")
        return (a + b) * ITEM_BYTES[self.dtype] + (c + extra) * ITEM_BYTES[self.out_dtype]

    def to_json(self) -> dict[str, Any]:
        """The problem as JSON data; what is at its default is left out."""
        data: dict[str, Any] = {"family": self.family}
        if self.triangle is not None:
            data["triangle"] = self.triangle
        data |= {"layout": self.layout, "dtype": self.dtype}
        if self.gives_another_dtype:
            data["out_dtype"] = self.out_dtype
        if self.precision is not None:
            data["precision"] = self.precision
        if self.batch:
            data |= {"batch": list(self.batch), "batched": self.batched}
        if self.epilogue:
            data["epilogue"] = [str(step) for step in self.epilogue]
        square = self.triangle is not None
        data["shape"] = {"n": self.n} if square else {"m": self.m, "n": self.n, "k": self.k}
        return data

    @classmethod
    def from_json(cls, data: object) -> Problem:
        """Reads what `to_json` writes. Raises BadInput naming the field that is missing or wrong."""
        fields = dict(_mapping("problem", data))
        shape = dict(_mapping("shape", fields.pop("shape", None)))
        if fields.get("triangle") is not None and set(shape) == {"n"}:
            shape = dict.fromkeys("mnk", shape["n"])
        _names("shape", shape, required="mnk", allowed="mnk")
        texts = ["family", "layout", "dtype", "out_dtype", "precision", "triangle", "batched"]
        _names("problem", fields, required=["family"], allowed=[*texts, "batch", "epilogue"])
        for name in texts:
            given = fields.get(name, "")
            if not isinstance(given, str) and (given is not None or name == "family"):
                raise BadInput(f"{name} must be a string, and is {shown(fields[name])}")
        present = {name: fields[name] for name in texts if fields.get(name) is not None}
        steps = _list("epilogue", fields.get("epilogue", []))
        for step in steps:
            if not isinstance(step, str):
                raise BadInput(f"an epilogue step must be a string, and is {shown(step)}")
        return cls(
            **present,
            **shape,
            batch=tuple(_list("batch", fields.get("batch", []))),
            epilogue=tuple(map(Step.parse, steps)),
        )


def shown(value: object) -> str:
    """A value from somebody's JSON in a message, not at its full length."""
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def _one_of(name: str, value: str, allowed: Any) -> None:
    if value not in allowed:
        raise BadInput(f"{name} {value[:40]!r} is not one of {', '.join(allowed)}")


def _size(name: str, size: object) -> None:
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < MAX_SIZE:
        raise BadInput(f"{name} must be a whole number from 0 up to 2^63, and is {shown(size)}")


def _mapping(name: str, data: object) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise BadInput(f"{name} must be an object, and is {shown(data)}")
    return data


def _list(name: str, data: object) -> list[Any]:
    if not isinstance(data, list):
        raise BadInput(f"{name} must be a list, and is {shown(data)}")
    return data


def _names(name: str, data: Mapping[str, Any], required: Any, allowed: Any) -> None:
    missing = [field for field in required if field not in data]
    unknown = [field for field in data if field not in allowed]
    if missing or unknown:
        what = f"lacks {missing[0]!r}" if missing else f"has an unknown field {unknown[0][:40]!r}"
        raise BadInput(f"{name} {what}; its fields are {', '.join(allowed)}")
