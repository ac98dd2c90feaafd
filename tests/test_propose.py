"""The neighbours of configs, their score, and which of them are added."""

import itertools
import json
import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from codegen.config import Config, Source
from codegen.gpu import find_gpu
from codegen.occupancy import occupancy
from codegen.outcome import Resources
from codegen.propose import Fitted, choose, neighbours, score
from codegen.stage import DEFAULT_STAGE

GPU, H200 = find_gpu("rtx-4090"), find_gpu("h200")
BLOCKS = (("BLOCK_M", 64), ("BLOCK_N", 128))


def fitted(config=None, *, registers=128, shared=65536, spill=0, grid=1024, binary="a"):
    config = config or Config(BLOCKS, 4, 3)
    needs = Resources(shared, registers, spill, config.warps or 4, binary)
    fits = occupancy(GPU, num_warps=needs.num_warps, registers=registers, shared_bytes=shared)
    return Fitted(config, needs, fits, grid)


def knobs(found):
    return [(n.config.warps, n.config.stages) for n in found]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param(
            Config(BLOCKS, 4, 3),
            [(w, s) for s in (2, 3, 4) for w in (2, 4, 8) if (w, s) != (4, 3)],
            id="half or double the warps, stages by one",
        ),
        pytest.param(
            Config(BLOCKS, 4, 2),
            [(w, s) for s in (2, 3) for w in (2, 4, 8) if (w, s) != (4, 2)],
            id="stages do not move by two",
        ),
        pytest.param(
            Config(BLOCKS, 4, 5),
            [(w, 4) for w in (2, 4, 8)],
            id="a value outside the set is stepped only into the set",
        ),
        pytest.param(Config(BLOCKS, 4, 7), [], id="and not from further away"),
        pytest.param(
            Config(BLOCKS, 32, 3),
            [(w, s) for s in (2, 3, 4) for w in (16, 32) if (w, s) != (32, 3)],
            id="warps outside the set stay or are stepped into it",
        ),
        pytest.param(
            Config(BLOCKS),
            [(w, s) for s in (2, 3, 4) for w in (2, 4, 8) if (w, s) != (4, 3)],
            id="what is left out starts from Triton's defaults, 4 warps and 3 stages",
        ),
        pytest.param(
            Config(BLOCKS, Source("w()"), 3), [], id="a value that is no literal is not stepped"
        ),
    ],
)
def test_neighbours_keep_to_the_stage_rules(config, expected):
    found = neighbours([(0, fitted(config))], DEFAULT_STAGE, [config])
    assert sorted(knobs(found)) == sorted(expected)
    assert all(n.config.meta == BLOCKS for n in found)


def test_warps_stay_where_occupancy_does_not_suggest_a_change():
    busy = fitted(Config(BLOCKS, 4, 3), registers=64, shared=8192)
    assert busy.occupancy.warps_per_sm >= 16
    assert knobs(neighbours([(0, busy)], DEFAULT_STAGE, [busy.config])) == [(4, 2), (4, 4)]


def test_a_config_that_is_there_is_no_neighbour_however_it_is_written():
    spelled_out = Config(BLOCKS, 4, 3)
    found = neighbours(
        [(0, fitted(Config(BLOCKS, 4, 2)))], DEFAULT_STAGE, [Config(BLOCKS), Config(BLOCKS, 4, 2)]
    )
    assert (spelled_out.warps, spelled_out.stages) not in knobs(found)


def test_a_knob_that_stays_keeps_its_spelling():
    (found,) = neighbours(
        [(0, fitted(Config(BLOCKS, None, 2), registers=64, shared=8192))], DEFAULT_STAGE, []
    )[1:]
    assert found.config == Config(BLOCKS, None, 3)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        pytest.param(fitted(), fitted(spill=256), id="spills are a reason to doubt"),
        pytest.param(fitted(shared=32768), fitted(), id="more resident warps hide more latency"),
        pytest.param(fitted(grid=1024), fitted(grid=1025), id="a last wave of one block is a tail"),
        pytest.param(fitted(Config(BLOCKS, 4, 4)), fitted(), id="a deeper pipeline hides more"),
        pytest.param(
            fitted(registers=200), fitted(), id="more of the tile in registers is more reuse"
        ),
    ],
)
@pytest.mark.parametrize("bound", [None, "latency", "memory", "too few warps", "compute"])
def test_score_prefers(better, worse, bound):
    assert 0 < score(worse, GPU, bound) < score(better, GPU, bound) <= 1


def test_what_the_profile_names_counts_more():
    few_deep = fitted(Config(BLOCKS, 4, 4))
    many_shallow = fitted(Config(BLOCKS, 4, 2), shared=32768)
    gain = {
        bound: score(many_shallow, GPU, bound) / score(few_deep, GPU, bound)
        for bound in ("too few warps", "memory")
    }
    assert gain["too few warps"] > gain["memory"]


def measured():
    """(block shape, [(what the score is of, milliseconds)]) of every kernel swept on an H200."""
    data = json.loads((Path(__file__).parent / "data" / "sweep_h200.json").read_text())
    for kernel in data["kernels"].values():
        shapes = {}
        for row in kernel["configs"]:
            config = Config(
                tuple(zip("MNK", row["meta"], strict=True)), row["num_warps"], row["num_stages"]
            )
            needs = Resources(
                row["shared_bytes"], row["registers"], row["spill_bytes"], row["num_warps"], ""
            )
            fits = occupancy(
                H200,
                num_warps=needs.num_warps,
                registers=needs.registers,
                shared_bytes=needs.shared_bytes,
            )
            shapes.setdefault(config.meta, []).append(
                (Fitted(config, needs, fits, row["grid"]), row["ms"])
            )
        yield from (rows for rows in shapes.values() if len(rows) > 3)


def test_the_score_ranks_neighbours_as_they_were_measured():
    in_order, pairs, regrets = 0, 0, []
    for rows in measured():
        ranked = sorted(rows, key=lambda row: -score(row[0], H200, None))
        regrets.append(min(ms for _, ms in ranked[:3]) / min(ms for _, ms in rows))
        for (_, first), (_, second) in itertools.combinations(ranked, 2):
            if abs(first - second) > 0.02 * min(first, second):
                pairs += 1
                in_order += first < second
    assert pairs > 300
    assert in_order / pairs > 0.8
    assert statistics.geometric_mean(regrets) < 1.02


def test_the_list_does_not_bet_on_one_block_shape_or_one_kind_of_change():
    other = (("BLOCK_M", 128), ("BLOCK_N", 128))
    originals = [(0, fitted()), (1, fitted(Config(other, 8, 3), registers=200))]
    found = neighbours(originals, DEFAULT_STAGE, [f.config for _, f in originals])
    candidates = []
    for place, neighbour in enumerate(found):
        origin = originals[neighbour.origin][1]
        needs = replace(origin.resources, binary=str(place))
        candidates.append((neighbour, replace(origin, config=neighbour.config, resources=needs)))
    chosen = choose([f for _, f in originals], candidates, GPU, None, 6)
    assert {n.origin for n, _ in chosen} == {0, 1}
    assert len({n.moves for n, _ in chosen}) > 1


def test_the_same_machine_code_is_the_same_kernel():
    original = fitted(binary="same")
    found = neighbours([(0, original)], DEFAULT_STAGE, [original.config])
    twins = [(n, replace(original, config=n.config)) for n in found]
    assert choose([original], twins, GPU, None, 6) == []
