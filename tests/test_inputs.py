"""`--inputs`, and the small inputs that stand for production ones."""

import pytest

from codegen.config import Config
from codegen.inputs import (
    TensorSpec,
    block_sides,
    describe,
    elements,
    from_wire,
    parse_inputs,
    shrink_all,
    small_sizes,
    to_wire,
)
from codegen.outcome import BadInput


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("float32[8192,2048]", [TensorSpec("float32", (8192, 2048))], id="a tensor"),
        pytest.param(
            "bf16[4, 8]  half[8]",
            [TensorSpec("bfloat16", (4, 8)), TensorSpec("float16", (8,))],
            id="short names, spaces inside the brackets",
        ),
        pytest.param(
            "float32[2,3], float32[3,2]",
            [TensorSpec("float32", (2, 3)), TensorSpec("float32", (3, 2))],
            id="commas between",
        ),
        pytest.param(
            "tril float32[8,8] triu f32[2,8,8]",
            [TensorSpec("float32", (8, 8), "tril"), TensorSpec("float32", (2, 8, 8), "triu")],
            id="triangles, batched too",
        ),
        pytest.param("float32[]", [TensorSpec("float32", ())], id="a tensor without dimensions"),
        pytest.param("3 0.5 True None 'sum'", [3, 0.5, True, None, "sum"], id="literals"),
        pytest.param("int32[0]", [TensorSpec("int32", (0,))], id="an empty tensor"),
    ],
)
def test_inputs_are_read(text, expected):
    specs = parse_inputs(text)
    assert list(specs) == expected
    assert from_wire(to_wire(specs)) == specs


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("float31[4]", "no dtype 'float31'"),
        ("float32[4", "can't read"),
        ("float32[a]", "whole numbers"),
        ("float32[-1]", "whole numbers"),
        ("tril float32[4,8]", "last two sizes equal"),
        ("tril 4", "neither"),
        ("4096x4096", "neither"),
        ("[4]", "can't read"),
    ],
)
def test_inputs_that_make_no_sense_get_one_line(text, said):
    with pytest.raises(BadInput, match=said) as caught:
        parse_inputs(text)
    assert "\n" not in str(caught.value)


def test_equal_sizes_stay_equal_and_different_ones_different():
    specs = parse_inputs("float32[8192,2048] float32[4096,8192] 8192 7")
    small = shrink_all(specs, small_sizes(specs, (64, 128)))
    (k, m), (n, k2) = small[0].shape, small[1].shape
    assert k == k2 == small[2]
    assert len({k, m, n}) == 3
    assert small[3] == 7


@pytest.mark.parametrize("sides", [(16,), (64, 128), (256,), (), (1024,), (65536,)])
@pytest.mark.parametrize("ragged", [True, False])
def test_small_inputs_hold_two_tiles_a_side_and_can_be_interpreted(sides, ragged):
    specs = parse_inputs("float32[65536,8192] float32[8192,16384]")
    sizes = small_sizes(specs, sides, ragged=ragged)
    assert elements(shrink_all(specs, sizes)) <= 1 << 22
    if sides and sides[-1] <= 256:
        assert all(size >= 2 * sides[-1] for size in sizes.values())
        assert all((size % sides[-1] != 0) == ragged for size in sizes.values())


def test_sizes_already_small_are_kept():
    specs = parse_inputs("float32[3,5] float32[5,4096]")
    assert shrink_all(specs, small_sizes(specs, (64,)))[0].shape == (3, 5)


def test_what_counts_groups_or_warps_is_no_tile_side():
    meta = (
        ("BLOCK_M", 64),
        ("GROUP_M", 32),
        ("SPLIT_K", 16),
        ("NUM_SMS", 132),
        ("PROGRAMS", 264),
        ("SPAN", 512),
        ("EVEN_K", True),
        ("BK", 8),
    )
    assert block_sides([Config(meta), Config((("TILE_N", 256),))]) == (64, 256)


def test_inputs_are_described_as_they_are_written():
    text = ("tril float32[4,4]", "bfloat16[2,3]", "0.5")
    assert describe(parse_inputs(" ".join(text))) == text


def test_batches_become_a_handful_and_leave_room_for_two_tiles_a_side():
    specs = parse_inputs("float32[64,512,1024] float32[64,1024,2048]")
    small = shrink_all(specs, small_sizes(specs, (128,)))
    assert small[0].shape[0] == small[1].shape[0] == 2
    assert all(size >= 256 for spec in small for size in spec.shape[1:])


def test_a_size_that_is_small_already_does_not_become_equal_to_another():
    specs = parse_inputs("float32[4096,275] float32[293,275]")
    sizes = small_sizes(specs, (128,))
    assert len(set(sizes.values())) == len(sizes)
