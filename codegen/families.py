"""The families of kernels, in one table: a new one is a folder in templates/ and an entry here."""

from __future__ import annotations

from codegen import gemm, trimm
from codegen.outcome import BadInput
from codegen.spec import Family

FAMILIES: dict[str, Family] = {family.name: family for family in (gemm.FAMILY, trimm.FAMILY)}


def find_family(name: str) -> Family:
    """Raises BadInput, naming the families there are, for any other name."""
    if name not in FAMILIES:
        raise BadInput(f"there is no family {name!r}; there are {', '.join(FAMILIES)}")
    return FAMILIES[name]
