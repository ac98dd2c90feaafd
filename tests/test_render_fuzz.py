"""Records and problem files that make no sense: one line each, and no traceback."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from codegen.cli import main
from codegen.gpu import find_gpu
from codegen.interface import PLAIN_INIT, Interface
from codegen.order import check
from codegen.outcome import BadInput, Refused
from codegen.record import Record
from codegen.render import choose
from codegen.spec import Spec
from codegen.tracing import Tracer

GENERATED = Path(__file__).parent.parent / "generated"
WHOLE = [
    json.loads((GENERATED / f"{name}.json").read_text())
    for name in ("gemm_nn_bfloat16_batched_scale_residual_h200", "trimm_lower_nn_float32_rtx_4090")
]
WHOLE[1]["model"] = Interface(
    ("x",), ("x", "self.weight"), PLAIN_INIT + "    self.a = 1\n"
).to_json()

numbers = st.integers() | st.sampled_from([0, 1, -1, 2**31, 2**63, 10**400, True, 0.5, 1e308])
words = st.text(max_size=6) | st.sampled_from(
    [
        "gemm",
        "trimm",
        "nn",
        "float32",
        "lower",
        "h200",
        "scale=2",
        "bias",
        'x": 1})',
        "import",
        "self",
    ]
)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
quick = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = (
        data.items()
        if isinstance(data, dict)
        else enumerate(data) if isinstance(data, list) else ()
    )
    for key, value in inner:
        yield from places(value, (*path, key))


@st.composite
def changed(draw: Callable[..., Any]) -> Any:
    """A good record with a value replaced, or a field taken out or added."""
    data = copy.deepcopy(draw(st.sampled_from(WHOLE)))
    path = draw(st.sampled_from([each for each in places(data) if each]))
    holder = data
    for key in path[:-1]:
        holder = holder[key]
    if isinstance(holder, dict) and draw(st.booleans()):
        del holder[path[-1]]
        holder |= draw(st.dictionaries(words, values, max_size=1))
    else:
        holder[path[-1]] = draw(values)
    return data


def read(path: Path) -> str | None:
    """What is said of a record; None where it renders."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(["render", str(path)])
    if status == 0:
        compile(out.getvalue(), str(path), "exec")
        return None
    return err.getvalue().removeprefix("codegen: ")


@quick
@given(values | changed())
@example({**WHOLE[0], "problem": {**WHOLE[0]["problem"], "family": None}})
@example({**WHOLE[0], "problem": {**WHOLE[0]["problem"], "shape": {"m": 10**400, "n": 1, "k": 1}}})
def test_any_json_is_rendered_or_refused_in_one_line(tmp_path: Path, data: Any) -> None:
    (path := tmp_path / "record.json").write_text(json.dumps(data))
    said = read(path)
    if said is not None:
        assert path.name in said and said.count("\n") == 1 and len(said) < 500


@pytest.mark.parametrize(
    "text",
    ["", "[" * 100_000, '{"problem": NaN}', "\ufeff{}", "9" * 5000],
    ids=lambda text: text[:9],
)
def test_any_text_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (path := tmp_path / "record.json").write_text(text)
    said = read(path)
    assert said is not None and said.startswith(str(path)) and said.count("\n") == 1


PROBLEMS = sorted((Path(__file__).parent / "cases" / "problems").glob("*.py"))
TOKENS = [
    "A",
    "self",
    "x",
    "1",
    "-1",
    "0.5",
    "None",
    "(",
    ")",
    "torch",
    ".T",
    "[0]",
    ", ",
    "lambda: ",
    "*",
    "math",
]


@st.composite
def mangled(draw: Callable[..., Any]) -> str:
    """A problem file with a line left out or twice, or a word of it replaced."""
    text = draw(st.sampled_from(PROBLEMS)).read_text()
    if draw(st.booleans()):
        lines = text.split("\n")
        place = draw(st.integers(0, len(lines) - 1))
        lines[place : place + 1] = draw(st.sampled_from([[], [lines[place]] * 2]))
        return "\n".join(lines)
    words = re.split(r"(\w+)", text)
    place = draw(st.integers(0, len(words) - 1))
    words[place] = draw(st.sampled_from(TOKENS))
    return "".join(words)


@pytest.fixture(scope="module")
def tracer() -> Iterator[Tracer]:
    with Tracer() as child:
        yield child


@settings(quick, max_examples=60)
@given(mangled())
def test_a_mangled_problem_file_is_read_or_refused_in_one_line(
    tracer: Tracer, tmp_path: Path, text: str
) -> None:
    (path := tmp_path / "problem.py").write_text(text)
    try:
        problem, interface = tracer.read_problem(path)
    except (BadInput, Refused) as error:
        said = str(error)
        assert said.startswith(str(path)) and "\n" not in said and "Traceback" not in said
        return
    gpu = find_gpu("h200")
    try:
        source = Record(Spec(problem, gpu, choose(problem, gpu), interface)).source()
    except (BadInput, Refused) as error:
        assert "\n" not in str(error)
        return
    assert check(source.encode()) == ()
