"""Machine code that touches the registers of a Hopper tensor-core product that may still be running.

`wgmma.mma_async` runs beside the code after it. Until a `wgmma.wait_group` that covers it has passed, its
first operand, where that is in registers, must not be written, nor its accumulator read or written (PTX ISA,
"Asynchronous wgmma instructions"); nothing in the hardware enforces it. Triton, pipelining a loop, splits a
product whose first operand is in registers into one for each step of k and waits so late that the next
iteration overwrites the operands of the last (triton-lang/triton#9433). Such a kernel is right or wrong by
timing alone. Triton's own tests, and a correct result on one GPU, say nothing of it; the machine code does.

In it a product is HGMMA (QGMMA, IGMMA, BGMMA), `gsb0` ends a group of them, and `WARPGROUP.DEPBAR.LE gsb0, N`
waits until N groups at most are running. What may be running is followed along every path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

# A running product, by address -> the groups that ended since, its own among them. Where paths meet, the fewest.
_Running = dict[int, int]

_LINE = re.compile(
    r"/\*(?P<address>[0-9a-f]{4,})\*/\s+(?:@(?P<predicate>!?U?P\w+)\s+)?(?P<opcode>[A-Z][\w.]*)\s*(?P<operands>[^;]*);"
)
_REGISTER = re.compile(r"R(\d+)(?:\.reuse)?")
_PREDICATE = re.compile(r"!?U?P(?:T|\d)")
_READ = re.compile(r"\bR(\d+)\b")
_SHAPE = re.compile(r"\.(\d+)x(\d+)x\d+\.(F16|F32|S32)\b")
_PRODUCT = re.compile(r"[HQIB]GMMA\b")

_FIRST_OPERAND_REGISTERS = 4  # 64 rows x 32 bytes of a step of k, over 128 threads
_THREADS = 128  # of the warp group that computes a product
# The first operand of these is read, though it is a register.
_READS_FIRST = re.compile(r"BAR|BRX|CALL|JMX|NANOSLEEP|RET|WARPSYNC|DEPBAR")
# The operand after a predicate that these set is read; others write it.
_ONLY_PREDICATES = re.compile(r"\w*SETP|FCHK|R2P|ELECT|PLOP3|VOTEU|SYNCS")
_NO_WAY_ON = {"EXIT", "RET", "BRX", "JMX"}


@dataclass(frozen=True)
class Instruction:
    address: int
    predicated: bool
    opcode: str  # with its modifiers
    operands: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.opcode.partition(".")[0]

    @property
    def is_product(self) -> bool:
        return _PRODUCT.match(self.opcode) is not None

    @property
    def ends_group(self) -> bool:
        return self.is_product and "gsb0" in self.operands

    @property
    def still_running(self) -> int | None:
        """Of a wait that holds on every path: the number of groups that may run on."""
        if not self.opcode.startswith("WARPGROUP.DEPBAR") or self.predicated:
            return None
        return int(self.operands[-1], 0)

    @property
    def target(self) -> int | None:
        """Where it may go on besides the next instruction."""
        if self.name not in ("BRA", "BSSY", "CALL", "JMP", "BREAK") or not self.operands:
            return None
        return int(self.operands[-1], 16) if self.operands[-1].startswith("0x") else None

    @property
    def falls_through(self) -> bool:
        return self.predicated or not (
            self.name in _NO_WAY_ON or (self.opcode in ("BRA", "JMP") and len(self.operands) == 1)
        )


@dataclass(frozen=True)
class Hazard:
    """An access to registers of a product that may be running. Addresses are bytes into the kernel's code."""

    address: int
    instruction: str
    does: str  # `overwrites` or `reads`
    registers: str
    product: int
    is_operand: bool  # the product's first operand, rather than its accumulator

    def __str__(self) -> str:
        what = "an operand" if self.is_operand else "the result"
        return (
            f"{self.instruction} at {self.address:#x} {self.does} {self.registers}, "
            f"{what} of the tensor-core product at {self.product:#x}, which may still be running"
        )


def why_unsafe(sass: str) -> str | None:
    """One line on the first hazard in what `cuobjdump --dump-sass` prints of a kernel; None where there is none."""
    found = hazards(sass)
    if not found:
        return None
    return f"{found[0]}; {len(found)} such places" if len(found) > 1 else str(found[0])


def serialised(sass: str) -> bool:
    """Whether a product waits for the one that it adds to, in what `cuobjdump --dump-sass` prints of a kernel.

    Otherwise the steps of k follow on one another, and a kernel waits for some time later. ptxas takes the waits in
    where other code touches an accumulator that may be in flight, in branches too, and says so to who asks it
    (`-v`: C7510 to C7519, "wgmma.mma_async instructions are serialized").
    """
    return any(map(_serialised, sass.split("Function :")))


def _serialised(sass: str) -> bool:
    last, waited = (
        "",
        False,
    )  # the accumulator of the last product on the way here, and if it was waited for
    for one in instructions(sass):
        if one.is_product:
            result, *_, addend = one.operands[:3]
            if waited and result == last == addend:
                return True
            last, waited = result, False
        elif one.still_running == 0:
            waited = True
        elif one.target is not None or not one.falls_through:
            last = ""
    return False


def hazards(sass: str) -> tuple[Hazard, ...]:
    """Every hazard, function by function, in the order of the code."""
    return tuple(hazard for code in sass.split("Function :") for hazard in _hazards(code))


def _hazards(sass: str) -> tuple[Hazard, ...]:
    code = {instruction.address: instruction for instruction in instructions(sass)}
    products = {address: one for address, one in code.items() if one.is_product}
    if not products:
        return ()
    operands = {address: _first_operand(one) for address, one in products.items()}
    results = {address: _accumulator(one) for address, one in products.items()}
    found = []
    for address, running in _running_at(code).items():
        one = code[address]
        if one.is_product:
            continue  # products run in the order of the code
        writes = written(one)
        reads = {int(text) for operand in one.operands for text in _READ.findall(operand)}
        for product in running:
            for touched, does, is_operand in (
                (writes & operands[product], "overwrites", True),
                (writes & results[product], "overwrites", False),
                ((reads - writes) & results[product], "reads", False),
            ):
                if touched:
                    found.append(
                        Hazard(address, one.opcode, does, _named(touched), product, is_operand)
                    )
    return tuple(sorted(found, key=lambda hazard: (hazard.address, hazard.product)))


def instructions(sass: str) -> Iterator[Instruction]:
    for line in sass.splitlines():
        match = _LINE.search(line)
        if match:
            predicate = match["predicate"]
            operands = tuple(text.strip() for text in match["operands"].split(",") if text.strip())
            yield Instruction(
                int(match["address"], 16), predicate is not None, match["opcode"], operands
            )


def written(one: Instruction) -> frozenset[int]:
    """The general registers that an instruction writes."""
    if not one.operands or _READS_FIRST.match(one.name):
        return frozenset()
    operands = [text for text in one.operands if not _PREDICATE.fullmatch(text)]
    if one.operands[0] not in operands[:1] and _ONLY_PREDICATES.match(one.name):
        return frozenset()
    match = _REGISTER.fullmatch(operands[0]) if operands else None
    if match is None:
        return frozenset()
    return frozenset(range(int(match[1]), int(match[1]) + _width(one)))


def _width(one: Instruction) -> int:
    """How many registers in a row an instruction's result takes."""
    name, modifiers = one.name, one.opcode.split(".")[1:]
    if name == "LDSM":
        return int(modifiers[-1]) if modifiers[-1].isdigit() else 1
    if name in ("HMMA", "IMMA", "DMMA", "QMMA", "BMMA"):
        return 4
    if name.startswith(("LD", "ATOM")):
        return 4 if "128" in modifiers else 2 if "64" in modifiers else 1
    if name == "CS2R":
        return 1 if "32" in modifiers else 2
    if (name in ("F2F", "I2F") and modifiers[:1] == ["F64"]) or "WIDE" in modifiers:
        return 2
    if name in ("DADD", "DMUL", "DFMA", "DMNMX"):
        return 2
    if name == "F2I" and {"S64", "U64"} & set(modifiers):
        return 2
    return 1


def _first_operand(product: Instruction) -> frozenset[int]:
    match = _REGISTER.fullmatch(product.operands[1])  # in shared memory it reads gdesc[UR4]
    if match is None:
        return frozenset()
    return frozenset(range(int(match[1]), int(match[1]) + _FIRST_OPERAND_REGISTERS))


def _accumulator(product: Instruction) -> frozenset[int]:
    match, shape = _REGISTER.fullmatch(product.operands[0]), _SHAPE.search(product.opcode)
    if match is None or shape is None:
        return frozenset()
    bytes_each = 2 if shape[3] == "F16" else 4
    count = int(shape[1]) * int(shape[2]) * bytes_each // 4 // _THREADS
    return frozenset(range(int(match[1]), int(match[1]) + count))


def _running_at(code: dict[int, Instruction]) -> dict[int, _Running]:
    """Before each instruction, the products that may be running: of all paths to it, the latest."""
    addresses = list(code)
    following = dict(pairwise(addresses))
    after: dict[int, list[int]] = {}
    for address, one in code.items():
        ways = [following.get(address)] if one.falls_through else []
        after[address] = [way for way in (*ways, one.target) if way is not None and way in code]
    # Nothing runs at the start, nor, as far as can be seen, where only a computed jump leads.
    led_to = {way for ways in after.values() for way in ways}
    before: dict[int, _Running] = {a: {} for a in addresses if a not in led_to}
    before.setdefault(addresses[0], {})
    waiting = list(before)[::-1]
    while waiting:
        address = waiting.pop()
        running = _step(code[address], before[address])
        for way in after[address]:
            known = before.get(way)
            merged = running if known is None else _latest(known, running)
            if known is None or merged != known:
                before[way] = merged
                waiting.append(way)
    return before


def _step(one: Instruction, running: _Running) -> _Running:
    allowed = one.still_running
    if allowed is not None:
        return {product: ended for product, ended in running.items() if ended <= allowed}
    if one.is_product:
        ended_now = one.ends_group and not one.predicated
        later = {product: ended + ended_now for product, ended in running.items()}
        return {**later, one.address: int(ended_now)}
    return running


def _latest(some: _Running, others: _Running) -> _Running:
    return {p: min(some.get(p, 99), others.get(p, 99)) for p in some.keys() | others.keys()}


def _named(registers: frozenset[int] | set[int]) -> str:
    return ", ".join(f"R{register}" for register in sorted(registers))
