"""From the command line's words to a `Question`: reads the file or prompt, and says what is wrong with it."""

from __future__ import annotations

import contextlib
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from codegen.gpu import GpuSpec, find_gpu
from codegen.here import gpu_here
from codegen.inputs import parse_inputs
from codegen.ncu import KernelMetrics, read_metrics
from codegen.outcome import BadInput
from codegen.prompt import Prompt, looks_like_prompt, read_prompt
from codegen.question import Question
from codegen.stage import DEFAULT_STAGE, StageRules
from codegen.toolchain import UserFile

STDIN = "-"
_PROMPTS = (".txt", ".md", ".markdown", ".prompt")


@dataclass(frozen=True)
class Options:
    """What the command line asks for, as typed."""

    path: str
    gpu: str | None = None
    inputs: str | None = None
    more_inputs: tuple[str, ...] = ()  # further --inputs
    problem: str | None = None
    reference: str | None = None
    ncu: str | None = None
    num_warps: str | None = None
    num_stages: str | None = None
    max_configs: int | None = None
    launch: str | None = None
    at_definition: bool = False
    measure: bool | None = None  # None: where the target is in this machine
    read_profile: bool = True  # False: a profile in the prompt is passed over, readable or not


@dataclass(frozen=True)
class Job:
    """A question, and how its answer fits back into what it was read from."""

    question: Question
    before: bytes  # of a prompt, what stands before the code
    after: bytes
    notes: tuple[str, ...]

    def bare(self, code: bytes) -> bytes:
        """The code without the empty lines that stand for what is before it in a prompt."""
        return code[len(_empty_lines(self.before)) :]

    def whole(self, code: bytes) -> bytes:
        """The file or the prompt with the code in its place."""
        return self.before + self.bare(code) + self.after


@contextlib.contextmanager
def open_job(options: Options) -> Iterator[Job]:
    """Reads everything the options name. Code out of a prompt or a pipe lives in a temporary file meanwhile.

    Raises BadInput for whatever can't be used.
    """
    data = read_input(options.path)
    prompt = _prompt_of(options.path, data)
    before, bare, after = _parts(data, prompt)
    code = _empty_lines(before) + bare
    with tempfile.TemporaryDirectory(prefix="codegen-") as folder:
        question = Question(
            file=_user_file(options.path, prompt, code, Path(folder)),
            code=code,
            gpu=_gpu(options, prompt),
            inputs=parse_inputs(options.inputs) if options.inputs is not None else None,
            more_inputs=tuple(map(parse_inputs, options.more_inputs)),
            problem=_existing(options.problem, "--problem"),
            reference=_expression(options.reference),
            metrics=_metrics(options, prompt),
            stage=_stage(options, prompt),
            max_configs=options.max_configs,
            launch=_command(options.launch),
            at_definition=options.at_definition,
        )
        yield Job(question, before, after, _notes(options, prompt))


def _parts(data: bytes, prompt: Prompt | None) -> tuple[bytes, bytes, bytes]:
    """What stands before the code, the code, and what stands after it."""
    if prompt is None:
        return b"", data, b""
    text, (start, end) = data.decode(), prompt.code_span
    return text[:start].encode(), text[start:end].encode(), text[end:].encode()


def _empty_lines(before: bytes) -> bytes:
    """As many lines, so that every line of the code has the number that a person sees."""
    return b"".join(re.findall(rb"\r?\n", before))


def read_input(path: str) -> bytes:
    if path == STDIN:
        if sys.stdin is None:
            raise BadInput("standard input is closed: name a file")
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except IsADirectoryError:
        raise BadInput(f"{path}: is a folder; name a .py file or a prompt") from None
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{path}: can't be read: {getattr(error, 'strerror', None) or error}"
        ) from None


def _prompt_of(path: str, data: bytes) -> Prompt | None:
    """The prompt, if this is one: by its name, or for standard input by its look."""
    named = Path(path).suffix.lower() in _PROMPTS
    if path != STDIN and not named:
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: no UTF-8 at byte {error.start}: save it as UTF-8") from None
    if not named and not looks_like_prompt(text):
        return None
    try:
        return read_prompt(text)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None


def _user_file(path: str, prompt: Prompt | None, code: bytes, folder: Path) -> UserFile:
    if path != STDIN and prompt is None:
        return UserFile(path, Path(path).resolve())
    stem = "stdin" if path == STDIN else Path(path).stem[:40]
    # A module's name: the code is imported under it.
    copy = folder / f"{''.join(c if c.isalnum() and c.isascii() else '_' for c in stem)}_code.py"
    copy.write_bytes(code)
    name = "standard input" if path == STDIN else path
    return UserFile(name, copy.resolve())


def _gpu(options: Options, prompt: Prompt | None) -> GpuSpec:
    """The GPU that is named, else the prompt's, else the one in this machine."""
    if options.gpu is not None:
        return find_gpu(options.gpu)
    if prompt is not None and prompt.gpu is not None:
        return prompt.gpu
    here = gpu_here()
    if here is not None:
        return here
    why = f" ({prompt.gpu_problem})" if prompt is not None and prompt.gpu_problem else ""
    raise BadInput(
        f"which GPU is this for?{why} Give --gpu NAME, for instance --gpu rtx-4090 (`codegen gpus` lists all)"
    )


def _command(text: str | None) -> tuple[str, ...] | None:
    """--launch: `script.py ...` or `pytest ...`, with a leading `python [-m]` as people write it left out."""
    if text is None:
        return None
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BadInput(f"--launch: {text[:60]!r}: {error}") from None
    if words and re.fullmatch(r"python[0-9.]*", words[0]):
        words = words[2:] if words[1:2] == ["-m"] else words[1:]
    if not words or words[0].startswith("-"):
        raise BadInput(
            f"--launch: {text[:60]!r}: name a script.py or a module, as in 'pytest tests/test_it.py'"
        )
    if words[0].endswith(".py") and not Path(words[0]).is_file():
        raise BadInput(f"--launch: {words[0]}: no such file")
    return tuple(words)


def _existing(path: str | None, option: str) -> Path | None:
    if path is None:
        return None
    if not Path(path).is_file():
        raise BadInput(f"{option}: {path}: no such file")
    if Path(path).suffix != ".py":
        raise BadInput(f"{option}: {path}: not a .py file")
    return Path(path).resolve()


def _expression(text: str | None) -> str | None:
    if text is not None:
        try:
            compile(text, "--reference", "eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise BadInput(f"--reference: {text[:60]!r} is no Python expression: {error}") from None
    return text


def _metrics(options: Options, prompt: Prompt | None) -> dict[str, KernelMetrics] | None:
    """The profile: --ncu's, else the prompt's, unless --gpu asks about another GPU than was profiled."""
    try:
        if options.ncu is not None:
            return read_metrics(read_input(options.ncu).decode(errors="replace"))
        if not options.read_profile or prompt is None or prompt.metrics is None:
            return None
        if not _other_gpu(options, prompt):
            return read_metrics(prompt.metrics, prompt.metrics_line)
    except BadInput as error:
        raise BadInput(f"{options.ncu or f'{options.path}: its metrics'}: {error}") from None
    return None


def _other_gpu(options: Options, prompt: Prompt) -> bool:
    profiled = prompt.gpu
    return options.gpu is not None and (
        profiled is None or find_gpu(options.gpu).key != profiled.key
    )


def _stage(options: Options, prompt: Prompt | None) -> StageRules:
    rules = prompt.stage if prompt else DEFAULT_STAGE
    if options.num_warps is not None:
        rules = replace(
            rules, num_warps=_numbers(options.num_warps, "--num-warps", (1, 2, 4, 8, 16, 32))
        )
    if options.num_stages is not None:
        rules = replace(
            rules, num_stages=_numbers(options.num_stages, "--num-stages", tuple(range(1, 17)))
        )
    return rules


def _numbers(text: str, option: str, allowed: tuple[int, ...]) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part[:9]) in allowed for part in parts):
        raise BadInput(
            f"{option}: {text[:60]!r}: give numbers out of {', '.join(map(str, allowed))}, with commas"
        )
    return tuple(sorted({int(part) for part in parts}))


def _notes(options: Options, prompt: Prompt | None) -> tuple[str, ...]:
    """What a person should know of how the prompt was read."""
    if prompt is None:
        return ()
    notes: list[str] = []
    unused = prompt.metrics is not None and options.ncu is None and options.read_profile
    if unused and _other_gpu(options, prompt):
        notes.append("the prompt's profile is of another GPU: not used")
    if not prompt.stage.blocks_fixed:
        notes.append("the stage lets block sizes change: only num_warps and num_stages are changed")
    if options.gpu is None:
        notes += [
            f"{o.field} is {o.stated} as the prompt states (known: {o.known})"
            for o in prompt.overrides
        ]
        notes += [f"not understood, passed over: {line[:80]!r}" for line in prompt.unread]
    return tuple(notes)
