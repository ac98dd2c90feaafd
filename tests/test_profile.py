"""What a profile says of a config list: which configs it fits, and what bounds the kernel."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen import ncu
from codegen.gpu import find_gpu
from codegen.ncu import KernelMetrics
from codegen.occupancy import Occupancy, occupancy
from codegen.profile import Candidate, attribute, diagnose, unlike_predicted

RTX_4090 = find_gpu("rtx-4090")

# The configs of the two prompts on a 4090: block m, n, warps, registers, shared bytes; the profile.
TRIL = [
    (64, 256, 8, 158, 61440),
    (128, 128, 8, 182, 65536),
    (256, 64, 8, 196, 81920),
    (128, 256, 8, 240, 73728),
]
TRIL_PROFILE = {
    ncu.GRID: 136,
    ncu.WARPS_ACTIVE: 16.66,
    ncu.SM_THROUGHPUT: 18.71,
    ncu.DRAM_THROUGHPUT: 7.46,
}
MATMUL = [
    (64, 128, 4, 218, 98304),
    (128, 64, 4, 208, 98304),
    (128, 128, 8, 174, 65536),
    (64, 64, 8, 112, 131072),
]
MATMUL_PROFILE = {
    ncu.GRID: 1024,
    ncu.WARPS_ACTIVE: 8.33,
    ncu.SM_THROUGHPUT: 43.39,
    ncu.DRAM_THROUGHPUT: 20.38,
}


def _occupancies(configs: list[tuple[int, ...]]) -> list[Occupancy]:
    return [
        occupancy(RTX_4090, num_warps=warps, registers=registers, shared_bytes=shared)
        for *_, warps, registers, shared in configs
    ]


def _candidates(configs: list[tuple[int, ...]], grids: list[int], guess: bool) -> list[Candidate]:
    return [
        Candidate(grid, fits.percent, guess, warps * 32, registers, shared)
        for (_, _, warps, registers, shared), fits, grid in zip(
            configs, _occupancies(configs), grids, strict=True
        )
    ]


def _metrics(values: dict[str, Any]) -> KernelMetrics:
    return KernelMetrics("kernel", 1, {name: float(value) for name, value in values.items()})


def _triangle(block: int, n: int = 4096) -> int:
    rows = -(-n // block)
    return rows * (rows + 1) // 2


def _tiles(m: int, n: int, block_m: int, block_n: int) -> int:
    return -(-m // block_m) * -(-n // block_n)


TRIL_GRIDS = [_triangle(block_m) for block_m, *_ in TRIL]
MATMUL_GRIDS = [_tiles(2048, 4096, m, n) for m, n, *_ in MATMUL]


class TestThePromptsProfiles:
    def test_the_triangle_s_shows_the_wrong_config(self) -> None:
        assert TRIL_GRIDS == [2080, 528, 136, 528]
        assert attribute(_metrics(TRIL_PROFILE), _candidates(TRIL, TRIL_GRIDS, guess=False)) == (2,)

    def test_the_product_s_shows_the_first_two_configs(self) -> None:
        assert MATMUL_GRIDS == [1024, 1024, 512, 2048]
        candidates = _candidates(MATMUL, MATMUL_GRIDS, guess=False)
        assert attribute(_metrics(MATMUL_PROFILE), candidates) == (0, 1)

    def test_the_product_s_is_told_by_occupancy_alone_where_sizes_are_guessed(self) -> None:
        # With 4096 everywhere it is the third config whose grid would be the profile's.
        guessed = [_tiles(4096, 4096, m, n) for m, n, *_ in MATMUL]
        assert guessed == [2048, 2048, 1024, 4096]
        candidates = _candidates(MATMUL, guessed, guess=True)
        assert attribute(_metrics(MATMUL_PROFILE), candidates) == (0, 1)

    def test_the_triangle_s_fits_all_where_sizes_are_guessed_wrong(self) -> None:
        candidates = _candidates(TRIL, [_triangle(block, 3000) for block, *_ in TRIL], guess=True)
        assert attribute(_metrics(TRIL_PROFILE), candidates) == (0, 1, 2, 3)

    def test_a_guess_that_meets_the_profile_s_grid_narrows_what_occupancy_left(self) -> None:
        candidates = _candidates(TRIL, TRIL_GRIDS, guess=True)
        assert attribute(_metrics(TRIL_PROFILE), candidates) == (2,)

    def test_both_kernels_have_too_few_warps(self) -> None:
        tril = diagnose(_metrics(TRIL_PROFILE), RTX_4090, _occupancies(TRIL)[2])
        assert tril is not None
        assert tril.bound == "too few warps"
        assert tril.line == (
            "8.0 of 48 warps resident on an SM, 16 hide the latency of arithmetic; "
            "compute at 18.7 %, memory at 7.5 % of peak; the last of 1.06 waves fills 6 % of the GPU"
        )
        matmul = diagnose(_metrics(MATMUL_PROFILE), RTX_4090, _occupancies(MATMUL)[0])
        assert matmul is not None
        assert matmul.bound == "too few warps"
        assert matmul.line == (
            "4.0 of 48 warps resident on an SM, 16 hide the latency of arithmetic; "
            "compute at 43.4 %, memory at 20.4 % of peak"
        )


def _known(grid: int | None, percent: float, **more: Any) -> Candidate:
    return Candidate(grid, percent, False, **more)


def _guessed(grid: int | None, percent: float, **more: Any) -> Candidate:
    return Candidate(grid, percent, True, **more)


@pytest.mark.parametrize(
    ("profile", "candidates", "fits"),
    [
        pytest.param({ncu.GRID: 10}, [_known(10, 50), _known(20, 50)], (0,), id="the grid alone, where it is known"),
        pytest.param({ncu.GRID: 10}, [_guessed(10, 50)], (), id="a guessed grid alone is nothing to go by"),
        pytest.param({ncu.SM_THROUGHPUT: 10}, [_known(10, 50)], (), id="a profile without grid and occupancy"),
        pytest.param({ncu.WARPS_ACTIVE: 24.8}, [_known(None, 25), _known(None, 50)], (0,), id="the nearest above"),
        pytest.param({ncu.WARPS_ACTIVE: 25.4}, [_known(None, 25), _known(None, 50)], (0,), id="a little above it"),
        pytest.param({ncu.WARPS_ACTIVE: 25.6}, [_known(None, 25), _known(None, 50)], (1,), id="too far above it"),
        pytest.param({ncu.WARPS_ACTIVE: 60}, [_known(None, 25), _known(None, 50)], (), id="more than any config reaches"),
        pytest.param({ncu.WARPS_ACTIVE: 10}, [_known(None, 25)], (), id="under half, with nothing to confirm it"),
        pytest.param({ncu.WARPS_ACTIVE: 10, ncu.GRID: 3}, [_known(3, 25)], (0,), id="under half, confirmed by the grid"),
        pytest.param({ncu.WARPS_ACTIVE: 10, ncu.GRID: 3}, [_guessed(3, 25)], (), id="under half, with a guessed grid"),
        pytest.param({ncu.WARPS_ACTIVE: 10, ncu.MAX_WARPS: 50}, [_known(None, 25), _known(None, 50)], (1,), id="theoretical occupancy decides"),
        pytest.param({ncu.WARPS_ACTIVE: 20}, [None, _known(None, 0), _known(None, 25)], (2,), id="configs that don't compile or launch keep their index"),
        pytest.param({ncu.WARPS_ACTIVE: 24, ncu.BLOCK: 128}, [_known(None, 25, block_size=256), _known(None, 25, block_size=128)], (1,), id="the block size must be right"),
        pytest.param({ncu.WARPS_ACTIVE: 24, ncu.REGISTERS: 40}, [_known(None, 25, registers=48), _known(None, 25, registers=40)], (1,), id="registers narrow"),
        pytest.param({ncu.WARPS_ACTIVE: 24, ncu.REGISTERS: 41}, [_known(None, 25, registers=48), _known(None, 25, registers=40)], (0, 1), id="registers of another compiler prove nothing"),
        pytest.param({ncu.WARPS_ACTIVE: 24, ncu.DYNAMIC_SHARED: 98300}, [_known(None, 25, shared_bytes=65536), _known(None, 25, shared_bytes=98304)], (1,), id="shared memory as rounded in CSV narrows"),
        pytest.param({}, [], (), id="nothing at all"),
    ],
)  # fmt: skip
def test_a_profile_is_attributed_to(
    profile: dict[str, float], candidates: list[Candidate | None], fits: tuple[int, ...]
) -> None:
    assert attribute(_metrics(profile), candidates) == fits


SM, MEM, DRAM = ncu.SM_THROUGHPUT, ncu.MEMORY_THROUGHPUT, ncu.DRAM_THROUGHPUT
FULL = occupancy(RTX_4090, num_warps=8, registers=32, shared_bytes=0)  # 6 blocks, 48 warps
HALF = dataclasses.replace(FULL, blocks_per_sm=3, warps_per_sm=24, percent=50.0)
WAIT = "smsp__average_warps_issue_stalled_long_scoreboard_per_issue_active.ratio"


@pytest.mark.parametrize(
    ("profile", "fits", "bound", "line"),
    [
        ({SM: 84.2, MEM: 20.4}, FULL, "compute", "compute at 84.2 %, memory at 20.4 % of peak: saturated"),
        ({SM: 61, MEM: 20}, FULL, "compute", "compute at 61.0 %, memory at 20.0 % of peak"),
        ({SM: 30, MEM: 91}, FULL, "memory", "compute at 30.0 %, memory at 91.0 % of peak: saturated"),
        ({DRAM: 75}, None, "memory", "memory at 75.0 % of peak"),
        ({SM: 19, MEM: 80.9, DRAM: 10.5}, FULL, "memory", "compute at 19.0 %, memory at 80.9 % of peak (DRAM at 10.5 %): saturated"),
        (
            {SM: 40, MEM: 50, ncu.WARPS_ACTIVE: 48},
            HALF,
            "latency",
            "compute at 40.0 %, memory at 50.0 % of peak, both below 60 %",
        ),
        (
            {SM: 40, MEM: 50, WAIT: 7.04},
            HALF,
            "latency",
            "compute at 40.0 %, memory at 50.0 % of peak, both below 60 %; longest wait: long scoreboard, 7.0 cycles",
        ),
        (
            {SM: 40, MEM: 50, ncu.WARPS_ACTIVE: 25},
            FULL,
            "too few warps",
            "12.0 of 48 warps resident on an SM, 16 hide the latency of arithmetic; compute at 40.0 %, memory at 50.0 % of peak",
        ),
        ({SM: 5, MEM: 5, ncu.GRID: 96}, FULL, "tail", "the grid fills 12 % of the GPU; compute at 5.0 %, memory at 5.0 % of peak"),
        (
            {SM: 45, MEM: 20, ncu.GRID: 769},
            FULL,
            "tail",
            "the last of 1.00 waves fills 0 % of the GPU; compute at 45.0 %, memory at 20.0 % of peak",
        ),
        (
            {SM: 45, MEM: 20, ncu.WAVES: 2.5},
            None,
            "latency",
            "compute at 45.0 %, memory at 20.0 % of peak, both below 60 %; the last of 2.50 waves fills 50 % of the GPU",
        ),
        ({SM: 45, MEM: 20, ncu.WAVES: 8.5}, None, "latency", "compute at 45.0 %, memory at 20.0 % of peak, both below 60 %"),
    ],
)  # fmt: skip
def test_what_bounds_a_kernel(
    profile: dict[str, float], fits: Occupancy | None, bound: str, line: str
) -> None:
    found = diagnose(_metrics(profile), RTX_4090 if fits else None, fits)
    assert found is not None
    assert (found.bound, found.line) == (bound, line)


@pytest.mark.parametrize("profile", [{}, {ncu.GRID: 5}, {SM: 30}, {DRAM: 30, ncu.WARPS_ACTIVE: 10}])
def test_a_profile_without_both_throughputs_says_nothing_unless_one_is_high(
    profile: dict[str, float],
) -> None:
    assert diagnose(_metrics(profile), RTX_4090, FULL) is None


NAMES = (
    SM,
    MEM,
    DRAM,
    WAIT,
    ncu.GRID,
    ncu.BLOCK,
    ncu.REGISTERS,
    ncu.WAVES,
    ncu.WARPS_ACTIVE,
    ncu.MAX_WARPS,
    ncu.DYNAMIC_SHARED,
)
numbers = st.floats(-1e24, 1e24) | st.floats(0, 200) | st.integers(0, 5000).map(float)
profiles = st.dictionaries(st.sampled_from(NAMES), numbers)
some_candidates = st.lists(
    st.none()
    | st.builds(
        Candidate,
        st.none() | st.integers(0, 5000),
        st.floats(0, 100),
        st.booleans(),
        st.none() | st.integers(1, 1024),
    )
)


@settings(deadline=None)
@given(profiles, some_candidates, st.sampled_from([None, FULL, HALF]))
def test_no_profile_is_too_odd(
    profile: dict[str, float], candidates: list[Candidate | None], fits: Occupancy | None
) -> None:
    metrics = _metrics(profile)
    indices = attribute(metrics, candidates)
    assert list(indices) == sorted(set(indices))
    assert all(candidates[index] is not None for index in indices)
    found = diagnose(metrics, RTX_4090 if fits else None, fits)
    assert found is None or found.bound in {"compute", "memory", "latency", "too few warps", "tail"}
    assert found is None or "\n" not in found.line


class TestTheProfileOfAConfigThatWasCompiled:
    CONFIG = Candidate(1024, 12.5, False, 256, 162, 98304)
    SEEN: ClassVar[dict[str, Any]] = {
        ncu.GRID: 1024,
        ncu.BLOCK: 256,
        ncu.REGISTERS: 162,
        ncu.DYNAMIC_SHARED: 98304,
        ncu.STATIC_SHARED: 0,
        ncu.MAX_WARPS: 12.5,
    }

    @pytest.mark.parametrize(
        ("seen", "said"),
        [
            ({}, ()),
            ({ncu.REGISTERS: 168}, ("168 registers, not 162",)),
            ({ncu.STATIC_SHARED: 16}, ("98,320 bytes of shared memory, not 98,304",)),
            ({ncu.BLOCK: 128}, ("128 threads a block, not 256",)),
            ({ncu.MAX_WARPS: 18.75}, ("18.75 % occupancy, not 12.5",)),
            ({ncu.GRID: 132}, ("132 blocks, not 1,024",)),
        ],
        ids=["is as predicted", "registers", "shared memory", "block", "occupancy", "grid"],
    )
    def test_names_what_is_not_as_predicted(
        self, seen: dict[str, Any], said: tuple[str, ...]
    ) -> None:
        assert unlike_predicted(_metrics(self.SEEN | seen), self.CONFIG) == said

    def test_says_nothing_of_what_it_does_not_hold(self) -> None:
        assert unlike_predicted(_metrics({ncu.REGISTERS: 162}), self.CONFIG) == ()

    def test_holds_no_one_grid_where_the_kernel_was_launched_several_times(self) -> None:
        metrics = dataclasses.replace(_metrics(self.SEEN | {ncu.GRID: 64}), launches=3)
        assert unlike_predicted(metrics, self.CONFIG) == ()
