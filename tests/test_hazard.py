"""Machine code that touches what a tensor-core product still uses: recorded kernels, and each rule by itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from codegen import build
from codegen.config import Config
from codegen.gpu import find_gpu
from codegen.hazard import hazards, instructions, serialised, why_unsafe, written
from codegen.outcome import Rejected, Resources
from codegen.rows import added, originals
from codegen.stage import DEFAULT_STAGE
from codegen.toolchain import Built

# Loops of our own kernels as cuobjdump shows them: what the kernel is, then what is to be found, then the code.
RECORDED = sorted((Path(__file__).parent / "cases" / "hazard").glob("*.sass"))

PRODUCT = "HGMMA.64x128x8.F32.TF32 R24, R100, gdesc[UR36], R24, gsb0"


def code(*lines: str) -> str:
    """A function of these instructions, at 0x0000, 0x0010, ..."""
    return "".join(
        f"        /*{16 * place:04x}*/    {line} ;\n" for place, line in enumerate(lines)
    )


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_recorded_kernel(path: Path) -> None:
    text = path.read_text()
    expected = text.splitlines()[1].removeprefix("// ")
    found = hazards(text)
    assert (f"{len(found)}: {found[0]}" if found else "safe") == expected


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        pytest.param([PRODUCT, "MOV R101, RZ"], ["R101"], id="an operand is overwritten"),
        pytest.param([PRODUCT, "MOV R104, RZ"], [], id="the register after the operand is free"),
        pytest.param([PRODUCT, "MOV R1, R101"], [], id="an operand may be read"),
        pytest.param([PRODUCT, "STS.128 [R101], R100"], [], id="and stored"),
        pytest.param(
            [PRODUCT, "LDSM.16.M88.4 R98, [R2]"], ["R100, R101"], id="by a load of four registers"
        ),
        pytest.param([PRODUCT, "CS2R R102, SRZ"], ["R102, R103"], id="by a pair of zeros"),
        pytest.param([PRODUCT, "@P0 MOV R101, RZ"], ["R101"], id="under a condition"),
        pytest.param([PRODUCT, "SHFL.BFLY PT, R103, R2, 0x1, 0x1f"], ["R103"], id="by a shuffle"),
        pytest.param([PRODUCT, "ISETP.GE.AND P0, PT, R100, R101, PT"], [], id="a comparison reads"),
        pytest.param(
            [PRODUCT, "FADD R1, R24, R25"], ["R24, R25"], id="the result is read too early"
        ),
        pytest.param([PRODUCT, "MOV R87, RZ"], ["R87"], id="the result is overwritten"),
        pytest.param([PRODUCT, "MOV R88, RZ"], [], id="64 x 128 results are 64 registers a thread"),
        pytest.param(
            ["HGMMA.64x128x8.F32.TF32 R24, gdesc[UR4], R24, gsb0", "MOV R100, RZ"],
            [],
            id="an operand in shared memory is not in registers",
        ),
        pytest.param(
            [PRODUCT, "WARPGROUP.DEPBAR.LE gsb0, 0x0", "MOV R100, RZ"], [], id="waited for"
        ),
        pytest.param(
            [PRODUCT, "@P0 WARPGROUP.DEPBAR.LE gsb0, 0x0", "MOV R100, RZ"],
            ["R100"],
            id="waited for on some paths only",
        ),
        pytest.param(
            [PRODUCT, "WARPGROUP.DEPBAR.LE gsb0, 0x1", "MOV R100, RZ"],
            ["R100"],
            id="one product may run on, and it is this one",
        ),
        pytest.param(
            [
                PRODUCT,
                PRODUCT.replace("R100", "R104"),
                "WARPGROUP.DEPBAR.LE gsb0, 0x1",
                "MOV R100, RZ",
                "MOV R104, RZ",
            ],
            ["R104"],
            id="one product may run on, and it is the later one",
        ),
        pytest.param(
            [
                PRODUCT.removesuffix(", gsb0"),
                PRODUCT.replace("R100", "R104"),
                "WARPGROUP.DEPBAR.LE gsb0, 0x1",
                "MOV R100, RZ",
            ],
            ["R100"],
            id="a group of two runs on as one",
        ),
        pytest.param(
            ["MOV R100, RZ", PRODUCT, "BRA 0x0", "EXIT"], ["R100"], id="by the next round of a loop"
        ),
        pytest.param(
            ["MOV R100, RZ", PRODUCT, "WARPGROUP.DEPBAR.LE gsb0, 0x0", "@P0 BRA 0x0", "EXIT"],
            [],
            id="a loop that waits at its end",
        ),
        pytest.param(
            [PRODUCT, "@P0 BRA 0x30", "WARPGROUP.DEPBAR.LE gsb0, 0x0", "MOV R100, RZ"],
            ["R100"],
            id="a branch goes around the wait",
        ),
        pytest.param([PRODUCT, "EXIT", "MOV R100, RZ"], [], id="what nothing leads to"),
        pytest.param(
            ["IGMMA.64x64x32.S8.S8.S32 R24, R100, gdesc[UR4], R24, gsb0", "MOV R100, RZ"],
            ["R100"],
            id="a product of integers",
        ),
    ],
)
def test_a_rule(lines: list[str], found: list[str]) -> None:
    assert [hazard.registers for hazard in hazards(code(*lines))] == found


def test_functions_are_looked_at_one_by_one() -> None:
    both = f"Function : a\n{code(PRODUCT, 'EXIT')}Function : b\n{code('NOP', 'MOV R100, RZ')}"
    assert hazards(both) == ()


def test_the_reason_names_the_first_place_and_how_many_there_are() -> None:
    assert why_unsafe(code(PRODUCT, "MOV R100, RZ", "MOV R101, RZ")) == (
        "MOV at 0x10 overwrites R100, an operand of the tensor-core product at 0x0, which may still be"
        " running; 2 such places"
    )
    assert why_unsafe(code(PRODUCT, "EXIT")) is None


@pytest.mark.parametrize(
    ("line", "registers"),
    [
        ("LDG.E.128.CONSTANT R4, desc[UR4][R2.64]", {4, 5, 6, 7}),
        ("LDS.64 R8, [R2+0x10]", {8, 9}),
        ("LDS R8, [R2+0x64]", {8}),
        ("LDSM.16.MT88.2 R8, [R2]", {8, 9}),
        ("IMAD.WIDE.U32 R2, R3, R4, R6", {2, 3}),
        ("HMMA.1688.F32.TF32 R4, R8, R2, R4", {4, 5, 6, 7}),
        ("CS2R.32 R4, SR_CLOCKLO", {4}),
        ("DADD R4, R6, R8", {4, 5}),
        ("LOP3.LUT P0, R5, R2, 0x10, RZ, 0xc0, !PT", {5}),
        ("ATOMG.E.ADD.STRONG.GPU PT, R3, desc[UR4][R2.64], R5", {3}),
        ("LOP3.LUT P0, RZ, R2, 0x10, RZ, 0xc0, !PT", set()),
        ("STG.E.128 desc[UR4][R2.64], R4", set()),
        ("BAR.SYNC.DEFER_BLOCKING R4, 0x80", set()),
        ("R2UR UR4, R7", set()),
        ("WARPSYNC R4", set()),
        ("SYNCS.PHASECHK.TRANS64.TRYWAIT P3, [R10+URZ+0x16020], R9", set()),
        ("EXIT", set()),
    ],
)
def test_the_registers_that_an_instruction_writes(line: str, registers: set[int]) -> None:
    (one,) = instructions(code(line))
    assert written(one) == registers


def test_a_compiled_kernel_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = " Function gemm:\n  REG:90 STACK:0 SHARED:1024\n"
    dumped = usage + RECORDED[0].read_text()
    asked = []

    def dump(cubin: bytes, more: tuple[str, ...]) -> str:
        asked.append(more)
        return dumped

    monkeypatch.setattr(build, "_dumped", dump)
    metadata = SimpleNamespace(name="gemm", shared=1024, num_warps=4)
    for ptx in ("wgmma.mma_async.sync", "mma.sync"):
        kernel = SimpleNamespace(asm={"cubin": b"", "ptx": ptx}, metadata=metadata)
        unsafe = build.resources(kernel, {})["unsafe"]
        assert unsafe == (why_unsafe(dumped) if ptx.startswith("wgmma") else None)
    assert asked == [
        ("--dump-sass",),
        (),
    ]  # the code is asked for only where there may be a product


def test_an_unsafe_config_is_dropped_and_a_safe_neighbour_added() -> None:
    gpu = find_gpu("h200")
    built = Built(Resources(100_000, 64, 0, 4, "one"), 1000, "MOV at 0x10 overwrites R100")
    config = Config((("BLOCK", 64),), 4, 3)
    (row,) = originals(gpu, [config], [built])
    assert (row.status, row.dropped_at) == ("dropped", "code")
    assert row.reason == "unsafe: MOV at 0x10 overwrites R100"

    def compile_all(wanted: Sequence[tuple[int, Config]]) -> list[Built | Rejected]:
        """Two warps are safe: Triton takes mma.sync then."""
        return [
            Built(
                Resources(100_000, 64, 0, neighbour.warps or 0, str(neighbour)),
                1000,
                None if neighbour.warps == 2 else "MOV at 0x10 overwrites R100",
            )
            for _, neighbour in wanted
        ]

    new = added([row], gpu, None, DEFAULT_STAGE, 6, compile_all)
    assert new and {one.config.warps for one in new} == {2}


WAIT = "WARPGROUP.DEPBAR.LE gsb0, 0x0"
STEP = "HGMMA.64x128x16.F32 R24, gdesc[UR32], R24"


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        pytest.param([STEP, STEP, f"{STEP}, gsb0", WAIT], False, id="steps follow, then a wait"),
        pytest.param([f"{STEP}, gsb0", WAIT, f"{STEP}, gsb0", WAIT], True, id="a wait for each"),
        pytest.param(
            [f"{STEP}, gsb0", "WARPGROUP.DEPBAR.LE gsb0, 0x1", STEP], False, id="one may run on"
        ),
        pytest.param(
            [f"{STEP}, gsb0", WAIT, "BRA 0x0", STEP], False, id="in another part of the code"
        ),
        pytest.param(
            [f"{STEP}, gsb0", WAIT, STEP.replace(", R24", ", RZ")],
            False,
            id="a new sum begins",
        ),
        pytest.param(
            [f"{STEP}, gsb0", WAIT, STEP.replace("R24", "R88")], False, id="another sum goes on"
        ),
        pytest.param([], False, id="no products"),
    ],
)
def test_products_that_wait_for_one_another(lines: list[str], found: bool) -> None:
    assert serialised(code(*lines)) is found
