"""The checker of a kernel file: the required order (sections.py) and the rules about it (rules.py).

`check` takes bytes and gives findings; reading files and printing is lint.py's.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import decode_source

from codegen.sections import (
    AUTOTUNE,
    HEURISTICS,
    HOST_DESCRIPTOR,
    IMPORTS,
    INPUT_MAKERS,
    JIT,
    KERNEL_DECORATORS,
    KERNELS,
    MODEL,
    ORDER,
    REQUIRED_IMPORTS,
    WRAPPERS,
    Definition,
    KernelFile,
    Part,
    Section,
    bound_by,
    imported,
    read,
)

_TESTING = frozenset({"torch.testing", "triton.testing"})
_CODES = r"[A-Z]+[0-9]+(?:[,\s]+[A-Z]+[0-9]+)*"
# A colon with no code after it silences nothing, as in ruff: a mistake, not a blanket.
_NOQA = re.compile(rf"#\s*noqa(?:\s*:\s*(?P<codes>{_CODES})|\b(?!\s*:))", re.IGNORECASE)


@dataclass(frozen=True)
class Finding:
    """One broken rule. `line` and `column` count from 1, columns in characters."""

    line: int
    column: int
    code: str
    message: str


def check(source: bytes) -> tuple[Finding, ...]:
    """What is wrong with a kernel file, in the order of its lines; nothing if it keeps every rule.

    Takes any bytes: what is not Python gives the one finding CG000. `# noqa` silences what is found on
    its line, `# noqa: CG003` only that rule.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a doubtful escape is another linter's business
            text = decode_source(source)
            tree = ast.parse(text)
    # Deep nesting exhausts the parser's stack or the interpreter's; a coding cookie may name any codec.
    except (SyntaxError, ValueError, LookupError, RecursionError, MemoryError) as error:
        return (_not_python(error),)
    file = read(tree)
    lines = text.split("\n")
    findings = [
        Finding(node.lineno, _column(lines[node.lineno - 1], node.col_offset), code, message)
        for code, broken in _CHECKS.items()
        for node, message in broken(file)
        if not _silenced(lines[node.lineno - 1], code)
    ]
    return tuple(sorted(findings, key=lambda finding: (finding.line, finding.column, finding.code)))


def _not_python(error: Exception) -> Finding:
    line, column, message = 1, 1, str(error)
    if isinstance(error, SyntaxError):
        line, column, message = error.lineno or 1, error.offset or 1, error.msg
    elif isinstance(error, UnicodeDecodeError):
        line = error.object.count(b"\n", 0, error.start) + 1
    elif isinstance(error, RecursionError | MemoryError):
        message = "nested too deeply for Python's parser"
    # Python gives column 0 or -1 where it knows none.
    return Finding(line, max(column, 1), "CG000", f"not Python: {' '.join(message.split())}")


def _column(line: str, offset: int) -> int:
    """The column, in characters from 1, of a UTF-8 byte offset."""
    return len(line.encode()[:offset].decode()) + 1


def _silenced(line: str, code: str) -> bool:
    return any(
        noqa["codes"] is None or code in re.split(r"[,\s]+", noqa["codes"].upper())
        for noqa in _NOQA.finditer(line)
    )


# -- one function a rule -------------------------------------------------------------------------------

_Broken = Iterator[tuple[ast.stmt | ast.expr | ast.alias, str]]
_TOP_OF_FILE = ast.Pass(lineno=1, col_offset=0)  # where something missing is reported


def _missing_import(file: KernelFile) -> _Broken:
    """An import in another spelling is there, and CG002's."""
    there = {module for part in file.all(IMPORTS) for module, _ in imported(part.node)}
    for module in REQUIRED_IMPORTS:
        if module not in there:
            yield _TOP_OF_FILE, f"`{_statement(module)}` is missing"


def _extra_import(file: KernelFile) -> _Broken:
    seen = set()
    for part in file.parts:
        for statement in part.nodes:
            for module, alias in imported(statement):
                if module not in _KNOWN_IMPORTS:
                    yield alias, f"`{module}` is imported; only {_ALL_KNOWN} may be"
                elif not _is_spelled_as_required(statement, module, alias):
                    yield alias, f"`{module}` is imported otherwise than by `{_statement(module)}`"
                elif part.section is not IMPORTS:
                    yield alias, f"`{module}` is imported inside {part}, not at the top"
                elif module in seen:
                    yield alias, f"`{module}` is imported twice"
                seen.add(module)


def _statement(module: str) -> str:
    """The statement that imports a module of those that may be imported."""
    if module == HOST_DESCRIPTOR:
        package, _, name = module.rpartition(".")
        return f"from {package} import {name}"
    alias = REQUIRED_IMPORTS[module]
    return f"import {module} as {alias}" if alias else f"import {module}"


_KNOWN_IMPORTS = (*REQUIRED_IMPORTS, HOST_DESCRIPTOR)
_ALL_KNOWN = ", ".join(_KNOWN_IMPORTS)


def _is_spelled_as_required(statement: ast.AST, module: str, alias: ast.alias) -> bool:
    kind = ast.ImportFrom if module == HOST_DESCRIPTOR else ast.Import
    return isinstance(statement, kind) and alias.asname == REQUIRED_IMPORTS.get(module)


_PLACES = (*_KNOWN_IMPORTS, *ORDER[1:])  # what a file holds, in order: the imports one by one
_ORDER_IN_WORDS = f"imports ({_ALL_KNOWN}), kernels, wrappers, class ModelNew"


def _out_of_order(file: KernelFile) -> _Broken:
    furthest, before = 0, ""
    for place, node, what in _places(file):
        if place is None:  # a constant: anywhere between the imports and ModelNew
            place = min(max(furthest, _PLACES.index(KERNELS)), _PLACES.index(WRAPPERS))
        if place < furthest:
            yield node, f"{what} stands after {before}; the order is {_ORDER_IN_WORDS}"
        else:
            furthest, before = place, f"{what} (line {node.lineno})"
    for part in file.parts:
        for inner in part.nodes[1:]:
            if isinstance(inner, ast.FunctionDef) and file.names.is_kernel(inner):
                yield inner, f"kernel `{inner.name}` is defined inside {part}, not at the top level"


def _places(file: KernelFile) -> Iterator[tuple[int | None, ast.stmt | ast.alias, str]]:
    for part in file.parts:
        if part.section is IMPORTS:
            for module, alias in imported(part.node):
                if module in _KNOWN_IMPORTS:
                    yield _PLACES.index(module), alias, f"import of {module}"
        else:
            yield _PLACES.index(part.section) if part.section else None, part.node, str(part)


def _missing_section(file: KernelFile) -> _Broken:
    if not any(file.names.is_kernel(part.node) for part in file.all(KERNELS)):
        yield _TOP_OF_FILE, "no kernel: a top-level function decorated with `@triton.jit` is required"
    if not file.all(WRAPPERS):
        yield _TOP_OF_FILE, "no wrapper: a function that computes the grid and launches is required"
    if not file.all(MODEL):
        yield _TOP_OF_FILE, "no `class ModelNew(nn.Module)`"


def _model_shape(file: KernelFile) -> _Broken:
    models = [part.node for part in file.parts if isinstance(part.node, ast.ClassDef)]
    for model in models:
        if model is not models[0]:
            yield model, "class `ModelNew` is defined again"
        if [file.names.imports.qualified(base) for base in model.bases] != ["torch.nn.Module"]:
            yield model, "class `ModelNew` must derive from `nn.Module`, and from that only"
        if not any(bound_by(statement) == ("forward",) for statement in model.body):
            yield model, "class `ModelNew` has no `forward`"


def _stray_code(file: KernelFile) -> _Broken:
    for node in file.strays:
        if not _is_main_guard(node) and INPUT_MAKERS.isdisjoint(bound_by(node)):
            yield node, _why_stray(node)
    for part in file.parts:
        for inner in part.nodes:
            if isinstance(inner, ast.Attribute):
                name = file.names.imports.qualified(inner)
                if name in _TESTING:
                    yield inner, f"`{name}` is for test code"


def _why_stray(node: ast.stmt) -> str:
    names = ", ".join(bound_by(node))
    if names and not isinstance(node, Definition):
        return f"`{names}` is no constant: computing it runs code"
    what = f"`{names}`" if names else "this statement"
    return f"{what} is no import, kernel, wrapper, constant or class ModelNew"


def _main_guard(file: KernelFile) -> _Broken:
    for node in file.strays:
        if _is_main_guard(node):
            yield node, "`if __name__`: a kernel file is imported, never run"


def _is_main_guard(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and any(
        isinstance(name, ast.Name) and name.id == "__name__" for name in ast.walk(node.test)
    )


def _input_maker(file: KernelFile) -> _Broken:
    for node in [*file.strays, *(inner for part in file.parts for inner in part.nodes)]:
        if isinstance(node, ast.stmt):
            for name in INPUT_MAKERS.intersection(bound_by(node)):
                yield node, f"`{name}`: the problem's own file makes the inputs"


def _indirect_autotune(file: KernelFile) -> _Broken:
    for part in file.parts:
        decorators = file.names.decorators(part.node)
        if not KERNEL_DECORATORS.isdisjoint(decorators) and not _is_direct(decorators):
            yield part.node, (
                f"{part}: `@triton.jit` must be the innermost decorator and `@triton.autotune` stand "
                "directly above it, with only `@triton.heuristics` between"
            )
        applied = {d for inner in part.nodes for d in getattr(inner, "decorator_list", ())}
        for inner in part.nodes:
            if isinstance(inner, ast.Call) and inner not in applied:
                name = file.names.imports.qualified(inner.func)
                if name in KERNEL_DECORATORS:
                    yield inner, f"`{name}` is called in {part}; it must decorate the kernel"


def _is_direct(decorators: list[str | None]) -> bool:
    *outer, innermost = decorators
    while outer and outer[-1] == HEURISTICS:
        outer.pop()
    if outer and outer[-1] == AUTOTUNE:
        outer.pop()
    return innermost == JIT and {JIT, AUTOTUNE}.isdisjoint(outer)


def _not_launched(file: KernelFile) -> _Broken:
    for part in _unreached(file, KERNELS):
        yield part.node, f"{part} is never launched from ModelNew, as `{part.names[0]}[grid](...)`"


def _not_used(file: KernelFile) -> _Broken:
    for part in _unreached(file, WRAPPERS):
        yield part.node, f"{part} is never called from ModelNew"


def _unreached(file: KernelFile, section: Section) -> list[Part]:
    # Where ModelNew is missing that is the finding; its wrappers are not to blame.
    reached = file.reached_from(file.all(MODEL) or file.all(WRAPPERS))
    return [part for part in file.all(section) if part not in reached]


_CHECKS: dict[str, Callable[[KernelFile], _Broken]] = {
    "CG001": _missing_import,
    "CG002": _extra_import,
    "CG003": _out_of_order,
    "CG004": _missing_section,
    "CG005": _model_shape,
    "CG006": _stray_code,
    "CG007": _main_guard,
    "CG008": _input_maker,
    "CG009": _indirect_autotune,
    "CG010": _not_launched,
    "CG011": _not_used,
}
