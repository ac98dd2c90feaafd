"""The edits that give one site other configs."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from codegen.config import Config, Source
from codegen.entries import NewEntry, join, split
from codegen.imports import first_name
from codegen.outcome import Refused
from codegen.sites import Located
from codegen.source import Span, joined_lines
from codegen.spelling import Style, distance, respell, spell
from codegen.static.configs import CONFIG_PARAMETERS
from codegen.static.values import Made
from codegen.targets import Target

MAX_LINE = 100  # a new entry that would be longer is set over several lines, if its model is


@dataclass(frozen=True)
class Edit:
    """What stands at `span` becomes `text`."""

    span: Span
    text: str


def same(some: Sequence[Config] | None, others: Sequence[Config]) -> bool:
    """Equal in every value and its type, `True` is not `1` here; keywords in any order."""
    return some is not None and list(map(_identity, some)) == list(map(_identity, others))


def _identity(config: Config) -> str:
    return repr(replace(config, extra=tuple(sorted(config.extra))))


def site_edits(
    located: Located, configs: Sequence[Config], live: Sequence[Config] | None = None
) -> Iterator[Edit]:
    """The edits after which the site holds `configs`, in that order. Raises `Refused`.

    `live` is what the running kernel holds, where that is known and the file does not say it.
    """
    site, target = located.site, located.target
    refusal = site.refusal
    if not configs:
        refusal = refusal or "an empty list of configs was given"
    now = live if site.configs is None else site.configs
    refusal = refusal or site.why_one(now, configs) or _unknown_name(located, configs)
    refusal = refusal or (_bound_inside(target.expression) if target else None)
    if refusal is not None or target is None:
        raise Refused(f"line {site.line}: {site.kernel}: {refusal}")
    writer = _Writer(located, target)
    span = located.reader.file.span(target.expression)
    if target.elements:
        yield Edit(span, writer.edited_list(configs, target.elements))
        return
    if target.elements is None:
        yield writer.comment()
    yield Edit(span, writer.new_list(configs))


def _bound_inside(expression: ast.expr) -> str | None:
    """Why an expression can't be replaced by what binds no names."""
    names = [n.target.id for n in ast.walk(expression) if isinstance(n, ast.NamedExpr)]
    return f"the configs are written with `:=`, which binds {names[0]} too" if names else None


def _unknown_name(located: Located, configs: Sequence[Config]) -> str | None:
    """Why an entry given as source text would fail where it is to stand; what stood there already is not asked."""
    scope = located.reader.scope
    there = {text for config in located.site.configs or () for text in _sources(config)}
    for text in dict.fromkeys(text for config in configs for text in _sources(config)):
        for name in sorted(_free_names(text)) if text not in there else ():
            binding = scope.binding(name)
            if not (
                binding.statements or binding.doubt or scope.names.may_come_from_elsewhere(name)
            ):
                return f"`{text}` was asked for, and nothing in the file binds `{name}` before"
    return None


def _sources(config: Config) -> Iterator[str]:
    """What a config holds as source text."""
    for value in (config.num_warps, config.num_stages, *(value for _, value in config.meta)):
        if isinstance(value, Source):
            yield value.text
    yield from (text for _, text in config.extra)


def _free_names(text: str) -> set[str]:
    """The names that an expression reads and does not bind itself; none of what is no expression."""
    try:
        nodes = list(ast.walk(ast.parse(text.strip(), mode="eval")))
    except SyntaxError:
        return set()  # which is said where it is written
    read = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    bound = {n.id for n in nodes if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    return read - bound - {n.arg for n in nodes if isinstance(n, ast.arg)}


class _Writer:
    def __init__(self, located: Located, target: Target) -> None:
        self._located = located
        self._target = target
        self._file = located.reader.file
        self._models = self._find_models()
        self._style = self._find_style()

    def edited_list(
        self, configs: Sequence[Config], elements: Sequence[tuple[ast.expr, tuple[Made, ...]]]
    ) -> str:
        """The list display with the elements that go on saying what is wanted, and new ones."""
        start, end = self._file.span(self._target.expression)
        spans = [self._file.span(node) for node, _ in elements]
        old = split(self._file.text[start:end], [(a - start, b - start) for a, b in spans])
        left = {i: [made.config for made in several] for i, (_, several) in enumerate(elements)}
        plan: list[int | NewEntry] = []
        position = 0
        while position < len(configs):
            for index, had in left.items():
                if had and same(had, configs[position : position + len(had)]):
                    plan.append(index)
                    position += len(left.pop(index))
                    break
            else:
                plan.append(self._new_entry(configs[position], elements))
                position += 1
        return join(old, plan, self._file.newline)

    def _new_entry(
        self, config: Config, elements: Sequence[tuple[ast.expr, tuple[Made, ...]]]
    ) -> NewEntry:
        if not self._models:
            return NewEntry(self._entry(config))
        call, _ = self._nearest(config)
        like = next((i for i, (node, _) in enumerate(elements) if node is call), None)
        return NewEntry(self._entry(config), like)

    def new_list(self, configs: Sequence[Config]) -> str:
        """A list display with a line, or as many as its model has, for each config."""
        start, end = self._file.span(self._target.expression)
        indent = self._file.indent(start)
        inner = indent + self._file.indent_unit
        opening, tail = "[", f"{indent}]"
        if self._target.elements == () and "\n" in self._file.text[start:end]:
            empty = split(self._file.text[start:end], [])  # but for comments
            opening, tail = empty.opening.rstrip("\r\n"), empty.tail
        lines = [f"{inner}{self._entry(config, inner)}," for config in configs]
        return self._file.newline.join([opening, *lines, tail])

    def comment(self) -> Edit:
        """What is replaced, as one comment line above."""
        file, statement = self._file, self._target.statement
        if statement is None:
            words, place = f"configs={file.one_line(self._argument)}", self._argument_line()
        else:
            words, place = file.one_line(statement), file.line_start(file.span(statement)[0])
        if file.text[:place].rstrip("\r\n").endswith("\\"):
            raise Refused(f"line {file.line(place)}: no comment can stand after a backslash")
        line = f"{file.indent(place)}# was: {words}{file.newline}"
        return Edit((place, place), line)

    @property
    def _argument(self) -> ast.expr:
        assert self._located.argument is not None
        return self._located.argument

    def _argument_line(self) -> int:
        """The start of the line that the argument begins; where it begins none, of the statement's."""
        file, place = self._file, self._located.place
        keyword = next(
            (k for k in place.call.keywords if k.value is self._argument), self._argument
        )
        start = file.span(keyword)[0]
        line = file.line_start(start)
        if not file.text[line:start].strip():
            return line
        decorator = file.text.startswith("@", place.at)
        return file.line_start(place.at if decorator else file.span(place.statement)[0])

    def _entry(self, config: Config, indent: str | None = None) -> str:
        """A config as text, like its nearest model. Where `indent` is given, that of its line in a new
        list, on one line if that fits."""
        file = self._file
        if not self._models:
            return spell(config, self._style)
        call, have = self._nearest(config)
        text = respell(file.segment(call), have, config, self._style, file.newline)
        in_list = any(node is call for node, _ in self._target.elements or ())
        if "\n" not in text or in_list:
            return text
        line = joined_lines(text)
        if indent is None or len(indent) + len(line) < MAX_LINE:
            return line
        first, *rest = text.split("\n")
        outer = file.indent(file.span(call)[0])
        return "\n".join([first, *(indent + line.removeprefix(outer) for line in rest)])

    def _nearest(self, config: Config) -> tuple[ast.Call, Config | None]:
        """The model that needs the least changing."""
        return min(self._models, key=lambda model: distance(model[1], config))

    def _find_models(self) -> list[tuple[ast.Call, Config | None]]:
        """Calls to write new entries by, each with what it says, if it says so in no variables."""
        made = [m for _, several in self._target.elements or () for m in several]
        made = made or list(self._located.made or ())
        if made:
            return [(m.call, m.config if m.portable else None) for m in made]
        return [(call, None) for call in self._calls_nearby()[:1]]

    def _calls_nearby(self) -> list[ast.Call]:
        """The Config calls in the file, those nearest to the site first."""
        reader, line = self._located.reader, self._located.place.call.lineno
        nodes = [node for node in ast.walk(self._file.tree) if isinstance(node, ast.Call)]
        return sorted(filter(reader.is_config, nodes), key=lambda call: abs(call.lineno - line))

    def _find_style(self) -> Style:
        calls = [call for call, _ in self._models] or self._calls_nearby()
        shown = calls[0] if calls else self._located.place.call
        text = self._file.segment(shown)
        order = list(CONFIG_PARAMETERS)
        if any(map(_has_stages_first, calls)):
            order[1:3] = ["num_stages", "num_warps"]
        quote = "'" if text.count("'") > text.count('"') else '"'
        return Style(self._function(calls), quote, tuple(order))

    def _function(self, calls: Sequence[ast.Call]) -> str:
        """How triton.Config is called where the site stands."""
        reader = self._located.reader
        for call in calls:
            if reader.scope.binders(first_name(call.func) or ""):
                return self._file.one_line(call.func)
        autotune = self._located.place.call.func
        if isinstance(autotune, ast.Attribute) and autotune.attr == "autotune":
            return f"{self._file.one_line(autotune.value)}.Config"
        spelling = reader.imports.spelling("triton.Config")
        if spelling is None:
            site = self._located.site
            raise Refused(f"line {site.line}: {site.kernel}: nothing here names triton.Config")
        return spelling


def _has_stages_first(call: ast.Call) -> bool:
    names = [keyword.arg for keyword in call.keywords]
    return "num_warps" in names and "num_stages" in names[: names.index("num_warps")]
