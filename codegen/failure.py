"""What foreign code raised, in one line."""

from __future__ import annotations

import traceback


def explain(error: BaseException, path: str | None) -> str:
    """One line: the innermost line of the user's own file on the way to the error, the kind, the message."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if path and frame.filename == path
    ]
    where = f"line {frames[-1].lineno}: " if frames else ""
    message = " ".join(str(error).split())[:300]
    return f"{where}{type(error).__name__}{': ' + message if message else ''}"
