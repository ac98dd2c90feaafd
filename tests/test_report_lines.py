"""What reports say of a config beside its figures."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from codegen.config import Config
from codegen.gpu import find_gpu
from codegen.outcome import Resources
from codegen.present import console, print_comparison, print_report
from codegen.report import Report, SiteReport
from codegen.rows import originals
from codegen.toolchain import Built


def report(gpu: str, needs: Sequence[Resources]) -> Report:
    spec = find_gpu(gpu)
    configs = [Config((("BLOCK", 64 << place),), 4, 3) for place in range(len(needs))]
    rows = originals(spec, configs, [Built(each, 1000) for each in needs])
    return Report("a.py", spec, (), False, (SiteReport("kernel", 1, tuple(rows)),), True, "seen")


def test_a_config_whose_products_wait_is_pointed_out(capfd: pytest.CaptureFixture[str]) -> None:
    needs = [Resources(1024, 64, 0, 4, "one"), Resources(1024, 64, 0, 4, "two", serialised=True)]
    print_report(report("h200", needs), console())
    assert "\n#1: products on tensor cores wait for one another" in capfd.readouterr().err


def test_a_comparison_says_where_a_config_spills(capfd: pytest.CaptureFixture[str]) -> None:
    """A config that spills has few registers, and so looks well there."""
    spilling = [Resources(1024, 64, 0, 4, "one"), Resources(1024, 32, 7176, 4, "two")]
    both = [report("h200", spilling[:1] * 2), report("a100-sxm-80gb", spilling)]
    print_comparison(both, console())
    said = capfd.readouterr().err
    assert "\n#1 on NVIDIA A100-SXM4-80GB: spills 7,176 bytes a thread" in said
    assert "NVIDIA H200: spills" not in said
