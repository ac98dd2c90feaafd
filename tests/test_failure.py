"""What foreign code raised, in one line."""

from __future__ import annotations

import ast

import pytest
from triton.compiler.errors import CompilationError

from codegen.failure import explain, of_the_moment

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


# What is said where memory or the process was taken, and where the config itself cannot run or is wrong.
FAULTS = {
    "line 31: OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB. Process 123 has 130.00 GiB": True,
    "RuntimeError: Triton Error [CUDA]: out of memory": True,
    "RuntimeError: CUDA error: out of memory": True,
    "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`": True,
    "AcceleratorError: CUDA error: CUDA-capable device(s) is/are busy or unavailable": True,
    "OSError: [Errno 28] No space left on device": True,
    "ran out of memory": True,
    "was ended by SIGKILL": True,
    "was ended by SIGTERM: Terminated": True,
    "was ended by SIGSEGV": False,
    "was ended by SIGABRT: terminate called": False,
    "ended the process with exit status 3": False,
    "ran longer than 20 s": False,
    "OutOfResources: out of resource: shared memory, Required: 262144, Hardware limit: 232448": False,
    "breaks the GPU's context: AcceleratorError: CUDA error: an illegal memory access was encountered": False,
    "wrong: relative error 0.5, and 1e-06 is allowed": False,
    "writes into memory that it was not given": False,
}


@pytest.mark.parametrize(("why", "of"), FAULTS.items(), ids=list(FAULTS))
def test_a_fault_is_of_the_moment_or_of_the_config(why: str, of: bool) -> None:
    assert of_the_moment(why) is of
    assert of_the_moment(f"could not be timed: {why} (on float32[64])") is of
