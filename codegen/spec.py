"""What a rendered file is made from, and what a family of kernels has to say for itself."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from codegen.config import Config
from codegen.gpu import GpuSpec, find_gpu
from codegen.interface import Interface, permuted
from codegen.outcome import BadInput
from codegen.problem import Problem, shown

Configs = Mapping[
    str, tuple[Config, ...]
]  # of each autotuned kernel of a file, by the kernel's name


@dataclass(frozen=True)
class Spec:
    """Everything a file's bytes follow from; and what every template sees."""

    problem: Problem
    gpu: GpuSpec
    configs: Configs
    interface: Interface | None = None  # None: ModelNew takes the operands as they are, in order

    @property
    def model(self) -> Interface:
        """What ModelNew is."""
        operands = self.problem.operands
        return self.interface or Interface(operands, operands)

    @property
    def naming(self) -> str:
        """What the operands are in ModelNew's terms, where these differ: `A is x, B is self.linear.weight`."""
        pairs = zip(self.problem.operands, self.model.operands, strict=True)
        return ", ".join(f"{name} is {given}" for name, given in pairs if name != given)

    @property
    def reference(self) -> str:
        """What ModelNew gives, as Python in the names of its forward's parameters: `F.relu(x @ y.permute(1, 0))`.

        Raises BadInput where it has operands that forward is not given.
        """
        model = self.model
        if model.held:
            raise BadInput(
                "ModelNew holds parameters: give the file of the Model that it was rendered from, with --problem"
            )
        given = dict(zip(self.problem.operands, model.operands, strict=True))

        class Named(ast.NodeTransformer):
            def visit_Name(self, node: ast.Name) -> ast.expr:
                return ast.parse(given.get(node.id, node.id), mode="eval").body

        text = ast.unparse(Named().visit(ast.parse(self.problem.reference, mode="eval")))
        return text if model.returned is None else permuted(f"({text})", model.returned)

    def to_json(self) -> dict[str, Any]:
        model = {"model": self.interface.to_json()} if self.interface else {}
        return {
            "problem": self.problem.to_json(),
            **model,
            "gpu": self.gpu.key,
            "configs": {
                kernel: [_config_to_json(config) for config in configs]
                for kernel, configs in self.configs.items()
            },
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Spec:
        """Reads what `to_json` writes; other fields are left to others. Raises BadInput."""
        for name in ("problem", "gpu", "configs"):
            if name not in data:
                raise BadInput(f"a spec lacks {name!r}; it has problem, gpu and configs")
        if not isinstance(data["gpu"], str):
            raise BadInput(f"gpu must be a name, and is {shown(data['gpu'])}")
        try:
            configs = {
                str(kernel): tuple(map(_config_from_json, entries))
                for kernel, entries in data["configs"].items()
            }
        except (AttributeError, KeyError, TypeError, ValueError):
            raise BadInput(
                "configs must map each kernel to a list of {meta, num_warps, num_stages}"
            ) from None
        interface = Interface.from_json(data["model"]) if "model" in data else None
        return cls(Problem.from_json(data["problem"]), find_gpu(data["gpu"]), configs, interface)


@dataclass(frozen=True)
class Wanted:
    """What to render a file for."""

    problem: Problem
    gpu: GpuSpec
    interface: Interface | None = None
    model: Path | None = None  # the problem file that it comes from
    more_shapes: tuple[Problem, ...] = ()  # the same problem at other sizes, to be fast on too

    def spec(self, configs: Configs) -> Spec:
        return Spec(self.problem, self.gpu, configs, self.interface)


@dataclass(frozen=True)
class Candidate:
    """A config worth trying, and why."""

    config: Config
    reason: str
    shared_bound: int | None = None  # bytes of shared memory it takes at most; None: unknown


def one_larger(problem: Problem) -> Problem:
    """The problem one larger where a size is even: rows then begin at no whole 16 bytes, as descriptors ask for."""
    return replace(problem, m=problem.m | 1, n=problem.n | 1, k=problem.k | 1)


@dataclass(frozen=True)
class Form:
    """One way to compute a problem: a template, and the candidates of each kernel it autotunes, best first."""

    template: str  # below templates/
    kernels: Mapping[str, tuple[Candidate, ...]]
    view: object = None  # what the template needs besides the spec
    # Gives sizes near the problem's own whose operands the last of its kernels takes, where it has one for such.
    ragged: Callable[[Problem], Problem] = one_larger


@dataclass(frozen=True)
class Family:
    """A kind of problem. `form` raises BadInput where the family or the GPU cannot compute a problem."""

    name: str
    summary: str
    form: Callable[[Problem, GpuSpec], Form]


def _config_to_json(config: Config) -> dict[str, Any]:
    return {"meta": dict(config.meta), "num_warps": config.warps, "num_stages": config.stages}


def _config_from_json(data: Mapping[str, Any]) -> Config:
    numbers = {**data["meta"], "num_warps": data["num_warps"], "num_stages": data["num_stages"]}
    if not all(name.isidentifier() for name in numbers):
        raise ValueError("a name")
    if not all(type(value) is int and 0 < value < 1 << 31 for value in numbers.values()):
        raise ValueError("a number")
    return Config(tuple(data["meta"].items()), data["num_warps"], data["num_stages"])
