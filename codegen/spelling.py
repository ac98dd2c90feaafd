"""One `triton.Config` as source text, in the style of the entries it will stand among."""

from __future__ import annotations

import keyword
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import libcst as cst

from codegen.config import Config, Source, Value
from codegen.outcome import BadInput
from codegen.static.configs import CONFIG_PARAMETERS

_NO_SPACE = cst.SimpleWhitespace("")
_EQUAL = cst.AssignEqual(whitespace_before=_NO_SPACE, whitespace_after=_NO_SPACE)

_Item = TypeVar("_Item", cst.Arg, cst.DictElement)


@dataclass(frozen=True)
class Style:
    """What a config is written with where no entry shows it."""

    function: str = "triton.Config"
    quote: str = '"'
    order: tuple[str, ...] = CONFIG_PARAMETERS  # of the keywords


def spell(config: Config, style: Style) -> str:
    """A config on one line, from nothing. Raises `BadInput` for a value that is no expression."""
    options = sorted(_options(config).items(), key=lambda item: _rank(style.order, item[0]))
    keywords = [f"{name}={_literal(value, style)}" for name, value in options]
    text = f"{style.function}({', '.join([_dict(config.meta, style), *keywords])})"
    _parsed(text)
    return text


def respell(sibling: str, have: Config | None, want: Config, style: Style, newline: str) -> str:
    """The text of a Config call that says `have`, changed to say `want` and else left as it is.

    `have` is None for a call in terms of variables, `Config({"BLOCK": b})`: each value is then written anew.
    Comments inside are left out: they were said of the sibling. Raises `BadInput` for a value that is no
    expression.
    """
    text = sibling.replace("\r\n", "\n")
    # In brackets, for a line may end anywhere in it.
    call = cst.ensure_type(cst.parse_expression(f"({text})"), cst.Call)
    call = call.with_changes(lpar=(), rpar=())
    if not _is_plain(call):
        return spell(want, style)
    call = cast(cst.Call, call.visit(_WithoutComments()))
    if cst.Module([]).code_for_node(call.func) != style.function:
        call = call.with_changes(func=cst.parse_expression(style.function))
    call = call.with_changes(args=_arguments(call, have, want, style))
    return cst.Module([]).code_for_node(call).replace("\n", newline)


def _is_plain(call: cst.Call) -> bool:
    """Whether each argument is one of Config's parameters, meta-parameters among them."""
    positional = [argument for argument in call.args if argument.keyword is None]
    named = {argument.keyword.value for argument in call.args if argument.keyword}
    return (
        not any(argument.star for argument in call.args)
        and len(positional) <= len(CONFIG_PARAMETERS)
        and bool(positional or "kwargs" in named)
    )


def distance(have: Config | None, want: Config) -> tuple[bool, bool, int]:
    """How far a config is from being written as another: the smaller, the better a sibling."""
    if have is None:
        return False, False, len(want.meta)
    shape = [name for name, _ in have.meta] != [name for name, _ in want.meta]
    left_out = (have.num_warps is None) != (want.num_warps is None)
    left_out |= (have.num_stages is None) != (want.num_stages is None)
    left_out |= [name for name, _ in have.extra] != [name for name, _ in want.extra]
    differing = sum(a != b for a, b in zip(have.meta, want.meta, strict=False))
    differing += sum(a != b for a, b in zip(have.extra, want.extra, strict=False))
    differing += (have.num_warps != want.num_warps) + (have.num_stages != want.num_stages)
    return shape, left_out, differing


def _arguments(call: cst.Call, have: Config | None, want: Config, style: Style) -> list[cst.Arg]:
    had = {} if have is None else _options(have)
    wanted = _options(want)
    arguments: list[cst.Arg] = []
    names: list[str] = []
    by_keyword = False
    for position, argument in enumerate(call.args):
        name = argument.keyword.value if argument.keyword else CONFIG_PARAMETERS[position]
        if name == "kwargs":
            meta = _meta(argument.value, have.meta if have else None, want.meta, style)
            argument = argument.with_changes(value=meta)
        elif name not in wanted:
            by_keyword = True  # of the positional ones after it
            continue
        elif repr(wanted[name]) != repr(had.get(name)):
            argument = argument.with_changes(value=_expression(wanted[name], style))
        if by_keyword and argument.keyword is None:
            argument = argument.with_changes(keyword=cst.Name(name), equal=_EQUAL)
        arguments.append(argument)
        names.append(name)
    equal = next((a.equal for a in arguments if a.keyword), _EQUAL)
    for name in sorted(wanted.keys() - set(names), key=lambda name: _rank(style.order, name)):
        place = _place(arguments, names, name, style.order)
        value = _expression(wanted[name], style)
        new = cst.Arg(value, keyword=cst.Name(name), equal=equal, whitespace_after_arg=_NO_SPACE)
        arguments.insert(place, new)
        names.insert(place, name)
    return _punctuated(arguments, call.args, call.whitespace_before_args)


def _options(config: Config) -> dict[str, Value]:
    """What is written beside the meta-parameters; those in `extra` are source text already."""
    knobs = {"num_warps": config.num_warps, "num_stages": config.num_stages}
    options: dict[str, Value] = {name: value for name, value in knobs.items() if value is not None}
    return options | {name: Source(text) for name, text in config.extra}


def _place(
    arguments: Sequence[cst.Arg], names: Sequence[str], name: str, order: Sequence[str]
) -> int:
    """Where a keyword goes: after the last one that the order puts before it."""
    positional = sum(argument.keyword is None for argument in arguments)
    before = [i + 1 for i, other in enumerate(names) if _rank(order, other) < _rank(order, name)]
    return max([positional, *before])


def _meta(
    node: cst.BaseExpression,
    have: tuple[tuple[str, Value], ...] | None,
    want: tuple[tuple[str, Value], ...],
    style: Style,
) -> cst.BaseExpression:
    if have is not None and repr(have) == repr(want):
        return node
    known = dict(have or ())
    if isinstance(node, cst.Dict) and all(_key(element) is not None for element in node.elements):
        return _dict_display(node, known, want, style)
    if _is_dict_call(node) and _names_only(want):
        return _dict_call(cst.ensure_type(node, cst.Call), known, want, style)
    return _parsed(_dict(want, style))


def _key(element: cst.BaseDictElement) -> str | None:
    """The name that an element of a dict display gives a value, where it is a plain string."""
    if isinstance(element, cst.DictElement) and isinstance(element.key, cst.SimpleString):
        key = element.key.evaluated_value
        return key if isinstance(key, str) else None
    return None


def _is_dict_call(node: cst.BaseExpression) -> bool:
    return (
        isinstance(node, cst.Call)
        and isinstance(node.func, cst.Name)
        and node.func.value == "dict"
        and all(argument.keyword for argument in node.args)
    )


def _names_only(meta: Sequence[tuple[str, Value]]) -> bool:
    return all(name.isidentifier() and not keyword.iskeyword(name) for name, _ in meta)


def _dict_display(
    node: cst.Dict, have: dict[str, Value], want: Sequence[tuple[str, Value]], style: Style
) -> cst.Dict:
    old = {_key(element): element for element in _pairs(node)}
    space = next((e.whitespace_after_colon for e in old.values()), cst.SimpleWhitespace(" "))
    elements: list[cst.DictElement] = []
    for name, value in want:
        if name not in old:
            key = cst.SimpleString(_literal(name, style))
            new = cst.DictElement(key, _expression(value, style), whitespace_after_colon=space)
            elements.append(new)
        elif name in have and repr(have[name]) == repr(value):
            elements.append(old[name])
        else:
            elements.append(old[name].with_changes(value=_expression(value, style)))
    punctuated = _punctuated(elements, _pairs(node), node.lbrace.whitespace_after)
    return node.with_changes(elements=punctuated)


def _pairs(node: cst.Dict) -> list[cst.DictElement]:
    return [cst.ensure_type(element, cst.DictElement) for element in node.elements]


def _dict_call(
    node: cst.Call, have: dict[str, Value], want: Sequence[tuple[str, Value]], style: Style
) -> cst.Call:
    old = {argument.keyword.value: argument for argument in node.args if argument.keyword}
    equal = next((argument.equal for argument in node.args), _EQUAL)
    arguments: list[cst.Arg] = []
    for name, value in want:
        if name not in old:
            arguments.append(
                cst.Arg(_expression(value, style), keyword=cst.Name(name), equal=equal)
            )
        elif name in have and repr(have[name]) == repr(value):
            arguments.append(old[name])
        else:
            arguments.append(old[name].with_changes(value=_expression(value, style)))
    return node.with_changes(args=_punctuated(arguments, node.args, node.whitespace_before_args))


def _punctuated(
    items: Sequence[_Item],
    old: Sequence[_Item],
    opening: cst.BaseParenthesizableWhitespace,
) -> list[_Item]:
    """Commas as the old items had them: the last as their last had, the others as the others. With one
    old item alone, a line for each if it has one, which `opening`, the space before it, shows."""
    closing = old[-1] if old else None
    if len(old) > 1:
        between = old[-2].comma
    elif isinstance(opening, cst.ParenthesizedWhitespace):
        between = cst.Comma(whitespace_after=opening)
    else:
        between = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    result: list[_Item] = []
    for item in items[:-1]:
        own = isinstance(item.comma, cst.Comma) and (not closing or item.comma is not closing.comma)
        result.append(item if own else _with_end(item, between, _NO_SPACE))
    for item in items[-1:]:
        if closing is None:
            result.append(_with_end(item, cst.MaybeSentinel.DEFAULT, _NO_SPACE))
        else:
            space = closing.whitespace_after_arg if isinstance(closing, cst.Arg) else _NO_SPACE
            result.append(_with_end(item, closing.comma, space))
    return result


def _with_end(
    item: _Item,
    comma: cst.Comma | cst.MaybeSentinel,
    space: cst.BaseParenthesizableWhitespace,
) -> _Item:
    if isinstance(item, cst.Arg):
        return item.with_changes(comma=comma, whitespace_after_arg=space)
    return item.with_changes(comma=comma)


def _expression(value: Value, style: Style) -> cst.BaseExpression:
    return _parsed(_literal(value, style))


def _parsed(text: str) -> cst.BaseExpression:
    try:
        return cst.parse_expression(text)
    except cst.ParserSyntaxError:
        raise BadInput(f"no Python expression: {text}") from None


def _literal(value: Value, style: Style) -> str:
    if isinstance(value, Source):
        return value.text.strip()
    if isinstance(value, str):
        return style.quote + repr(value)[1:-1] + style.quote if _plain(value) else repr(value)
    if isinstance(value, float) and not math.isfinite(value):
        return f"float({_literal(str(value), style)})"
    return repr(value)


def _plain(text: str) -> bool:
    return text.isprintable() and not set(text) & set("\"'\\")


def _dict(meta: Sequence[tuple[str, Value]], style: Style) -> str:
    pairs = (f"{_literal(name, style)}: {_literal(value, style)}" for name, value in meta)
    return "{" + ", ".join(pairs) + "}"


def _rank(order: Sequence[str], name: str) -> int:
    return order.index(name) if name in order else len(order)


class _WithoutComments(cst.CSTTransformer):
    def leave_TrailingWhitespace(
        self, original_node: cst.TrailingWhitespace, updated_node: cst.TrailingWhitespace
    ) -> cst.TrailingWhitespace:
        return cst.TrailingWhitespace(newline=updated_node.newline)

    def leave_ParenthesizedWhitespace(
        self, original_node: cst.ParenthesizedWhitespace, updated_node: cst.ParenthesizedWhitespace
    ) -> cst.ParenthesizedWhitespace:
        lines = [line for line in updated_node.empty_lines if line.comment is None]
        return updated_node.with_changes(empty_lines=lines)
