"""The parent's side of `trace`: from a problem file to the problem that its model is, and how it is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from codegen.child import Child, ChildFailed
from codegen.closing import Closing
from codegen.constructor import constructor
from codegen.graph import Graph, Unsupported
from codegen.interface import Interface, attribute
from codegen.outcome import BadInput, Refused
from codegen.problem import Problem
from codegen.recognize import recognize

TRACE_SECONDS = 60
_SOURCE_WIDTH = 80  # of the line quoted in a message

# No device is looked for, and what a file wraps in torch.compile runs as it is.
_ENVIRONMENT = {"CUDA_VISIBLE_DEVICES": "", "TORCHDYNAMO_DISABLE": "1"}


def read_problem(path: Path, sizes: Mapping[int, int] | None = None) -> tuple[Problem, Interface]:
    """The problem that a PyTorch file states with `Model`, `get_inputs` and `get_init_inputs`; its Model's interface.

    With `sizes` the one that it is with these in place of its own.

    Raises, in one line, BadInput when the file can't be read, fails, or takes longer than a minute, and
    Refused when it computes what is in no family: with the operation that this was found at, and its line.
    """
    with Tracer() as tracer:
        return tracer.read_problem(path, sizes)


class Tracer(Closing):
    """A child process that traces one problem file after another."""

    def __init__(self) -> None:
        self._child: Child | None = None

    def read_problem(
        self, path: Path, sizes: Mapping[int, int] | None = None
    ) -> tuple[Problem, Interface]:
        """As `read_problem`. What one file does to its process, others see: meant for files of one project."""
        try:
            source = path.read_bytes().decode(errors="replace").split("\n")
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise BadInput(f"{path}: can't be read: {why}") from None
        if self._child is None:
            self._child = Child("trace", env=_ENVIRONMENT)
        try:
            question = {"path": str(path.resolve()), "sizes": list((sizes or {}).items())}
            answer = self._child.ask(question, seconds=TRACE_SECONDS)
        except ChildFailed as failure:
            if failure.died:
                self._child = None
            raise BadInput(f"{path}: can't be traced: {failure}") from None
        try:
            found = recognize(Graph.from_wire(answer))
        except Unsupported as error:
            where = f"{path}:{error.line}" if error.line else str(path)
            quoted = f": `{_quoted(source, error.line)}`" if error.line else ""
            raise Refused(f"{where}: {error.operation}: {error.why}{quoted}") from None
        arguments = tuple(name for name, _ in answer["arguments"])
        try:
            interface = Interface(arguments, found.operands, found.returned)
            if interface.held or answer["holds"] or answer["made_of"]:
                interface = replace(interface, init=_init("\n".join(source), answer))
        except BadInput as error:
            raise Refused(f"{path}: {error}") from None
        return found.problem, interface

    def close(self) -> None:
        """Ends the child. Safe to call twice."""
        if self._child is not None:
            self._child.close()
            self._child = None


def _init(source: str, answer: dict[str, Any]) -> str:
    read = {attribute(path): value for path, value in answer["read"].items()}
    return constructor(source, answer["constants"], read)


def _quoted(source: list[str], line: int) -> str:
    text = " ".join(source[line - 1].split())
    return text if len(text) <= _SOURCE_WIDTH else f"{text[:_SOURCE_WIDTH]}..."
