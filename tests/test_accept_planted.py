"""Planted kernels in the interpreter: the bad ones refused, each for its own reason, and the good ones not."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from accept_cases import Planted, planted

from codegen.gpu import find_gpu
from codegen.measure import Device

SHOWN = [case for case in planted("bad") if case.where == "anywhere"]


@pytest.fixture(scope="module")
def bench() -> Iterator[Device]:
    with Device(interpreted=find_gpu("h200")) as device:
        yield device


@pytest.mark.parametrize("case", SHOWN, ids=lambda case: case.path.stem)
def test_a_bad_kernel_is_refused_for_its_own_reason(case: Planted, bench: Device) -> None:
    checkups = bench.check(
        case.subjects(), case.cases(given=False), case.against_reference, case.promise
    )
    faults = {index: checkup.fault for index, checkup in enumerate(checkups) if checkup.fault}
    assert tuple(faults) == case.wrong
    for fault in faults.values():
        assert re.search(case.expect, fault)


@pytest.mark.parametrize("case", planted("good"), ids=lambda case: case.path.stem)
def test_a_good_kernel_has_no_fault(case: Planted, bench: Device) -> None:
    checkups = bench.check(
        case.subjects(), case.cases(given=False), case.against_reference, case.promise
    )
    for checkup in checkups:
        assert checkup.fault is None
        assert checkup.repeatable
        assert not any(finding.refused for finding in checkup.findings)
