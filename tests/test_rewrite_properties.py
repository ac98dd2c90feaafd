"""Any file, with any mix of the ways to write configs: what is read is what Python gets by running it, what
is written is what Python gets then, and nothing else changes.

A few hundred examples in the suite; `EXAMPLES=20000 pytest tests/test_rewrite_properties.py` tries 20,000 for
each property, in 40 minutes of one core.
"""

import functools
import os
import sys
from types import ModuleType, SimpleNamespace
from typing import NamedTuple
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codegen.config import Config, Source
from codegen.outcome import BadInput, Refused
from codegen.rewrite import replace_configs
from codegen.sites import find_sites

EXAMPLES = int(os.environ.get("EXAMPLES", "300"))

pytestmark = pytest.mark.timeout(EXAMPLES)  # seconds, for one property

IMPORTS = {
    "import triton": ("triton.autotune", "triton.Config", "triton.jit"),
    "import triton as tr": ("tr.autotune", "tr.Config", "tr.jit"),
    "from triton import autotune, Config, jit as j": ("autotune", "Config", "j"),
    "from triton import Config as C\nimport triton": ("triton.autotune", "C", "triton.jit"),
    "from shim import triton": ("triton.autotune", "triton.Config", "triton.jit"),
    "from wrappers import libtuner\nimport triton": ("libtuner", "triton.Config", "triton.jit"),
}


# A stand-in for triton that keeps what it is given


class FakeConfig:
    def __init__(self, kwargs, num_warps=4, num_stages=3, num_ctas=1, maxnreg=None, pre_hook=None):
        self.kwargs, self.num_warps, self.num_stages = kwargs, num_warps, num_stages
        self.num_ctas, self.maxnreg, self.pre_hook = num_ctas, maxnreg, pre_hook

    def key(self):
        hook = self.pre_hook and self.pre_hook.__name__
        return repr(
            (self.kwargs, self.num_warps, self.num_stages, self.num_ctas, self.maxnreg, hook)
        )


def run(source):
    """What each autotune in the source is given, in order, and the module's names."""
    tuned = []

    def autotune(configs, key):
        tuned.append([config.key() for config in configs])
        return lambda function: function

    triton = ModuleType("triton")
    triton.autotune, triton.Config, triton.jit = autotune, FakeConfig, lambda function: function
    triton.is_hip = lambda: False
    modules = {
        "triton": triton,
        "shim": SimpleNamespace(triton=triton),
        "wrappers": SimpleNamespace(libtuner=autotune),
    }
    names = {"__name__": "generated"}
    with mock.patch.dict(sys.modules, modules):
        exec(compile(source, "generated.py", "exec"), names)
    return tuned, names


def live(config, names):
    """What a config of ours is when it runs."""

    def value(it):
        return eval(it.text, names) if isinstance(it, Source) else it

    options = {name: eval(text, names) for name, text in config.extra}
    for name in ("num_warps", "num_stages"):
        if getattr(config, name) is not None:
            options[name] = value(getattr(config, name))
    return FakeConfig({name: value(v) for name, v in config.meta}, **options).key()


# Files: their parts as text, `style` says how their author writes


class Style(NamedTuple):
    imports: str
    autotune: str
    config: str
    jit: str
    quote: str
    unit: str  # of indentation


NUMBERS = st.sampled_from(["16", "32", "64", "128", "2 * 32", "1 << 7", "SIZE", "0x40"])
NAMES = st.sampled_from([("BLOCK",), ("BLOCK_M", "BLOCK_N"), ("BLOCK_M", "BLOCK_N", "GROUP"), ()])
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "num_warps": st.sampled_from(["1", "2", "4", "8", "4 if on_hip() else 8", "WARPS"]),
        "num_stages": st.sampled_from(["1", "2", "3", "5"]),
        "num_ctas": st.just("2"),
        "pre_hook": st.sampled_from(["hook", "lambda args: None", "None"]),
    },
)
COMMENT = st.sampled_from(["", "", "", "  # why, [and] {so} on)", "  # Config(", "  # ünï"])
ABOVE = st.sampled_from(["", "", "", "# a group", " ", "# fmt: off", "# triton.Config({}),"])

COMPREHENSIONS = [
    "[{C}({{{q}B{q}: b}}, num_warps=w) for b in [32, 64] for w in (2, WARPS)]",
    "[\n        {C}({{{q}B{q}: b, {q}K{q}: 2 * b}}, w)  # it\n        for b, w in PAIRS\n    ]",
    "[{C}({{{q}B{q}: b}}, num_stages=s) for b, s in product([16, 32], range(1, 3)) if b * s < 64]",
    "[{C}(dict(B=b), num_warps=4 if on_hip() else 2) for b in sorted({{64, 32}})]",
]


@st.composite
def config_text(draw, style, indent=None):
    """One Config call; over several lines where `indent` is given and chance has it."""
    q = style.quote
    values = [(name, draw(NUMBERS)) for name in draw(NAMES)]
    if draw(st.booleans()):
        values.append(("EVEN", draw(st.sampled_from(["True", "1", f"{q}yes{q}", "None"]))))
    if draw(st.booleans()):
        meta = "{" + ", ".join(f"{q}{name}{q}: {value}" for name, value in values) + "}"
    else:
        meta = "dict(" + ", ".join(f"{name}={value}" for name, value in values) + ")"
    options = draw(OPTIONS)
    arguments = [draw(st.sampled_from(["", "", "kwargs="])) + meta]
    both = arguments[0] == meta and {"num_warps", "num_stages"} <= set(options)
    if both and draw(st.booleans()):
        arguments += [options.pop("num_warps"), options.pop("num_stages")]
    arguments += [f"{name}={options[name]}" for name in draw(st.permutations(sorted(options)))]
    if indent is None or draw(st.booleans()):
        comma = draw(st.sampled_from(["", "", "", ","]))
        return f"{style.config}({', '.join(arguments)}{comma})"
    lines = [f"{indent}{style.unit}{argument},{draw(COMMENT)}\n" for argument in arguments]
    return f"{style.config}(\n{''.join(lines)}{indent})"


@st.composite
def list_text(draw, style, indent, least=0):
    """A list display in one of the layouts that people use."""
    layout = draw(st.sampled_from(["line", "lines", "lines", "hanging", "grid", "comma first"]))
    inner = indent + style.unit
    entry = config_text(style, inner if layout in ("lines", "hanging") else None)
    entries = draw(st.lists(entry, min_size=least, max_size=4))
    if draw(st.integers(0, 9)) == 0:
        entries = [f"({text})" for text in entries]
    comma = draw(st.sampled_from(["", ","])) if entries else ""
    if layout == "hanging":
        end = draw(st.sampled_from(["]", f"\n{indent}]"]))
        return "[" + f",\n{inner}".join(entries) + comma + end
    if layout == "grid":
        rows = [", ".join(entries[i : i + 2]) for i in (0, 2) if entries[i:]]
        return f"[\n{inner}" + f",\n{inner}".join(rows) + f"{comma}\n{indent}]"
    if layout == "comma first":
        rows = [f" {text}{draw(COMMENT)}\n{inner}" for text in entries]
        return "[" + ",".join(rows) + "]"
    if layout == "line":
        return f"[{', '.join(entries)}{comma}]"

    def above():
        line = draw(ABOVE)
        return f"{inner}{line}\n" if line else ""

    text = f"[{draw(COMMENT)}\n"
    for position, entry_text in enumerate(entries):
        end = comma if position == len(entries) - 1 else ","
        text += f"{above()}{inner}{entry_text}{end}{draw(COMMENT)}\n"
    return f"{text}{above()}{indent}]"


@functools.cache  # a strategy is soon asked and long in the making
def ways_to_write(style, number):
    """Definitions and the argument `configs`, by the name of the form."""
    unit, C, name = style.unit, style.config, f"name_{number}"
    comprehensions = st.sampled_from(COMPREHENSIONS).map(lambda c: c.format(C=C, q=style.quote))
    here, outside = list_text(style, unit), list_text(style, "")
    some = list_text(style, unit, least=1)
    plain = here.filter(lambda text: "on_hip" not in text)
    looping = (
        f"def {name}(sizes, warps=(2, 4), *, hook=None):\n{unit}found = []\n"
        f"{unit}for b in sizes:\n{unit * 2}if b > 64:\n{unit * 3}continue\n"
        f"{unit * 2}found += [{C}({{'B': b}}, num_warps=w, pre_hook=hook) for w in warps]\n"
        f"{unit}return found\n"
    )
    keeping = f"def {name}(c):\n{unit}return c.num_stages < 4 and c.num_warps in (1, 2, 4)\n"
    one = f"def {name}(b, w=4):\n{unit}return {C}({{'B': b}}, num_warps=w)\n"
    growing = f"for w in (1, 2):\n{unit}{name}.append({C}({{'B': 8}}, num_warps=w))\n"
    chosen = f"def {name}():\n{unit}if on_hip():\n{unit * 2}return []\n{unit}return "

    def way(build, *parts):
        return st.builds(build, *parts)

    return {
        "list": way(lambda text: ("", text), here),
        "comprehension": way(lambda text: ("", text), comprehensions),
        "name": way(lambda text: (f"{name} = {text}\n", name), st.one_of(outside, comprehensions)),
        "changed name": way(
            lambda a, b: (f"{name} = {a}\n{name} += {b}\n{growing}", name), outside, outside
        ),
        "factory": way(
            lambda text: (f"def {name}():\n{unit}return {text}\n", f"{name}()"),
            st.one_of(here, comprehensions),
        ),
        "factory with arguments": way(
            lambda given: (looping, f"{name}({given})"),
            st.sampled_from(["[16, 64, 128]", "(SIZE,), hook=hook"]),
        ),
        "sum": way(lambda a, b: ("", f"{a} + {b}"), some, comprehensions),
        "starred": way(
            lambda a, b: (f"{name} = {a}\n", f"[*{name}, {b}]"), outside, config_text(style)
        ),
        "filter": way(lambda text: (keeping, f"list(filter({name}, {text}))"), plain),
        "conditional": way(lambda a, b: ("", f"{a} if not on_hip() else {b}"), some, some),
        "branches": way(lambda text: (f"{chosen}{text}\n", f"{name}()"), some),
        "helper": way(
            lambda text: (one, f"[{name}(16), {name}(32, w=2), {text}]"), config_text(style)
        ),
    }


@st.composite
def unit_text(draw, style, number):
    """Definitions, and one or two tuned kernels that use them."""
    ways = ways_to_write(style, number)
    form = draw(st.sampled_from([*ways, "list", "list"]))
    before, value = draw(ways[form])
    copies = draw(st.integers(1, 2)) if form == "name" else 1
    return before + "".join(draw(kernel_text(style, number, value, i)) for i in range(copies))


@st.composite
def kernel_text(draw, style, number, value, copy):
    key = f"[{style.quote}n{style.quote}]"
    ways = [
        f"@{style.autotune}(\n{style.unit}configs={value},\n{style.unit}key={key},\n)\n",
        f"@{style.autotune}(configs={value}, key={key})\n",
    ]
    if style.autotune != "libtuner":
        ways.append(f"@{style.autotune}({value}, {key})\n")
    body = f"{style.unit}'''a triton.autotune(configs=[]) in a string'''\n"
    head = f"@{style.jit}\ndef kernel_{number}_{copy}(x, n):\n"
    return f"{draw(st.sampled_from(ways))}{head}{body}\n"


@st.composite
def files(draw):
    """A file in pieces, one for each of its kernels after the first."""
    imports, names = draw(st.sampled_from(list(IMPORTS.items())))
    quote, unit = draw(st.sampled_from("'\"")), draw(st.sampled_from(["    ", "  ", "\t"]))
    style = Style(imports, *names, quote, unit)
    head = f"{imports}\nfrom itertools import product\nfrom triton import is_hip as on_hip\n"
    head += "SIZE = 32\nWARPS = 4\nPAIRS = [(16, 2), (64, 4)]\ndef hook(args):\n    pass\n"
    units = [head] + [draw(unit_text(style, n)) for n in range(draw(st.integers(1, 3)))]
    if draw(st.booleans()):
        units[-1] = units[-1].rstrip("\n")
    ends = draw(st.sampled_from([["\n"], ["\n"], ["\r\n"], ["\n", "\r\n", "\n"]]))
    bom = draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"]))
    pieces = [with_line_ends(text, ends).encode() for text in units]
    return [bom + pieces[0], *pieces[1:]]


def with_line_ends(text, ends):
    first, *rest = text.split("\n")
    return first + "".join(ends[i % len(ends)] + line for i, line in enumerate(rest))


@st.composite
def changed(draw, configs):
    """Another list: some of it, in some order, with neighbours and strangers."""
    kept = draw(st.permutations(configs))[: draw(st.integers(0, len(configs)))]
    new = [
        draw(st.sampled_from(kept or list(configs))).with_knobs(w, s)
        for w, s in draw(st.lists(st.sampled_from([(2, 2), (8, 4), (4, 3)]), max_size=2))
        if kept or configs
    ]
    strangers = st.sampled_from(
        [
            Config((("BLOCK", 256),), 16, 2),
            Config((("B", 8), ("EVEN", False), ("S", "a'b")), None, 7, (("num_ctas", "4"),)),
            Config((), 1, None),
        ]
    )
    new += draw(st.lists(strangers, max_size=2))
    result = draw(st.permutations([*kept, *new]))
    return result or [Config((("BLOCK", 512),))]


unhurried = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@unhurried
@given(files())
def test_what_is_read_is_what_python_gets_by_running_it(pieces):
    source = b"".join(pieces)
    tuned, names = run(source)
    sites = find_sites(source)
    assert [site.refusal for site in sites] == [None] * len(tuned)
    for site, configs in zip(sites, tuned, strict=True):
        assert [live(config, names) for config in site.configs] == configs
    same = {index: site.configs for index, site in enumerate(sites)}
    assert replace_configs(source, same) == source


@unhurried
@given(st.data())
def test_what_is_written_is_what_python_gets_then(data):
    pieces = data.draw(files())
    source = b"".join(pieces)
    sites = find_sites(source)
    index = data.draw(st.integers(0, len(sites) - 1))
    wanted = data.draw(changed(sites[index].configs))
    at_definition = data.draw(st.booleans())

    try:
        result = replace_configs(source, {index: wanted}, at_definition)
    except Refused as refusal:
        assert at_definition and "used here alone" in str(refusal)
        return

    before, names = run(source)
    after, _ = run(result)
    assert after[index] == [live(config, names) for config in wanted]
    assert after[:index] + after[index + 1 :] == before[:index] + before[index + 1 :]
    kernel = sites[index].kernel.split("_")[1]
    unit = int(kernel) + 1
    assert result.startswith(b"".join(pieces[:unit]))
    assert result.endswith(b"".join(pieces[unit + 1 :]))
    if source.count(b"\r\n") in (0, source.count(b"\n")):
        assert result.count(b"\r\n") in (0, result.count(b"\n"))
    assert replace_configs(result, {index: wanted}, at_definition) == result


JUNK = [
    *(b"(", b")", b"[", b"]", b"{", b"}", b",", b"#", b"'", b'"', b"'''", b"\n", b"\\", b"\r", b"\0"),
    *(b"*", b"**", b" if x else ", b"lambda: ", b"\xff", b"\t", b"for b in ", b":=", b"=", b"9**9**9"),
    *(b"\f", b"None", b"...", b"f'{", b"class ", b"def ", b"return ", b"yield ", b"@", b";", b"not "),
    *(b"triton.Config", b"@triton.autotune(configs=[])", b"import triton", b"on_hip()", b"global SIZE"),
]  # fmt: skip


@unhurried
@given(
    files(),
    st.lists(st.tuples(st.integers(0), st.integers(0, 9), st.sampled_from(JUNK)), max_size=4),
)
def test_a_mangled_file_is_refused_in_one_line_or_handled_right(pieces, cuts):
    source = b"".join(pieces)
    for place, length, junk in cuts:
        at = place % (len(source) + 1)
        source = source[:at] + junk + source[at + length :]
    try:
        for index, site in enumerate(find_sites(source)):
            wanted = [Config((("BLOCK", 64),), 2), *(site.configs or ())]
            replace_configs(source, {index: wanted})  # with its checks
    except (BadInput, Refused) as refusal:
        assert "\n" not in str(refusal)
