"""What is found and read. The rows are written as people write configs; the ids say what each is about."""

import subprocess
import sys

import pytest

from codegen.config import Config, Source
from codegen.outcome import BadInput
from codegen.sites import find_sites

IMPORTS = "import itertools\nimport os\nimport triton\nimport triton.language as tl\n"
KERNEL = "@triton.jit\ndef kernel(x_ptr, n):\n    pass\n"


def site(prelude, configs, autotune="triton.autotune", imports=IMPORTS, kernel=KERNEL):
    source = f"{imports}{prelude}@{autotune}(configs={configs}, key=['n'])\n{kernel}"
    (found,) = find_sites(source.encode())
    return found


def rows(table):
    return [pytest.param(*row, id=name) for name, *row in table]


# Each config is shown as `Config.__str__` does: sizes, warps, stages; a default stands for one left out.
SETTLED = [
    ("a literal list", "", "[triton.Config({'M': 64, 'N': 32}, num_warps=8)]", "inline list",
     ["64,32 warps=8 stages=3"]),
    ("arguments by position", "", "[triton.Config({'M': 64}, 8, 4)]", "inline list",
     ["64 warps=8 stages=4"]),
    ("a dict call, kwargs by keyword", "", "[triton.Config(kwargs=dict(M=64), num_stages=1)]", "inline list",
     ["64 warps=4 stages=1"]),
    ("no meta-parameters", "", "[triton.Config({}, num_warps=w) for w in [1, 32]]", "comprehension",
     ["- warps=1 stages=3", "- warps=32 stages=3"]),
    ("arithmetic on literals", "", "[triton.Config({'M': 2 ** 6, 'N': 0x10 << 1})]", "inline list",
     ["64,32 warps=4 stages=3"]),
    ("a constant by name", "M = 64\n", "[triton.Config({'M': M})]", "inline list", ["64 warps=4 stages=3"]),
    ("a dict unpacked", "BASE = {'M': 64}\n", "[triton.Config({**BASE, 'N': 32}, **dict(num_warps=2))]",
     "inline list", ["64,32 warps=2 stages=3"]),
    ("several fors and an if", "",
     "[triton.Config({'M': m, 'N': n}) for m in (16, 32) for n in [32, 64] if m != n]", "comprehension",
     ["16,32 warps=4 stages=3", "16,64 warps=4 stages=3", "32,64 warps=4 stages=3"]),
    ("tuple targets over a name", "PAIRS = [(64, 4), (128, 8)]\n",
     "[triton.Config({'M': m}, num_warps=w) for m, w in PAIRS]", "comprehension",
     ["64 warps=4 stages=3", "128 warps=8 stages=3"]),
    ("itertools.product", "",
     "[triton.Config({'M': m}, num_stages=s) for m, s in itertools.product([16], range(1, 3))]",
     "comprehension", ["16 warps=4 stages=1", "16 warps=4 stages=2"]),
    ("a product kept in a local name",
     "def make():\n    all = itertools.product([1], [2])\n    return [triton.Config({'M': m}, n) for m, n in all]\n",
     "make()", "factory in this file", ["1 warps=2 stages=3"]),
    ("a factory that appends in loops, with arguments and defaults",
     "def make(sizes, warps=(2, 4), *, most=64):\n"
     "    found = []\n"
     "    for m in sizes:\n"
     "        if m > most:\n"
     "            break\n"
     "        for w in warps:\n"
     "            found.append(triton.Config({'M': m}, num_warps=w))\n"
     "    found += [triton.Config({'M': 1})]\n"
     "    return found\n",
     "make([32, 64, 128], warps=[8])", "factory in this file",
     ["32 warps=8 stages=3", "64 warps=8 stages=3", "1 warps=4 stages=3"]),
    ("a factory with several returns",
     "def make(mode):\n    if mode == 'fast':\n        return [triton.Config({'M': 1})]\n"
     "    return [triton.Config({'M': 2})]\n",
     "make('slow')", "factory in this file", ["2 warps=4 stages=3"]),
    ("a helper for one config", "def one(m, w=4):\n    return triton.Config({'M': m}, num_warps=w)\n",
     "[one(8), one(16, w=2)]", "inline list", ["8 warps=4 stages=3", "16 warps=2 stages=3"]),
    ("a function called like the class",
     "def Config(m):\n    return triton.Config({'M': m}, num_warps=1)\n", "[Config(8)]", "inline list",
     ["8 warps=1 stages=3"]),
    ("a name", "CONFIGS = [triton.Config({'M': 8})]\n", "CONFIGS", "name", ["8 warps=4 stages=3"]),
    ("a name that += and append and a loop change",
     "CONFIGS = [triton.Config({'M': 8})]\nCONFIGS += [triton.Config({'M': 16})]\n"
     "CONFIGS.append(triton.Config({'M': 32}))\nfor w in (1, 2):\n    CONFIGS.append(triton.Config({}, w))\n",
     "CONFIGS", "name changed on the way",
     ["8 warps=4 stages=3", "16 warps=4 stages=3", "32 warps=4 stages=3", "- warps=1 stages=3",
      "- warps=2 stages=3"]),
    ("a name under a condition on the platform",
     "if triton.is_hip():\n    CONFIGS = []\nelse:\n    CONFIGS = [triton.Config({'M': 8})]\n", "CONFIGS",
     "name bound under conditions", ["8 warps=4 stages=3"]),
    ("a name that is read twice", "CONFIGS = [triton.Config({'M': 8})]\nprint(CONFIGS)\n", "CONFIGS",
     "shared name", ["8 warps=4 stages=3"]),
    ("a name bound twice", "C = [triton.Config({'M': 8})]\nC = C + C\n", "C", "name bound more than once",
     ["8 warps=4 stages=3", "8 warps=4 stages=3"]),
    ("a sum", "C = [triton.Config({'M': 8})]\n", "C + [triton.Config({'M': 16})]", "sum of lists",
     ["8 warps=4 stages=3", "16 warps=4 stages=3"]),
    ("a filter", "def keep(c):\n    return c.kwargs['M'] > 8 or c.num_warps == 2\n",
     "list(filter(keep, [triton.Config({'M': m}, num_warps=w) for m in [8, 16] for w in [2, 4]]))", "filter",
     ["8 warps=2 stages=3", "16 warps=2 stages=3", "16 warps=4 stages=3"]),
    ("starred elements", "C = [triton.Config({'M': 8})]\n", "[*C, triton.Config({'M': 16})]",
     "list with starred elements", ["8 warps=4 stages=3", "16 warps=4 stages=3"]),
    ("an empty list", "", "[]", "empty list", []),
    ("a choice by platform", "", "[triton.Config({'M': 8})] if triton.is_hip() else [triton.Config({'M': 16})]",
     "conditional", ["16 warps=4 stages=3"]),
    ("a choice by torch.version.hip", "import torch\n",
     "[triton.Config({'M': m}) for m in ([8] if torch.version.hip is not None else [16])]", "comprehension",
     ["16 warps=4 stages=3"]),
    ("a choice by the driver's backend",
     "def is_hip():\n    return triton.runtime.driver.active.get_current_target().backend == 'hip'\n",
     "[] if is_hip() else [triton.Config({'M': 16})]", "conditional", ["16 warps=4 stages=3"]),
    ("a dict of lists", "C = {'fwd': [triton.Config({'M': 8})], 'bwd': []}\n", "C['fwd']", "expression",
     ["8 warps=4 stages=3"]),
    ("a slice", "C = [triton.Config({'M': m}) for m in range(9)]\n", "C[:2]", "expression",
     ["0 warps=4 stages=3", "1 warps=4 stages=3"]),
    ("an alias of the class", "C = triton.Config\n", "[C({'M': 8})]", "inline list", ["8 warps=4 stages=3"]),
    ("a value by an index that is not known", "from other import cap\nW = {80: 4, 90: 8}\n",
     "[triton.Config({'M': 8}, num_warps=W[cap()])]", "inline list", ["8 warps=W[cap()] stages=3"]),
    ("a function defined in the only branch that has it, under a condition that is not known",
     "from other import available\nif available():\n    def make():\n        return [triton.Config({'M': 8})]\n",
     "make()", "factory in this file", ["8 warps=4 stages=3"]),
    ("a name bound where nothing in the handlers binds it",
     "try:\n    C = [triton.Config({'M': 8})]\nexcept ImportError:\n    pass\n", "C", "name", ["8 warps=4 stages=3"]),
    ("one of AMD's architectures", "from other import is_gfx95\n",
     "[*([triton.Config({'M': 1})] if is_gfx95() else []), triton.Config({'M': 8})]", "list with starred elements",
     ["8 warps=4 stages=3"]),
    ("a function with some of its arguments given",
     "from functools import partial\ndef keep(most, c):\n    return c.kwargs['M'] < most\n",
     "list(filter(partial(keep, 10), [triton.Config({'M': m}) for m in [8, 16]]))", "filter",
     ["8 warps=4 stages=3"]),
    ("a value chosen by a loop's variable",
     "from other import clear\ndef one(m):\n"
     "    return triton.Config({'M': m}, pre_hook=clear(*[f'C{i}' for i in (1, 2)]) if m > 8 else None)\n",
     "[one(m) for m in (8, 16)]", "comprehension", ["8 warps=4 stages=3", "16 warps=4 stages=3"]),
    ("a list of 36", "", f"[{', '.join(f'triton.Config({{}}, num_stages={n})' for n in range(1, 37))}]", "inline list",
     [f"- warps=4 stages={n}" for n in range(1, 37)]),
    ("a value that is no literal", "from other import W\n",
     "[triton.Config({'T': tl.float16}, num_warps=W, num_stages=4 if triton.is_hip() else 2)]", "inline list",
     ["tl.float16 warps=W stages=4 if triton.is_hip() else 2"]),
    ("NUM_STAGES in the dict, which is the kernel's own", "", "[triton.Config({'NUM_STAGES': 5, 'num_warps': 2})]",
     "inline list", ["5,2 warps=4 stages=3"]),
]  # fmt: skip


@pytest.mark.parametrize(("prelude", "configs", "form", "shown"), rows(SETTLED))
def test_settled_by_the_file_alone(prelude, configs, form, shown):
    found = site(prelude, configs)
    assert (found.form, found.unsettled) == (form, None)
    assert [str(config) for config in found.configs] == shown


def test_everything_that_is_written_is_kept():
    found = site(
        "def hook(nargs):\n    pass\n",
        "[triton.Config({'M': 64, 'EVEN': True, 'S': 'x'}, num_stages=None, num_ctas=2, maxnreg = N,"
        " pre_hook=hook), triton.Config({'F': -1.5}, pre_hook=lambda a: a.clear(),\n"
        "    ir_override=('a'\n 'b'))]",
    )
    assert found.configs == (
        Config(
            (("M", 64), ("EVEN", True), ("S", "x")),
            num_stages=Source("None"),
            extra=(("num_ctas", "2"), ("maxnreg", "N"), ("pre_hook", "hook")),
        ),
        Config(
            (("F", -1.5),),
            extra=(("pre_hook", "lambda a: a.clear()"), ("ir_override", "'a' 'b'")),
        ),
    )


FACTORY = "def make():\n    {}\n"

UNSETTLED = [
    ("an imported factory", "from other import make\n", "make(1)", "line 6: `make` is not known in this file"),
    ("a method of an imported module", "import other\n", "other.make('x')",
     "line 6: `other.make` is not known in this file"),
    ("an imported name", "from other import CONFIGS\n", "CONFIGS", "line 6: `CONFIGS` is not known in this file"),
    ("a builtin that is not followed", "", "[triton.Config({'M': m}) for m in vars()]",
     "`vars` is more than is followed"),
    ("imported values", "from other import WARPS\n", "[triton.Config({}, num_warps=w) for w in WARPS]",
     "line 6: `WARPS` is not known in this file"),
    ("the environment", "", "[triton.Config({'M': m}) for m in os.environ['M']]",
     "line 5: `os.environ` is not known in this file"),
    ("a name that nothing binds", "", "[triton.Config({'M': m}) for m in SIZES]",
     "nothing in this file binds `SIZES`"),
    ("a list that a function changes", "C = []\ndef more():\n    C.append(triton.Config({}))\nmore()\n", "C",
     "`C` is changed inside a function"),
    ("a list that is changed under another name", "C = []\nD = C\nD.append(triton.Config({}))\n", "C",
     "`C` is changed under another name"),
    ("a dict that a config already holds",
     "def make():\n    m, found = {}, []\n    for x in (1, 2):\n        m['M'] = x\n"
     "        found.append(triton.Config(m))\n    return found\n",
     "make()", "line 8: `m['M']` changes what something else may hold"),
    ("a config changed after it is made",
     "def make():\n    c = triton.Config({'M': 1})\n    c.kwargs['M'] = 2\n    return [c]\n", "make()",
     "line 7: `c.kwargs['M']` changes what something else may hold"),
    ("an iterator that others may go through", "P = itertools.product([1], [2])\n",
     "[triton.Config({'M': m}, n) for m, n in P]", "an iterator, which others may go through"),
    ("an iterator gone through twice",
     "def make():\n    p = itertools.product([1])\n    n = len(list(p))\n"
     "    return [triton.Config({'M': m}) for m, in p]\n",
     "make()", "an iterator is gone through twice"),
    ("the order of a set", "", "[triton.Config({'M': m}) for m in {3, 1}]",
     "line 5: `{3, 1}` would fail: the order of a set is not known"),
    ("recursion", "def make(n):\n    return make(n + 1)\n", "make(0)", "line 6: `make(n + 1)` calls too deep to follow"),
    ("a loop without an end", "def make():\n    while True:\n        pass\n", "make()",
     "line 6: `True` takes too long to follow"),
    ("a list without an end", "", "[triton.Config({'M': m}) for m in range(10 ** 12)]",
     "line 5: `range(10 ** 12)` would fail: more than 20000 items"),
    ("a number without an end", "", "[triton.Config({'M': m}) for m in [9 ** 9 ** 9]]",
     "line 5: `9 ** 9 ** 9` would fail: a number too large"),
    ("something that is no list of configs", "", "[1]", "line 5: `[1]` is no list of Configs"),
    ("code that would fail", "C = [][0]\n", "C", "line 5: `[][0]` would fail: list index out of range"),
]  # fmt: skip


@pytest.mark.parametrize(("prelude", "configs", "reason"), rows(UNSETTLED))
def test_not_settled_by_the_file_alone(prelude, configs, reason):
    found = site(prelude, configs)
    assert (found.configs, found.unsettled, found.refusal) == (None, reason, None)


WHOLE = "which configs there are depends on more than this file: "
DO = "; write the list for this GPU at the decorator"

REFUSED = [
    ("a comprehension over a choice by platform", "",
     "[triton.Config({'M': m}) for m in ([8] if triton.is_hip() else [16])]", "line 5: `triton.is_hip()`"),
    ("a constant that depends on the platform", "from other import is_amd\nW = [1] if is_amd else [2]\n",
     "[triton.Config({'M': m}) for m in W]", "line 6: `is_amd`"),
    ("a choice by the card", "from other import is_hopper\n",
     "[triton.Config({})] if is_hopper() else []", "line 6: `is_hopper` is not known in this file"),
    ("a choice by the environment", "", "[triton.Config({})] if os.environ.get('X') else []",
     "line 5: `os.environ.get` is not known in this file"),
    ("a try statement", "try:\n    C = [triton.Config({})]\nexcept Exception:\n    C = []\n", "C",
     "line 5: a try statement"),
    ("a name bound in one branch, or brought by a star",
     "from other import *\nif os.path.exists('x'):\n    C = [triton.Config({})]\n", "C",
     "line 6: `os.path.exists` is not known in this file"),
    ("a try that may end between two statements",
     "try:\n    C = [triton.Config({})]\n    C = C + C\nexcept ImportError:\n    pass\n", "C",
     "line 5: a try statement"),
    ("a choice by an index", "from other import cap\nC = {80: [triton.Config({})], 90: []}\n", "C[cap()]",
     "line 7: `cap` is not known in this file"),
    ("a choice by get", "from other import cap\nC = {80: [1], 90: [2]}\n",
     "[triton.Config({'M': m}) for m in C.get(cap(), [])]", "line 7: `cap` is not known in this file"),
    ("a condition behind what is not known", "from other import make\n",
     "make() + ([] if triton.is_hip() else [triton.Config({})])", "line 6: `triton.is_hip()`"),
    ("a shared factory that chooses by platform",
     "def make():\n    if triton.is_hip():\n        return []\n    return [triton.Config({})]\nmake()\n", "make()",
     "line 6: `triton.is_hip()`"),
]  # fmt: skip


@pytest.mark.parametrize(("prelude", "configs", "reason"), rows(REFUSED))
def test_refused_with_the_reason(prelude, configs, reason):
    assert site(prelude, configs).refusal == f"{WHOLE}{reason}{DO}"


def test_a_parameter_of_the_function_around_the_kernel_is_refused():
    source = (
        "import triton\n"
        "def build(sizes):\n"
        "    @triton.autotune([triton.Config({'M': m}) for m in sizes], ['n'])\n"
        "    @triton.jit\n"
        "    def kernel(n):\n"
        "        pass\n"
    )
    (found,) = find_sites(source.encode())
    assert found.refusal == f"{WHOLE}`sizes` is a parameter of build{DO}"


SPELLINGS = [
    ("plain", "import triton", "triton.autotune", "triton.Config", "triton.jit"),
    ("an alias", "import triton as tr", "tr.autotune", "tr.Config", "tr.jit"),
    ("names", "from triton import autotune, Config, jit as j", "autotune", "Config", "j"),
    ("the module itself", "import triton\nfrom triton.runtime.autotuner import Config",
     "triton.runtime.autotuner.autotune", "Config", "triton.jit"),
    ("a shim's triton", "from .compat import triton", "triton.autotune", "triton.Config", "triton.jit"),
    ("a star", "from triton import *", "autotune", "Config", "jit"),
    ("jit with arguments", "import triton", "triton.autotune", "triton.Config",
     "triton.jit(do_not_specialize=['n'])"),
    ("heuristics between", "import triton", "triton.autotune", "triton.Config",
     "triton.heuristics({'E': lambda a: 1})\n@triton.jit"),
    ("gluon", "import triton\nfrom triton.experimental import gluon", "triton.autotune", "triton.Config", "gluon.jit"),
    ("a project's wrapper", "import triton\nfrom p import libtuner", "libtuner", "triton.Config", "triton.jit"),
    ("a project's cache", "import triton\nfrom p import fla_cache_autotune", "fla_cache_autotune",
     "triton.Config", "triton.jit"),
    ("a project's module", "import triton\nfrom p import custom_autotune", "custom_autotune.autotune",
     "triton.Config", "triton.jit"),
]  # fmt: skip


@pytest.mark.parametrize(("imports", "autotune", "config", "jit"), rows(SPELLINGS))
def test_any_spelling_of_the_imports(imports, autotune, config, jit):
    kernel = f"@{jit}\ndef kernel(n):\n    pass\n"
    found = site("", f"[{config}({{'M': 8}})]", autotune, imports + "\n", kernel)
    assert found.configs == (Config((("M", 8),)),)
    assert found.refusal is None


NO_SITES = [
    ("text in a string", 's = """\n@triton.autotune(configs=[], key=[])\n@triton.jit\ndef f(): pass\n"""\n'),
    ("a comment", "# @triton.autotune(configs=[])\n"),
    ("another library's autotune", "import tilelang\n@tilelang.autotune(configs=[])\n@tilelang.jit\ndef f(): pass\n"),
    ("a call of something else", "import flashinfer\nwith flashinfer.autotune(True):\n    pass\n"),
    ("a decorator with configs over no kernel", "@app.route(configs=[])\ndef autotune(): pass\n"),
    ("nothing at all", ""),
]  # fmt: skip


@pytest.mark.parametrize("source", rows(NO_SITES))
def test_no_site(source):
    assert find_sites(source.encode()) == ()


def test_where_it_stands_and_what_is_around():
    source = (
        "import triton\n"
        "class Outer:\n"
        "    if True:\n"
        "        @staticmethod\n"
        "        @ triton.autotune(configs=[], key=['é', 'n'], restore_value=['x'], reset_to_zero=[])\n"
        "        @triton.heuristics({})\n"
        "        @triton.jit(\n"
        "            debug=True,\n"
        "        )\n"
        "        def inner(n): pass\n"
    )
    (found,) = find_sites(source.encode())
    assert (found.kernel, found.line, found.column) == ("inner", 5, 9)
    assert found.key == ("é", "n")
    assert found.resets == ("restore_value",)
    assert found.above == ("staticmethod",)
    assert found.between == ("triton.heuristics({})",)
    assert found.jit == "triton.jit(debug=True)"


APPLIED = [
    ("to a name", "tuned = triton.autotune(configs=[], key=[])(kernel)\n", "kernel"),
    ("to a call of jit", "tuned = triton.autotune(configs=[], key=[])(triton.jit(plain))\n", "plain"),
    ("to a name for heuristics",
     "h = triton.heuristics({})(kernel)\nt = triton.autotune(configs=[], key=[])(h)\n", "kernel"),
    ("inside heuristics", "t = triton.heuristics({})(triton.autotune(configs=[], key=[])(kernel))\n", "kernel"),
    ("in another's decorator", "@triton.autotune(configs=[], key=[])(kernel)\nclass Holder: pass\n", "kernel"),
    ("as a decorator with a name",
     "tuned = triton.autotune(configs=[], key=[])\n@tuned\n@triton.jit\ndef other(n): pass\n", "other"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "kernel"), rows(APPLIED))
def test_applied_as_a_function(code, kernel):
    source = f"import triton\ndef plain(n): pass\n{KERNEL}{code}"
    (found,) = find_sites(source.encode())
    assert (found.kernel, found.refusal) == (kernel, None)


def test_over_a_host_function_it_is_reported():
    source = "import triton\n@triton.autotune(configs=[], key=[])\ndef launch(n): pass\n"
    (found,) = find_sites(source.encode())
    assert found.refusal == "no triton.jit beneath: launch is a host function"


def test_a_wrapper_s_positional_argument_that_is_no_config_list_is_left_alone():
    source = "import triton\nfrom p import my_autotune\n@my_autotune(['n'], x)\n" + KERNEL
    (found,) = find_sites(source.encode())
    assert found.refusal == "which argument of this decorator holds the configs is not known"


UNREADABLE = [
    ("not UTF-8", b"# autotune \xff", "can't be decoded: "),
    ("UTF-16", "autotune".encode("utf-16"), "not Python source: it has NUL bytes"),
    ("NUL bytes", b"autotune\0", "not Python source: it has NUL bytes"),
    ("an unknown encoding", b"# coding: nonsense\nautotune", "can't be decoded: unknown encoding: nonsense"),
    ("a text transform for an encoding", b"# coding: rot13\nautotune", "can't be decoded: "),
    ("an encoding that can't be written back", b"# coding: unicode_escape\n'\\d' autotune",
     "can't be written back exactly in its encoding, unicode_escape"),
    ("a mark and a cookie that disagree", b"\xef\xbb\xbf# coding: latin-1\nautotune", "can't be decoded: "),
    ("a carriage return alone", b"# autotune\r\nx\ry", "line 2: a carriage return alone"),
    ("no Python", b"autotune this, please", "line 1: Python 3."),
    ("brackets too deep", b"autotune" + b"(" * 300 + b")" * 300, "line 1: Python 3."),
    ("operators too deep", b"autotune = " + b"-" * 100_000 + b"1", "nested too deeply for the parser"),
    ("attributes too deep", b"autotune" + b".a" * 100_000, "nested too deeply for the parser"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "message"), rows(UNREADABLE))
def test_what_can_t_be_read_is_refused_in_one_line(source, message):
    with pytest.raises(BadInput) as error:
        find_sites(source)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


UNSAFE = [
    ("adds atomically", "tl.atomic_add(y_ptr + n, 1.0)", "it accumulates into y_ptr with an atomic"),
    ("takes a maximum atomically", "tl.atomic_max(y_ptr + n, 1.0)", None),
    ("writes elsewhere", "tl.store(y_ptr + n, tl.load(x_ptr + n))", None),
    ("works in place", "p = x_ptr + n\n    tl.store(p, tl.load(p) + 1)", "it reads and writes x_ptr"),
    ("works in place by a moving pointer",
     "p = x_ptr\n    for i in range(n):\n        tl.store(p, 1)\n        p += 4\n        q = p\n        tl.load(q)",
     "it reads and writes x_ptr"),
    ("shares only an offset", "x_ptr += off\n    y_ptr += off\n    tl.store(y_ptr, tl.load(x_ptr))", None),
    ("accumulates into a block pointer",
     "c = tl.make_block_ptr(base=y_ptr, shape=(n,))\n    tl.store(c, tl.load(c) + tl.load(x_ptr))",
     "it reads and writes y_ptr"),
    ("works in place by a descriptor", "x_ptr.store([0], x_ptr.load([0]))", "it reads and writes x_ptr"),
    ("works in place in a helper", "helper(x_ptr + n, 1)", "it reads and writes x_ptr"),
]  # fmt: skip

HELPER = "@triton.jit\ndef helper(p, v):\n    tl.store(p, tl.load(p) + v)\n"


@pytest.mark.parametrize(("body", "reason"), rows(UNSAFE))
def test_a_single_config_that_must_stay_single(body, reason):
    kernel = f"@triton.jit\ndef kernel(x_ptr, y_ptr, n, off):\n    {body}\n"
    single = "[triton.Config({'M': 8})]"
    wanted = (Config((), 2), Config((), 4))
    one = site(HELPER, single, kernel=kernel)
    unsafe = one.why_one(one.configs, wanted)
    assert unsafe is None if reason is None else unsafe.startswith(reason)
    double = "[triton.Config({'M': 8}), triton.Config({'M': 16})]"
    two = site(HELPER, double, kernel=kernel)
    assert two.why_one(two.configs, wanted) is None
    reset = f"{single}, reset_to_zero=['y_ptr']"
    assert site(HELPER, reset, kernel=kernel).why_one((Config(()),), wanted) is None


def test_reading_needs_neither_triton_nor_libcst():
    code = (
        "import sys, codegen.sites; assert not {'torch', 'triton', 'libcst'} & set(sys.modules);"
        "import codegen.rewrite; assert not {'torch', 'triton'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
