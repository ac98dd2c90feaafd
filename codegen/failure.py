"""What foreign code raised, in one line; and whether that says anything of the code."""

from __future__ import annotations

import re
import traceback

# Another process has the memory, or somebody ended this one. (A kernel that asks for more shared memory than there is
# is `out of resource`; one that reads where nothing is, an `illegal memory access`; one that crashes, SIGSEGV.)
_OF_THE_MOMENT = re.compile(
    r"out of memory|can(no|')t allocate memory|_STATUS_ALLOC_FAILED|CUBLAS_STATUS_NOT_INITIALIZED"
    r"|busy or unavailable|resource temporarily unavailable|no space left on device"
    r"|was ended by SIG(KILL|TERM|HUP|INT|QUIT)",
    re.IGNORECASE,
)


def of_the_moment(why: str) -> bool:
    """Whether a fault is of the machine as it was just then, so that the same question may have another answer."""
    return _OF_THE_MOMENT.search(why) is not None


def explain(error: BaseException, path: str | None) -> str:
    """One line: the innermost line of the user's own file on the way to the error, the kind, the message."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if path and frame.filename == path
    ]
    where = f"line {frames[-1].lineno}: " if frames else ""
    message = " ".join(_message(error).split())[:300]
    return f"{where}{type(error).__name__}{': ' + message if message else ''}"


def _message(error: BaseException) -> str:
    """What an error says; of Triton's CompilationError, whose text is mostly the kernel's source, the end."""
    said = getattr(error, "error_message", None)
    if not hasattr(error, "error_message") or getattr(error, "node", None) is None:
        return str(error)
    if said is None and error.__cause__ is not None:
        said = f"{type(error.__cause__).__name__}: {_message(error.__cause__)}"
    place, _, _ = str(error).partition(":\n")  # `at 9:4`, line and column within the kernel
    return f"{place}: {said}"
