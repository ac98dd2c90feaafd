"""The rules of an optimization stage: what a tuner may add to a config list."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StageRules:
    """What a config that is added must keep to. The configs already there are not bound by it."""

    num_warps: tuple[int, ...]
    num_stages: tuple[int, ...]
    max_stage_step: int  # how far num_stages may move from the config it starts from
    min_configs: int
    max_configs: int
    blocks_fixed: bool  # block sizes and grid mapping stay as they are


# The stage "final micro-optimizations" of the optimization prompts, for where nothing else is said.
DEFAULT_STAGE = StageRules(
    num_warps=(2, 4, 8, 16),
    num_stages=(2, 3, 4),
    max_stage_step=1,
    min_configs=3,
    max_configs=6,
    blocks_fixed=True,
)
