"""An optimization prompt: its sections, wherever they stand -> GPU, stage rules, code, metrics, rules.

A prompt is Markdown-like text written by people and by templates, so a section is known by its title in
any dress (`# Target GPU`, `[CURRENT CODE]`, `**Output rules:**`) and may be missing or out of place.
Only the code must be there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from codegen.gpu import GpuSpec
from codegen.outcome import BadInput
from codegen.prompt_gpu import Override, read_gpu
from codegen.stage import DEFAULT_STAGE, StageRules


@dataclass(frozen=True)
class Prompt:
    """What an optimization prompt says. `text[slice(*code_span)] == code`."""

    gpu: GpuSpec | None
    gpu_problem: str | None  # why `gpu` is None, as a sentence for the place where one is needed
    overrides: tuple[Override, ...]  # figures the prompt states otherwise than the built-in table
    unread: tuple[str, ...]  # lines that state a figure in a way that can't be understood
    stage: StageRules
    code: str
    code_span: tuple[int, int]
    metrics: str | None  # the metrics' own text, JSON or CSV, for `ncu.read_metrics`
    metrics_line: int  # where it starts in the prompt, from 1; 0 where there is none
    output_rules: tuple[str, ...]


def read_prompt(text: str) -> Prompt:
    """Reads an optimization prompt, in any line ending.

    Raises BadInput where it has no code. Metrics are found but not parsed here.
    """
    sections = _sections(text)
    start, end = _find_code(text, sections)
    block = read_gpu(_prose(sections, "gpu", otherwise=sections))
    metrics = _find_metrics(text, sections)
    return Prompt(
        gpu=block.gpu,
        gpu_problem=block.problem,
        overrides=block.overrides,
        unread=block.unread,
        stage=_read_stage("".join(_prose(sections, "stage", otherwise=sections))),
        code=text[start:end],
        code_span=(start, end),
        metrics=text[slice(*metrics)] if metrics else None,
        metrics_line=_line_number(text, metrics[0]) if metrics else 0,
        output_rules=tuple(_plain(_prose(sections, "rules", otherwise=[]))),
    )


def looks_like_prompt(text: str) -> bool:
    """A guess for text that comes without a file name: a prompt, and not a Python file?"""
    sections = _sections(text)
    if any(_IMPORT.match(line) for section in sections for line in section.prose):
        # Code that stands open: a prompt only if a title says where it is, as no comment would.
        return any(section.kind == "code" and section.bracketed for section in sections)
    return any(section.kind is not None or section.fences for section in sections)


_IMPORT = re.compile(r"(?:import|from)[ \t]+\w")


# -- sections ---------------------------------------------------------------------------------------

Span = tuple[int, int]

_TITLES = {
    kind: re.compile(pattern)
    for kind, pattern in {
        "gpu": r"(target |current )?(gpu|hardware|device)( (specs?|specifications?|info\w*|details))?",
        "stage": r"(current )?(optimi[sz]ation |tuning )stage( rules)?|(current )?stage( rules)?",
        "code": r"((current|original|input|triton|kernel|source|python) )*(code|kernel|implementation)",
        "metrics": r"((ncu|nsight( compute)?|profil\w+|kernel|performance) )*(metrics|profile|profiling)",
        "rules": r"(output|response|answer) (rules?|format|requirements?)",
        "task": r"(your )?(task|instructions?)",
    }.items()
}


@dataclass(frozen=True)
class _Fence:
    body: Span
    info: str  # what follows the opening marks: `python`


@dataclass
class _Section:
    """What stands between two titles: fenced blocks, and the lines outside them."""

    kind: str | None  # a key of _TITLES; None before the first title
    bracketed: bool = False  # its title stands in brackets
    fences: list[_Fence] = field(default_factory=list)
    lines: list[re.Match[str]] = field(default_factory=list)
    end: int = 0

    @property
    def prose(self) -> list[str]:
        return [line[0] for line in self.lines]


def _sections(text: str) -> list[_Section]:
    found = [_Section(None)]
    opening: re.Match[str] | None = None
    for line in re.finditer(r"[^\n]*\n|[^\n]+", text):
        title = _read_title(line[0])
        bracketed = title is not None and line[0].lstrip(_BLANK).startswith("[")
        if opening is not None:
            closes = _closes(line[0], opening["marks"])
            if closes or bracketed:  # `[NCU PROFILING METRICS]` is no Python: the end was forgotten
                found[-1].fences.append(_Fence((opening.end(), line.start()), opening["info"]))
                opening = None
            if not bracketed:
                continue
        opening = _FENCE.match(text, line.start(), line.end())
        if title is not None:
            kind, inline = title
            found[-1].end = line.start()
            found.append(_Section(kind, bracketed, lines=[line] if inline else []))
        elif opening is None:
            found[-1].lines.append(line)
    if opening is not None:
        found[-1].fences.append(_Fence((opening.end(), len(text)), opening["info"]))
    found[-1].end = len(text)
    return found


_BLANK = "\ufeff \t\r\n"  # a byte-order mark is no content
_FENCE = re.compile(r"[ \t]{0,3}(?P<marks>`{3,}|~{3,})[ \t]*(?P<info>[^\s`]*)[^\n`]*(?:\n|$)")


def _closes(line: str, marks: str) -> bool:
    bare = line.strip()
    return len(bare) >= len(marks) and set(bare) == {marks[0]}


def _read_title(line: str) -> tuple[str, bool] | None:
    """The kind of section a line is the title of, and whether content follows on the same line."""
    bare = line.strip(_BLANK)
    title, colon, rest = bare[:300].partition(":")
    if not (colon or bare.startswith(("#", "[", "**", "__", "=")) or bare.isupper()):
        return None
    words = re.sub(r"\([^)]*\)|[^a-z0-9() ]", " ", title.lower())
    words = " ".join(re.sub(r"^\s*\d+\s", " ", words).split())
    for kind, pattern in _TITLES.items():
        if pattern.fullmatch(words):
            return kind, any(character.isalnum() for character in rest)
    return None


def _prose(sections: list[_Section], kind: str, otherwise: list[_Section]) -> list[str]:
    """The lines outside fences in the sections of a kind; if there is no such section, in `otherwise`."""
    chosen = [section for section in sections if section.kind == kind] or otherwise
    return [line for section in chosen for line in section.prose]


def _line_number(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


# -- code, metrics, rules ---------------------------------------------------------------------------


def _find_code(text: str, sections: list[_Section]) -> Span:
    """The fenced block of the code section, else one with an autotuned kernel, else the open section."""
    titled = [section for section in sections if section.kind == "code"]
    in_place = [fence.body for section in titled for fence in section.fences]
    kernels = [f.body for s in sections for f in s.fences if "triton" in text[slice(*f.body)]]
    tuned = [body for body in kernels if "autotune" in text[slice(*body)]]
    for candidates in (
        [body for body in in_place if "autotune" in text[slice(*body)]],
        [body for body in in_place if text[slice(*body)].strip()],
        tuned,
        [body for body in kernels if "import" in text[slice(*body)]],
    ):
        if candidates:
            return candidates[0]
    for section in titled:
        lines = [line for line in section.lines if line[0].strip()]
        if any(_IMPORT.match(line[0]) for line in lines):
            return lines[0].start(), lines[-1].end()
    raise BadInput(
        "the prompt has no code: put the kernel's file into a fenced block (```python) "
        "under the title [CURRENT CODE]"
    )


def _find_metrics(text: str, sections: list[_Section]) -> Span | None:
    """The metrics' JSON object or CSV table: fenced or open, in its section or, as JSON, anywhere."""
    titled = [section for section in sections if section.kind == "metrics"]
    for fence in (fence for section in titled for fence in section.fences):
        if text[slice(*fence.body)].strip():
            return fence.body
    for section in titled or sections:
        for line in section.lines:
            brace = text.find("{", line.start(), line.end())
            if brace >= 0 and _OBJECT.match(text, brace):
                return brace, _json_end(text, brace, section.end)
            if titled and line[0].startswith(("==PROF==", '"ID",')):
                return line.start(), section.end
    for fence in (fence for section in sections for fence in section.fences):
        if fence.info.lower() in ("json", "csv") and "__" in text[slice(*fence.body)]:
            return fence.body
    return None


_OBJECT = re.compile(r"\{\s*\"")


def _json_end(text: str, start: int, end: int) -> int:
    """Past the JSON value at `start`; where it is broken, all of the section, to be reported on."""
    try:
        return json.JSONDecoder().raw_decode(text[:end], start)[1]
    except (ValueError, RecursionError):
        return end


def _plain(lines: Iterable[str]) -> Iterator[str]:
    """The lines that say something, without bullets, numbers and emphasis."""
    for line in lines:
        plain = re.sub(r"^\s*(?:[•*+-]|\d+[.)])\s+", "", line).replace("**", "").strip()
        if plain:
            yield plain


# -- stage ------------------------------------------------------------------------------------------

_INTEGERS = r"[\[{(]?\s*(\d{1,4}(?:(?:\s*(?:,|\||/|;|or|and|-|–|to|\.\.)\s*|\s+)\d{1,4})*)"
_IS = r"[`*_ \t]*(?:allowed|values?|options?)?[`*_ \t]*(?::|=|∈|in|from|one of)[`*_ \t]*"
_KNOB = {
    "num_warps": re.compile(rf"(?:num|number)[_ -]?(?:of )?warps{_IS}{_INTEGERS}", re.IGNORECASE),
    "num_stages": re.compile(rf"(?:num|number)[_ -]?(?:of )?stages{_IS}{_INTEGERS}", re.IGNORECASE),
}
_STEP = re.compile(
    r"stages[^\n]{0,200}?(?:±|\+\s*/\s*[-−–]|\+[-−–]|plus or minus|at most|up to)\s*(\d{1,2})",
    re.IGNORECASE,
)
_COUNT = re.compile(
    r"(\d{1,3})\s*(?:-|–|—|to|\.\.)\s*(\d{1,3})\s+(?:[a-z.]+\s+)?config", re.IGNORECASE
)
_BLOCKS_MAY_CHANGE = re.compile(
    r"\b(?:may|can|free to|allowed to)\s+(?:change|modify|adjust|tune)\s+(?:the\s+)?block",
    re.IGNORECASE,
)


def _read_stage(text: str) -> StageRules:
    """The stage's rules; what the text leaves out stays as in DEFAULT_STAGE."""
    rules = DEFAULT_STAGE
    if warps := [n for n in _read_integers("num_warps", text) if n.bit_count() == 1 and n <= 32]:
        rules = replace(rules, num_warps=tuple(warps))
    if stages := [n for n in _read_integers("num_stages", text) if 1 <= n <= 32]:
        rules = replace(rules, num_stages=tuple(stages))
    if step := _STEP.search(text):
        rules = replace(rules, max_stage_step=int(step[1]))
    if (count := _COUNT.search(text)) and 1 <= int(count[1]) <= int(count[2]):
        rules = replace(rules, min_configs=int(count[1]), max_configs=int(count[2]))
    if _BLOCKS_MAY_CHANGE.search(text):
        rules = replace(rules, blocks_fixed=False)
    return rules


def _read_integers(knob: str, text: str) -> list[int]:
    """`{2, 4, 8}`, `2 | 4 | 8` or `2-4` after a knob's name: in order, each once."""
    found = _KNOB[knob].search(text)
    if found is None:
        return []
    numbers = [int(n) for n in re.findall(r"\d+", found[1])]
    if re.fullmatch(r"\d+\s*(?:-|–|to|\.\.)\s*\d+", found[1]):
        numbers = list(range(numbers[0], min(numbers[1], 64) + 1))
    return sorted(set(numbers))
