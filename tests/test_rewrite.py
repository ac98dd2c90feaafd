"""Each file in cases/rewrite is a source before and after a change, or with the reason for none.

The `set` section is the list of configs to write, in Python, where `c` is the list that was there; or a
dict of such lists by the site's index, where `c[i]` is the list of site i.
"""

from pathlib import Path

import pytest

from codegen.config import Config, Source
from codegen.outcome import BadInput, Refused
from codegen.rewrite import GuardFailed, left_over, replace_configs
from codegen.sites import find_sites

CASES = sorted((Path(__file__).parent / "cases" / "rewrite").glob("*.txt"))


def sections(path: Path) -> dict[str, str]:
    title, *parts = path.read_bytes().decode().split("=== ")
    pairs = (part.split("\n", 1) for part in parts)
    return {"title": title.strip(), **{name.strip(): text for name, text in pairs}}


def wanted(source: bytes, expression: str) -> dict[int, list[Config]]:
    before = [site.configs for site in find_sites(source)]
    c = before[0] if len(before) == 1 else before
    value = eval(expression, {"Config": Config, "Source": Source, "c": c})
    return value if isinstance(value, dict) else {0: value}


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path):
    case = sections(path)
    before = case["before"].encode()
    changes = wanted(before, case["set"])
    if "refused" in case:
        with pytest.raises(Refused) as refusal:
            replace_configs(before, changes)
        assert str(refusal.value) == case["refused"].strip()
        return
    assert replace_configs(before, changes).decode() == case["after"]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_writing_the_configs_that_are_there_changes_no_byte(path):
    before = sections(path)["before"].encode()
    same = {i: s.configs for i, s in enumerate(find_sites(before)) if s.configs is not None}
    assert replace_configs(before, same) == before


PLAIN = """\
import triton

@triton.autotune(
    configs=[
        # é
        triton.Config({'BLOCK': 64}, num_warps=4),  # ü
        triton.Config(
            {'BLOCK': 128},
            num_warps=8,
        ),
    ],
    key=['n'],
)
@triton.jit
def kernel(n, BLOCK):
    pass
"""

RESULT = PLAIN.replace(
    "    ],\n    key",
    """\
        triton.Config({'BLOCK': 64}, num_warps=2),
        triton.Config(
            {'BLOCK': 128},
            num_warps=2,
            num_stages=2,
        ),
    ],
    key""",
)

BYTES = {
    "LF": lambda text: text.encode(),
    "CR LF": lambda text: text.replace("\n", "\r\n").encode(),
    "a byte order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "a byte order mark and CR LF": lambda text: b"\xef\xbb\xbf"
    + text.replace("\n", "\r\n").encode(),
    "no end of line at the end": lambda text: text.rstrip("\n").encode(),
    "tabs": lambda text: text.replace("    ", "\t").encode(),
    "an encoding declared": lambda text: b"# -*- coding: latin-1 -*-\n" + text.encode("latin-1"),
    "one CR LF among LF": lambda text: text.replace(
        "import triton\n", "import triton\r\n"
    ).encode(),
    "a form feed": lambda text: text.replace("\n@triton.autotune", "\f\n@triton.autotune").encode(),
    "characters of several bytes before": lambda text: ("s = '日本語', '\u2028'; " + text).encode(),
    "a line with spaces at its end": lambda text: text.replace("8,\n", "8,   \n", 1).encode(),
}


@pytest.mark.parametrize("written", BYTES.values(), ids=BYTES)
def test_bytes_in_bytes_out(written):
    first, second = find_sites(written(PLAIN))[0].configs
    wanted = [first, second, first.with_knobs(2, 3), second.with_knobs(2, 2)]
    assert replace_configs(written(PLAIN), {0: wanted}) == written(RESULT)


def test_an_entry_in_crlf_among_lf_keeps_its_lines():
    source = PLAIN.replace("4),  # ü\n", "4),  # ü\r\n").encode()
    first, second = find_sites(source)[0].configs
    result = replace_configs(source, {0: [second, first]})
    assert "        triton.Config({'BLOCK': 64}, num_warps=4),  # ü\r\n    ],\n".encode() in result


def test_a_list_at_its_definition():
    source = (
        b"import triton\n\n"
        b"def make():\n"
        b"    return [triton.Config({'B': b}) for b in (1, 2)]\n\n"
        b"@triton.autotune(make(), [])\n@triton.jit\ndef kernel(B):\n    pass\n"
    )
    configs = find_sites(source)[0].configs
    result = replace_configs(source, {0: configs[1:]}, at_definition=True)
    assert result == source.replace(
        b"    return [triton.Config({'B': b}) for b in (1, 2)]\n",
        b"    # was: return [triton.Config({'B': b}) for b in (1, 2)]\n"
        b"    return [\n        triton.Config({'B': 2}),\n    ]\n",
    )


def test_a_definition_that_others_use_is_not_edited():
    source = (
        b"import triton\nC = [triton.Config({})]\nprint(C)\n"
        b"@triton.autotune(C, [])\n@triton.jit\ndef kernel():\n    pass\n"
    )
    with pytest.raises(Refused, match="used here alone"):
        replace_configs(source, {0: [Config((), 1)]}, at_definition=True)


def test_what_a_rewrite_leaves_behind_is_told():
    source = (
        b"import triton\nimport itertools\nfrom other import make, used\n"
        b"@triton.autotune(make(used), [])\n@triton.jit\ndef kernel():\n    used\n"
    )
    result = replace_configs(source, {0: [Config((), 1)]})
    assert left_over(source, result) == ((3, "make"),)


GUARDS = {
    "syntax: line 3": lambda *_: "[(]",
    "syntax tree: ": lambda *_: "[], []",
    "read back: line 3": lambda *_: "[]",
}


@pytest.mark.parametrize("guard", GUARDS)
def test_a_wrong_rewrite_gets_no_further(guard, monkeypatch):
    source = (
        b"import triton\n\n@triton.autotune([triton.Config({})], [])\n@triton.jit\ndef k(): pass\n"
    )
    monkeypatch.setattr("codegen.writing._Writer.edited_list", GUARDS[guard])
    with pytest.raises(GuardFailed, match=guard):
        replace_configs(source, {0: [Config((), 8)]})


def test_true_is_not_one():
    source = b"import triton\n@triton.autotune([triton.Config({'E': True})], [])\n@triton.jit\ndef k(): pass\n"
    assert b"{'E': 1}" in replace_configs(source, {0: [Config((("E", 1),))]})


def test_a_value_given_as_source_that_the_file_settles():
    source = b"import triton\nW = 2\n@triton.autotune([triton.Config({})], [])\n@triton.jit\ndef k(): pass\n"
    wanted = Config((("M", Source("2 * 32")),), num_warps=Source("W"), extra=(("num_ctas", " 2 "),))
    result = replace_configs(source, {0: [wanted]})
    assert find_sites(result)[0].configs == (Config((("M", 64),), 2, None, (("num_ctas", "2"),)),)


def test_a_value_that_is_no_expression_is_refused():
    source = (
        b"import triton\n@triton.autotune([triton.Config({})], [])\n@triton.jit\ndef k(): pass\n"
    )
    with pytest.raises(BadInput, match=r"no Python expression: 1\), \("):
        replace_configs(source, {0: [Config((), num_warps=Source("1), ("))]})


def test_a_character_that_the_encoding_lacks_is_refused():
    source = b"# coding: latin-1\nimport triton\n@triton.autotune([triton.Config({})], [])\n@triton.jit\ndef k(): pass\n"
    with pytest.raises(BadInput, match="'日' can't be written in iso-8859-1"):
        replace_configs(source, {0: [Config((("S", "日"),))]})
