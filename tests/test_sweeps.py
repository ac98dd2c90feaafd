"""What was recorded on an H200 (tests/gpu/sweep.py) against what is worked out without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from codegen.gpu import find_gpu
from codegen.occupancy import occupancy

DATA = Path(__file__).parent / "data"
SWEEPS: dict[str, Any] = {
    name: json.loads((DATA / f"sweep_{name}_h200.json").read_text("utf-8"))
    for name in ("000", "003")
}
ROWS = {
    f"{name} {row['label'].strip()}": row for name, sweep in SWEEPS.items() for row in sweep["rows"]
}
ROWS_THAT_LAUNCH = {name: row for name, row in ROWS.items() if isinstance(row["driver"], dict)}


def test_the_sweeps_hold_what_the_stage_allows():
    assert (len(SWEEPS["003"]["rows"]), len(SWEEPS["000"]["rows"])) == (48, 40)


@pytest.mark.parametrize("row", ROWS_THAT_LAUNCH.values(), ids=ROWS_THAT_LAUNCH)
def test_the_driver_counts_as_the_calculator_does(row):
    told = row["driver"]
    held = occupancy(
        find_gpu("h200"),
        registers=told["registers"],
        shared_bytes=told["shared_bytes"],
        num_warps=told["num_warps"],
    )
    assert held.blocks_per_sm == told["blocks_per_sm"]


def test_what_was_predicted_without_the_gpu_is_what_its_driver_said():
    names = {
        "registers": "registers",
        "local_bytes": "spill_bytes",
        "shared_bytes": "shared_bytes",
        "num_warps": "num_warps",
        "grid": "grid",
    }
    for row in ROWS_THAT_LAUNCH.values():
        assert {name: row["driver"][name] for name in names} == {
            name: row["predicted"][other] for name, other in names.items()
        }


def test_what_cannot_launch_was_predicted_not_to():
    never = {name: row for name, row in ROWS.items() if name not in ROWS_THAT_LAUNCH}
    for row in never.values():
        predicted = row["predicted"]
        held = occupancy(
            find_gpu("h200"),
            registers=predicted["registers"],
            shared_bytes=predicted["shared_bytes"],
            num_warps=predicted["num_warps"],
        )
        assert held.blocks_per_sm == 0
        assert "out of resource: shared memory" in row["driver"]
    assert len(never) == 3


ACCEPTED: dict[str, Any] = json.loads((DATA / "accept_h200.json").read_text("utf-8"))


def test_the_choice_is_within_two_percent_of_the_best_of_all_that_are_allowed():
    allowed = [row["us"] for row in SWEEPS["003"]["rows"] if row.get("us")]
    assert len(allowed) == 45  # of 48; three do not launch
    chosen = [time for row in ACCEPTED["retune"]["003"]["rows"] for time in row["times_us"] or ()]
    assert min(chosen) <= 1.02 * min(allowed)


def test_the_wrong_config_was_refused():
    dropped = [row for row in ACCEPTED["retune"]["000"]["rows"] if row["status"] == "dropped"]
    assert [row["config"] for row in dropped] == [
        {
            "BLOCK_SIZE_M": 256,
            "BLOCK_SIZE_N": 64,
            "BLOCK_SIZE_K": 32,
            "num_warps": 8,
            "num_stages": 3,
        }
    ]
    assert dropped[0]["reason"].startswith("wrong: relative error 0.74")
