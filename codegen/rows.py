"""The steps that make up a site's rows: build the originals, judge them, add neighbours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from codegen.config import Config, Value
from codegen.gpu import GpuSpec
from codegen.occupancy import Occupancy, occupancy
from codegen.outcome import PRUNED, Rejected
from codegen.propose import Fitted, choose, neighbours, score
from codegen.report import Row
from codegen.stage import StageRules
from codegen.toolchain import Built
from codegen.verify import Checked

Meta = tuple[tuple[str, Value], ...]


def originals(
    gpu: GpuSpec, configs: Sequence[Config], built: Sequence[Built | Rejected]
) -> list[Row]:
    """The configs as they stand in the file, with what they need; those unsafe or too large to launch are dropped."""
    rows: list[Row] = []
    first_with: dict[str, int] = {}
    for index, (config, result) in enumerate(zip(configs, built, strict=True)):
        row = built_row(gpu, config, result, "original", "original")
        if row.resources:
            twin = first_with.setdefault(row.resources.binary, index)
            if twin != index and row.status == "kept":
                row = replace(row, reason=f"original; the same machine code as #{twin}")
        rows.append(row)
    return rows


def built_row(
    gpu: GpuSpec, config: Config, result: Built | Rejected, origin: str, reason: str
) -> Row:
    """A config with what it needs on the GPU: kept, or dropped as it does not compile, is unsafe or cannot launch."""
    if isinstance(result, Rejected) and result.stage == "prune":
        return pruned(Row(config, origin, "kept", reason))
    if isinstance(result, Rejected):
        return Row(config, origin, "dropped", f"does not compile: {result.reason}", "compile")
    fits = occupancy_of(gpu, result)
    if fits.reason:
        status, why, stage = "dropped", f"cannot launch: {fits.reason}", "launch"
    elif result.unsafe:
        status, why, stage = "dropped", f"unsafe: {result.unsafe}", "code"
    else:
        status, why, stage = "kept", reason, None
    return Row(config, origin, status, why, stage, result.resources, fits, result.grid)


def pruned(row: Row) -> Row:
    """A config that could not be tried: an original stays as it is, another is not added."""
    if row.origin == "original":
        return row if row.untried else replace(row, reason=f"{row.reason}; {PRUNED}", untried=True)
    return replace(row, status="dropped", reason=PRUNED, dropped_at="prune", untried=True)


def looked_at(row: Row) -> Row:
    """A row that was pruned when it was to be compiled, and then tried at other sizes."""
    reason = row.reason.replace(PRUNED, "pruned by prune_configs_by at the given sizes")
    return replace(row, reason=reason, untried=False)


def occupancy_of(gpu: GpuSpec, built: Built) -> Occupancy:
    needs = built.resources
    return occupancy(
        gpu, num_warps=needs.num_warps, registers=needs.registers, shared_bytes=needs.shared_bytes
    )


def judged(
    rows: Sequence[Row], metas: Sequence[Meta], checked: Mapping[Meta, Checked]
) -> list[Row]:
    """The originals with what verification found of their blocks; those found wrong are dropped."""
    return [_judged(row, checked[meta]) for row, meta in zip(rows, metas, strict=True)]


def _judged(row: Row, result: Checked) -> Row:
    if not isinstance(result, Rejected):
        return replace(looked_at(row) if result else row, accuracy=result)
    if result.stage == "prune":
        return pruned(row) if row.status == "kept" else row
    reason = f"{row.reason}; and {result.reason}" if row.status == "dropped" else result.reason
    return replace(
        row, status="dropped", reason=reason, dropped_at=result.stage, accuracy=result.accuracy
    )


def trimmed(rows: Sequence[Row], gpu: GpuSpec, bound: str | None, limit: int) -> list[Row]:
    """The rows with only the `limit` best-scored originals kept; of equal machine code one before any twin.

    Those that were not compiled, as they are pruned, have no score: they stay, and one other beside them.
    """
    scores = {
        index: score(fitted(row), gpu, bound)
        for index, row in enumerate(rows)
        if row.status == "kept" and row.resources
    }
    uncompiled = sum(row.status == "kept" and not row.resources for row in rows)
    first: dict[str, int] = {}
    for index in scores:
        first.setdefault(fitted(rows[index]).resources.binary, index)
    twins = scores.keys() - first.values()
    best = sorted(scores, key=lambda index: (index in twins, -scores[index], index))
    best = best[: max(1, limit - uncompiled)]

    def trim(index: int, row: Row) -> Row:
        if index not in scores or index in best:
            return row
        why = f"score {scores[index]:.2f}, below the {limit} kept"
        if index in twins:
            why = f"the same machine code as #{first[fitted(row).resources.binary]}"
        reason = f"beyond --max-configs {limit}: {why}"
        return replace(row, status="dropped", reason=reason, dropped_at="limit")

    return [trim(index, row) for index, row in enumerate(rows)]


def added(
    rows: Sequence[Row],
    gpu: GpuSpec,
    bound: str | None,
    stage: StageRules,
    limit: int,
    compile_all: Callable[[Sequence[tuple[int, Config]]], list[Built | Rejected]],
) -> list[Row]:
    """The neighbours to add: right blocks with other knobs that compile and launch, best score first.

    `compile_all` takes (index of the original, config) pairs. An original that only does not fit, or whose
    machine code is unsafe, is right with other knobs too: fewer stages may fit, other warps may be safe.
    """
    right = [
        (i, fitted(row))
        for i, row in enumerate(rows)
        if row.resources and row.dropped_at in (None, "launch", "code")
    ]
    candidates = neighbours(right, stage, (row.config for row in rows))
    results = compile_all([(neighbour.origin, neighbour.config) for neighbour in candidates])
    launchable = [
        (neighbour, Fitted(neighbour.config, result.resources, fits, result.grid))
        for neighbour, result in zip(candidates, results, strict=True)
        if isinstance(result, Built)
        and not result.unsafe
        and (fits := occupancy_of(gpu, result)).reason is None
    ]
    kept = [fitted(row) for row in rows if row.status == "kept" and row.resources]
    limit -= sum(row.status == "kept" and not row.resources for row in rows)
    return [
        Row(
            one.config,
            "neighbour",
            "added",
            f"#{neighbour.origin} with {change(rows[neighbour.origin].config, one.config)}; "
            f"score {score(one, gpu, bound):.2f}",
            None,
            one.resources,
            one.occupancy,
            one.grid,
            rows[neighbour.origin].accuracy,
        )
        for neighbour, one in choose(kept, launchable, gpu, bound, limit)
    ]


def fitted(row: Row) -> Fitted:
    """What the score is computed from. Only for rows that compiled."""
    assert row.resources is not None and row.occupancy is not None and row.grid is not None
    return Fitted(row.config, row.resources, row.occupancy, row.grid)


def change(old: Config, new: Config) -> str:
    """How the knobs of two configs differ: `warps 4 → 2, stages 3 → 2`."""
    knobs = (("warps", old.warps, new.warps), ("stages", old.stages, new.stages))
    return ", ".join(
        f"{name} {before} → {after}" for name, before, after in knobs if before != after
    )
