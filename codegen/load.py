"""Imports the file under work, and makes the tensors its model is called with. Child processes only."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import runpy
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from codegen.inputs import InputSpec, TensorSpec
from codegen.outcome import BadInput

GUESSED_SIDE = 4096


def import_file(path: str) -> types.ModuleType:
    """The module at `path`, under the name Python would import it by: within its package if it is in one.

    The folder above (of the file, or of its outermost package) goes on sys.path. Whatever the code raises
    comes through.
    """
    file = Path(path)
    parts = [file.stem]
    folder = file.parent
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        parts.append(folder.name)
        folder = folder.parent
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    sys.argv = [path]
    if len(parts) > 1:
        return importlib.import_module(".".join(reversed(parts)))
    spec = importlib.util.spec_from_file_location(file.stem, path)
    if spec is None or spec.loader is None:
        raise BadInput("is no Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    return module


def run_command(command: list[str]) -> None:
    """Runs `script.py args` or `module args` (`pytest tests -k small`) in this process, as `python` would."""
    sys.argv = list(command)
    sys.path.insert(0, str(Path.cwd()))
    if command[0].endswith(".py"):
        runpy.run_path(command[0], run_name="__main__")
    else:
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)


def model_class(module: types.ModuleType, name: str) -> type[torch.nn.Module]:
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, torch.nn.Module)):
        raise BadInput(
            f"has no `class {name}(nn.Module)` to launch its kernels with: name a run that does, "
            "as in --launch 'pytest tests/test_it.py'"
        )
    return found


def parameters(model: type[torch.nn.Module]) -> list[inspect.Parameter]:
    """forward's parameters without self."""
    return list(inspect.signature(model.forward).parameters.values())[1:]


def guess_inputs(model: type[torch.nn.Module]) -> tuple[InputSpec, ...]:
    """Square float32 matrices for every argument of forward that must be given.

    Raises BadInput when one of them, or of __init__, is plainly no tensor.
    """
    needed = [
        name
        for name, parameter in list(inspect.signature(model.__init__).parameters.items())[1:]
        if parameter.default is parameter.empty
        and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    if needed:
        raise BadInput(
            f"{model.__name__}() needs {', '.join(needed)}: give them with --problem FILE (get_init_inputs)"
        )
    specs: list[InputSpec] = []
    for parameter in parameters(model):
        if parameter.default is not parameter.empty or parameter.kind is parameter.VAR_KEYWORD:
            continue
        if parameter.kind is parameter.VAR_POSITIONAL or parameter.annotation in (
            int,
            float,
            bool,
            str,
        ):
            raise BadInput(f"can't guess forward's argument {parameter.name!r}: give --inputs")
        specs.append(TensorSpec("float32", (GUESSED_SIDE, GUESSED_SIDE)))
    return tuple(specs)


def fake_input(spec: InputSpec) -> Any:
    """The tensor or scalar a spec stands for, under FakeTensorMode: a shape and a type."""
    if not isinstance(spec, TensorSpec):
        return spec
    return torch.empty(spec.shape, dtype=getattr(torch, spec.dtype), device="cuda")


def make_input(spec: InputSpec, generator: torch.Generator) -> Any:
    """The tensor or scalar a spec stands for, on the generator's device.

    Standard normal values, whole numbers below 8, fair booleans. Normal and not uniform, because values of
    one sign hide what is lost to rounding.
    """
    if not isinstance(spec, TensorSpec):
        return spec
    dtype, device = getattr(torch, spec.dtype), generator.device
    if dtype == torch.bool or not dtype.is_floating_point:
        high = 2 if dtype == torch.bool else 8
        tensor = torch.randint(0, high, spec.shape, generator=generator, device=device).to(dtype)
    else:
        tensor = torch.randn(spec.shape, generator=generator, device=device).to(dtype)
    if spec.structure is None:
        return tensor
    wide = tensor.to(torch.float32)
    shaped = {
        "tril": torch.tril,
        "triu": torch.triu,
        "symmetric": lambda x: torch.tril(x) + torch.tril(x, -1).mT,
    }
    return shaped[spec.structure](wide).to(dtype)


def spec_of(value: Any) -> InputSpec:
    """What a problem file's get_inputs returned, as a spec."""
    if isinstance(value, torch.Tensor):
        return TensorSpec(str(value.dtype).removeprefix("torch."), tuple(value.shape))
    if value is None or isinstance(value, int | float | str):
        return value
    raise BadInput(
        f"get_inputs returns a {type(value).__name__}: only tensors and plain scalars are understood"
    )


def problem_function(module: types.ModuleType, name: str) -> Callable[[], Any]:
    function: Callable[[], Any] | None = getattr(module, name, None)
    if not callable(function):
        raise BadInput(
            f"has no {name}(): a problem file defines Model, get_inputs and get_init_inputs"
        )
    return function


def with_sizes(module: types.ModuleType, sizes: Mapping[int, int]) -> None:
    """Replaces the module's whole-number constants that are given sizes by the sizes that stand for them.

    `N = 4096` at the top of a problem file is what its get_inputs makes tensors of: with N small the same
    function makes small tensors of the same structure.
    """
    for name, value in list(vars(module).items()):
        if type(value) is int and value in sizes:
            setattr(module, name, sizes[value])
