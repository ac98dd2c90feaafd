"""What foreign code raised, in one line."""

from __future__ import annotations

import ast

from triton.compiler.errors import CompilationError

from codegen.failure import explain

KERNEL = "def kernel(x_ptr, BLOCK):\n    i = tl.arange(0, BLOCK)\n    return tl.dot(i, i)\n"
PLACE = ast.parse(KERNEL).body[0].body[1]


def test_of_a_compilation_error_the_compilers_message_is_told_not_the_source():
    error = CompilationError(KERNEL, PLACE, "Both inputs must be tensors of two dimensions")
    assert explain(error, None) == (
        "CompilationError: at 3:4: Both inputs must be tensors of two dimensions"
    )


def test_without_a_message_its_cause_is_told():
    try:
        try:
            raise TypeError("no such operand")
        except TypeError as cause:
            raise CompilationError(KERNEL, PLACE) from cause
    except CompilationError as error:
        assert explain(error, None) == "CompilationError: at 3:4: TypeError: no such operand"


def test_another_error_is_told_with_the_line_of_the_file(tmp_path):
    path = tmp_path / "k.py"
    path.write_text("x = 1\nx.missing\n")
    try:
        exec(compile(path.read_text(), str(path), "exec"))
    except AttributeError as error:
        assert explain(error, str(path)).startswith("line 2: AttributeError: ")
