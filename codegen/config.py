"""One entry of a `triton.autotune` config list, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace

# What triton.Config means when a keyword is left out (triton/runtime/autotuner.py, class Config).
DEFAULT_NUM_WARPS = 4
DEFAULT_NUM_STAGES = 3


@dataclass(frozen=True)
class Source:
    """A value that is no literal (`4 if is_hip() else 8`), kept as its source text."""

    text: str

    def __str__(self) -> str:
        return self.text


Value = int | float | bool | str | None | Source


@dataclass(frozen=True)
class Config:
    """The meta-parameters and launch options of one `triton.Config`.

    `num_warps` and `num_stages` are None where the source leaves them out, so that what is written
    back is what was read; `warps` and `stages` give the numbers that apply. `extra` holds every other
    keyword (`num_ctas`, `maxnreg`, `pre_hook`, ...) with its value as source text.
    """

    meta: tuple[tuple[str, Value], ...]
    num_warps: int | Source | None = None
    num_stages: int | Source | None = None
    extra: tuple[tuple[str, str], ...] = ()

    @property
    def warps(self) -> int | None:
        """Warps per block; None where the source's value is no literal."""
        return _number(self.num_warps, DEFAULT_NUM_WARPS)

    @property
    def stages(self) -> int | None:
        """Software-pipelining depth; None where the source's value is no literal."""
        return _number(self.num_stages, DEFAULT_NUM_STAGES)

    @property
    def hooked(self) -> bool:
        """Whether a hook runs before the kernel, which may put right what the kernel changes."""
        return any(name == "pre_hook" and text.strip() != "None" for name, text in self.extra)

    def with_knobs(self, warps: int, stages: int) -> Config:
        """The same blocks with other knobs; a knob that stays as it is stays written as it is."""
        return replace(
            self,
            num_warps=self.num_warps if warps == self.warps else warps,
            num_stages=self.num_stages if stages == self.stages else stages,
        )

    def __str__(self) -> str:
        sizes = ",".join(str(value) for _, value in self.meta) or "-"
        warps = self.num_warps if isinstance(self.num_warps, Source) else self.warps
        stages = self.num_stages if isinstance(self.num_stages, Source) else self.stages
        return f"{sizes} warps={warps} stages={stages}"


def _number(value: int | Source | None, default: int) -> int | None:
    if value is None:
        return default
    return None if isinstance(value, Source) else value
