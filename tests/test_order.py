"""The checker: what it finds, what it leaves alone, and that its table, its examples and its page agree."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from codegen.order import check
from codegen.rules import RULES, explain

HERE = Path(__file__).parent
CASES = sorted((HERE / "cases" / "check").glob("*.py"))
PAGE = HERE.parent / "docs" / "rules.md"
GOOD = RULES["CG001"].good.encode()


def codes(source: bytes) -> list[str]:
    return [finding.code for finding in check(source)]


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_case(case: Path) -> None:
    """A case names what is to be found in its last lines, `# expect: line:column code`."""
    source = case.read_bytes()
    expected = re.findall(r"^# expect: (.*)$", source.decode(), re.MULTILINE)
    assert [f"{f.line}:{f.column} {f.code}" for f in check(source)] == expected


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_bad_example_breaks_its_rule_alone(rule) -> None:
    assert set(codes(rule.bad.encode())) == {rule.code}


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_good_example_breaks_none(rule) -> None:
    assert codes(rule.good.encode()) == []


def test_page_and_table_agree() -> None:
    page = PAGE.read_text("utf-8")
    sections = re.split(r"^(?=## CG)", page, flags=re.MULTILINE)[1:]
    assert [section.strip() for section in sections] == [
        explain(rule).strip() for rule in RULES.values()
    ]


# The line Python reports; columns differ between its versions.
NOT_PYTHON = {
    "unfinished": (b"def f(:\n", 1),
    "on a later line": (b"x = 1\n\n  y = 2\n", 3),
    "a zero byte": (b"x = 1\0\n", 1),
    "latin-1 without a cookie": (b"x = 1\ny = 2\nz = '\xe9'\n", 3),
    "an unknown encoding": (b"# coding: klingon\n", 1),
    "an encoding of no text": (b"# coding: rot13\n", 1),
    "a number too long to read": (b"x = " + b"1" * 5000, 1),
    "parentheses too deep": (b"(" * 5000, 1),
    "a parser stack too deep": (b"-" * 100_000 + b"1", 1),
    "a tree too deep": (b"1" + b"+1" * 100_000, 1),
    "a chain too deep": (b"a" + b".b" * 100_000, 1),
}


@pytest.mark.parametrize(("source", "line"), NOT_PYTHON.values(), ids=list(NOT_PYTHON))
def test_what_is_not_python_is_one_finding(source: bytes, line: int) -> None:
    (finding,) = check(source)
    assert (finding.line, finding.code) == (line, "CG000")
    assert "\n" not in finding.message


def test_not_python_is_never_silenced() -> None:
    assert codes(b"def f(:  # noqa\n") == ["CG000"]


SAME_FILE = {
    "with a byte order mark": b"\xef\xbb\xbf" + GOOD,
    "with carriage returns": GOOD.replace(b"\n", b"\r\n"),
    "with carriage returns alone": GOOD.replace(b"\n", b"\r"),
    "without a last newline": GOOD.rstrip(),
    "in latin-1 with a cookie": b"# coding: latin-1\n" + GOOD + b"# \xe9\n",
    "with a doubtful escape": GOOD + b'"\\d"\n',
    "with a form feed": GOOD.replace(b"\n\n\n", b"\n\x0c\n\n"),
}


@pytest.mark.parametrize("source", SAME_FILE.values(), ids=list(SAME_FILE))
def test_bytes_of_every_kind_are_read(source: bytes, recwarn: pytest.WarningsRecorder) -> None:
    assert codes(source) == []
    assert not recwarn.list
    stray = source + b"\nprint()\n" if b"\r" not in source else source + b"\rprint()\r"
    assert codes(stray) == ["CG006"]


FRAGMENTS = [
    *(statement for path in CASES for statement in re.split(rb"(?<=\n)(?=\S)", path.read_bytes())),
    *(
        b"\0",
        b"\xff",
        b"\r",
        b"\t",
        b"\x0c",
        b"\\",
        b"'''",
        b"(" * 300,
        b"lambda: " * 200,
        b"#noqa",
    ),
    *(
        b"# coding: utf-7\n",
        b"# coding: utf-16\n",
        b"\xef\xbb\xbf",
        "é×\u2028".encode(),
        b"match x:\n",
    ),
    *(
        b" case _: pass\n",
        b"type X = int\n",
        b"f'{x!r:>{y}}'\n",
        b"@",
        b"async ",
        b"global torch\n",
    ),
]


def assert_sound(source: bytes) -> None:
    """Whatever the bytes, findings in order, inside the file, of known rules, and the same again."""
    findings = check(source)
    assert findings == check(source)
    assert all(f.code in RULES and f.message and "\n" not in f.message for f in findings)
    assert [(f.line, f.column) for f in findings] == sorted((f.line, f.column) for f in findings)
    lines = len(re.split(rb"\r\n|\r|\n", source))
    assert all(1 <= f.line <= lines + 1 and f.column >= 1 for f in findings)
    if [f.code for f in findings] != ["CG000"]:
        assert ast.parse(source)


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12).map(b"".join))
@settings(max_examples=300, deadline=None)
def test_fragments_of_kernel_files_are_checked_without_a_crash(source: bytes) -> None:
    assert_sound(source)


@given(st.binary(max_size=400))
@example(b"# coding: unicode_escape\nx='\\udc80'")
@example(b"# coding: idna\n\xff")
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_checked_without_a_crash(source: bytes) -> None:
    assert_sound(source)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_kernel_files_are_checked_without_a_crash(data: st.DataObject) -> None:
    source = data.draw(st.sampled_from(CASES)).read_bytes()
    at = data.draw(st.integers(0, len(source)))
    cut = data.draw(st.integers(0, 40))
    assert_sound(source[:at] + data.draw(st.binary(max_size=8)) + source[at + cut :])
