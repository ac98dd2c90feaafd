"""Traces a problem file with fake tensors: no GPU, no memory. Child processes only.

PyTorch has three ways to a graph of ATen's operations. `torch.export` and `torch.fx`'s `make_fx` both end in
what is used here: a mode that sees each operation when it is dispatched, below autograd and
functionalization. Taken directly, it needs no table of decompositions, which would change with PyTorch's
version; takes milliseconds, where exporting and decomposing the first model takes two seconds; sees
get_inputs as well, so that it is known which inputs are made triangular; and finds the line of the file on
the live stack.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch._dynamo  # what FakeTensorMode imports: here, a process that is forked has it already
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from codegen.load import import_file, problem_function, spec_of, with_sizes
from codegen.outcome import BadInput
from codegen.pretend import PretendCuda, convert_fake_parameters

_PLAIN = (int, float, bool, str, type(None))
_READS_A_VALUE = torch.ops.aten._local_scalar_dense
_init_autocast = torch.autocast.__init__


class Recorder(TorchDispatchMode):  # type: ignore[misc]  # PyTorch is not followed
    """Notes each operation that makes a tensor, in the form that `graph.Graph.from_wire` reads."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.nodes: list[dict[str, Any]] = []
        self._path = path
        # By identity, which holds as long as the tensor lives: so they are kept.
        self._made: dict[int, tuple[torch.Tensor, int]] = {}

    def __torch_dispatch__(
        self,
        function: Any,
        _types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if function.namespace == "aten":
            with self:  # in inference mode, what consists of other operations arrives whole
                result = function.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        line = _line_of(self._path)
        if function.overloadpacket is _READS_A_VALUE:
            raise BadInput(
                f"line {line}: item: a number is read out of a tensor, and tensors have none yet"
            )
        result = function(*args, **kwargs)
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        if made:
            name = function.overloadpacket.__name__
            op = name if function.namespace == "aten" else f"{function.namespace}.{name}"
            # Told first: a tensor met here for the first time gets a node before this one.
            told = [self._told(arg) for arg in args]
            named = {key: self._told(value) for key, value in kwargs.items()}
            self.note(op, told, made, kwargs=named, line=line)
        return result

    def note(
        self,
        op: str,
        args: list[Any],
        made: Sequence[torch.Tensor],
        kwargs: dict[str, Any] | None = None,
        line: int | None = None,
    ) -> int:
        """Adds a node, of the shape and type of its first result; returns its number."""
        index = len(self.nodes)
        self.nodes.append(
            {
                "op": op,
                "args": args,
                "kwargs": kwargs or {},
                "shape": list(made[0].shape),
                "dtype": str(made[0].dtype).removeprefix("torch."),
                "line": line,
            }
        )
        self._made.update({id(tensor): (tensor, index) for tensor in made})
        return index

    def argument(self, value: Any) -> tuple[Any, int | None]:
        """What to give forward for a value, and its node: a tensor is copied, which marks where forward begins."""
        if not isinstance(value, torch.Tensor):
            return value, None
        value = value.clone()
        self.nodes[-1]["op"] = "argument"
        return value, len(self.nodes) - 1

    def index(self, tensor: torch.Tensor) -> int:
        """The node that made a tensor; a new one for a tensor that no recorded operation made."""
        if id(tensor) not in self._made:
            self.note("constant", ["a tensor"], [tensor])
        return self._made[id(tensor)][1]

    def _told(self, value: Any) -> Any:
        """An argument as JSON: what is neither a tensor nor plain is told by its name."""
        if isinstance(value, torch.Tensor):
            return {"node": self.index(value)}
        if isinstance(value, list | tuple):
            return [self._told(item) for item in value]
        return value if value is None or type(value) in (int, float, bool, str) else str(value)


def _line_of(path: str) -> int | None:
    """The innermost line of the problem file that is being run."""
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename != path:
        frame = frame.f_back
    return frame.f_lineno if frame is not None else None


@contextlib.contextmanager
def _no_autocast(path: str) -> Iterator[None]:
    """Within it torch.autocast is refused: for a GPU that is not there it would do nothing, unseen."""

    def refuse(
        self: torch.autocast,
        device_type: str,
        dtype: Any = None,
        enabled: bool = True,
        *rest: Any,
        **kwargs: Any,
    ) -> None:
        if enabled:
            raise BadInput(
                f"line {_line_of(path)}: autocast: types change on the way: make the inputs so in get_inputs"
            )
        _init_autocast(self, device_type, dtype, enabled, *rest, **kwargs)

    torch.autocast.__init__ = refuse
    try:
        yield
    finally:
        torch.autocast.__init__ = _init_autocast


def trace(path: str, sizes: Mapping[int, int]) -> dict[str, Any]:
    """The operations of get_inputs and forward of the problem file at `path`, as JSON values.

    `sizes` stand for the file's own: its whole numbers, and what its inputs are cut to.

    Raises BadInput when the file is no problem file; whatever its code raises comes through.
    """
    convert_fake_parameters()
    cpu = PretendCuda("cpu")
    with cpu, _no_autocast(path):
        module = import_file(path)
    with_sizes(module, sizes)
    make_model, get_inputs, get_init_inputs = (
        problem_function(module, name) for name in ("Model", "get_inputs", "get_init_inputs")
    )
    recorder = Recorder(path)
    given: list[int | None] = []

    def run() -> tuple[list[Any], Any]:
        with cpu:
            inputs = list(get_inputs())
        for place, value in enumerate(inputs):
            spec_of(value)  # for what it refuses: lists, modules, devices
            inputs[place], node = recorder.argument(_cut(value, sizes))
            given.append(node)
        with cpu, _watching(model, read):
            return inputs, model(*inputs)

    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), _no_autocast(path):
        with cpu:
            init = [_cut(value, sizes) for value in get_init_inputs()]
            model = make_model(*init)
        if not isinstance(model, torch.nn.Module):
            raise BadInput("its Model is no torch.nn.Module")
        for name, tensor in _tensors(model):
            recorder.note("parameter", [name], [tensor])
        read: dict[str, str] = {}
        with recorder:  # functionalized: operations in place come as ones that make new tensors
            inputs, result = torch.func.functionalize(run)()
    if not isinstance(result, torch.Tensor):
        raise BadInput(f"forward returns a {type(result).__name__}, and a kernel one matrix")
    names = _names(model, len(inputs))
    for name, value, node in zip(names, inputs, given, strict=True):
        if node is not None and recorder.index(value) != node:
            raise BadInput(f"forward changes its argument {name} in place, and a kernel does not")
    return {
        "nodes": recorder.nodes,
        "arguments": list(zip(names, given, strict=True)),
        "result": recorder.index(result),
        "made_of": len(init),
        "holds": bool(model.state_dict()),
        "read": read,
        "constants": {name: value for name, value in vars(module).items() if type(value) in _PLAIN},
    }


def _cut(value: Any, sizes: Mapping[int, int]) -> Any:
    """A tensor cut, or a whole number changed, to the size that stands for its own."""
    if isinstance(value, torch.Tensor) and any(size in sizes for size in value.shape):
        return value[tuple(slice(sizes.get(size, size)) for size in value.shape)]
    return sizes.get(value, value) if type(value) is int else value


def _tensors(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors that a module holds: parameters, buffers, and plain attributes."""
    yield from model.named_parameters()
    yield from model.named_buffers()
    for path, part in model.named_modules():
        for name, value in vars(part).items():
            if isinstance(value, torch.Tensor):
                yield f"{path}.{name}".lstrip("."), value


@contextlib.contextmanager
def _watching(model: torch.nn.Module, read: dict[str, str]) -> Iterator[None]:
    """Notes which plain attributes of its modules forward reads, and their values, as Python writes them.

    A trace holds for these values alone: of a factor that `__init__` was given, only the number is left.
    """
    kinds = [(module, path, type(module)) for path, module in model.named_modules()]
    for module, path, kind in kinds:

        def noted(self: Any, name: str, path: str = path, kind: Any = kind) -> Any:
            value = kind.__getattribute__(self, name)
            if not name.startswith("_") and name in kind.__getattribute__(self, "__dict__"):
                if name == "training" and not path:
                    raise BadInput(
                        "forward asks whether it is in training: make it the same in both"
                    )
                if name != "training" and _is_plain(value):
                    read[f"{path}.{name}".lstrip(".")] = repr(value)
            return value

        module.__class__ = type(kind.__name__, (kind,), {"__getattribute__": noted})
    try:
        yield
    finally:
        for module, _, kind in kinds:
            module.__class__ = kind


def _is_plain(value: Any) -> bool:
    """Whether a value can be written down and compared."""
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return type(value) in _PLAIN and value not in (math.inf, -math.inf) and value == value


def _names(model: torch.nn.Module, count: int) -> list[str]:
    """What forward calls its first arguments; those that a *args takes get its name and their place."""
    names: list[str] = []
    for each in inspect.signature(model.forward).parameters.values():
        if each.kind is each.VAR_POSITIONAL:
            names += [f"{each.name}_{place}" for place in range(count - len(names))]
        else:
            names.append(each.name)
    return names[:count]


def handle(question: dict[str, Any]) -> dict[str, Any]:
    """Answers the parent's question: {"path": ..., "sizes": [[given, small], ...]}."""
    return trace(question["path"], dict(question["sizes"]))
