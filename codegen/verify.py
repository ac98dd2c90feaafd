"""Every config against the reference, or without one against each other: in the interpreter, on small inputs."""

from __future__ import annotations

import math
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codegen.child import INTERPRETED, Child, ChildFailed
from codegen.closing import Closing
from codegen.gpu import GpuSpec
from codegen.inputs import (
    InputSpec,
    TensorSpec,
    describe,
    elements,
    shrink_all,
    small_sizes,
    to_wire,
)
from codegen.outcome import PRUNED, UNWRITTEN, Accuracy, BadInput, Refused, Rejected
from codegen.toolchain import IMPORT_SECONDS, LiveSite, UserFile

RUN_SECONDS = 120  # one config on small inputs
_SEED = 0


class ReferenceFails(BadInput):
    """What is right can't be computed on inputs of these sizes."""


Checked = Accuracy | Rejected | None  # None: it ran, and there was nothing to compare it with


@dataclass(frozen=True)
class Against:
    """What a result is compared with: a problem file's Model, an expression in forward's names, or neither."""

    problem: Path | None = None
    reference: str | None = None

    def __bool__(self) -> bool:
        return bool(self.problem or self.reference)

    def __str__(self) -> str:
        if self.reference:
            return f"float64 {self.reference}"
        return f"float64 Model of {self.problem.name}" if self.problem else "the other configs"


@dataclass(frozen=True)
class Trial:
    """One config of one kernel; the file's other kernels run with their first."""

    site: LiveSite
    config: int


def verify(
    source: UserFile,
    gpu: GpuSpec,
    trials: Sequence[Trial],
    inputs: Sequence[InputSpec],
    sides: Sequence[int],
    against: Against,
    on_done: Callable[[int], None] | None = None,
    stop: threading.Event | None = None,
) -> list[Checked]:
    """Runs every trial on inputs made small and says, in its place, how far its result is off.

    `inputs` are the production ones and `sides` the tile sides among the configs. Ragged sizes decide, unless
    no config at all is right on them and the production sizes are no ragged ones either: then whole tiles (or
    the sizes as given, if those can be interpreted) decide; `Accuracy.inputs` says which did. Once `stop` is
    set it ends soon, with an error.

    Raises BadInput when the wrapper refuses all of these, when the reference fails, or when no config runs; Refused
    when every config is wrong, or when configs disagree and none is in the majority.
    """
    failure: BadInput | Refused | None = None
    with _Bench(source, gpu, against, stop) as bench:
        for specs, sizes in _small_inputs(inputs, sides):
            try:
                bench.prepare(specs, sizes)
                results = bench.run_all(trials, on_done)
            except BadInput as error:
                failure = failure or error
                continue
            rejected = [result for result in results if isinstance(result, Rejected)]
            if len(rejected) < len(results):
                return results
            failure = failure or _all_wrong(source, rejected)
            # Wrong results on ragged sizes may be the kernel's right only if it is never given any.
            if any(result.accuracy for result in rejected) and not whole_tiles(inputs, sides):
                break
    assert failure is not None, "there is always one set of small inputs"
    raise failure


def verify_each(
    source: UserFile,
    gpu: GpuSpec,
    cases: Sequence[tuple[Sequence[Trial], dict[int, int]]],
    inputs: Sequence[InputSpec],
    against: Against,
    promise: str,
) -> list[list[Checked]]:
    """Runs each case's trials on the inputs with its sizes in place of the production ones.

    `promise` as in `measure.Bench.check`.

    Raises ReferenceFails when the reference does, on the sizes of any case.
    """
    results = []
    with _Bench(source, gpu, against, None) as bench:
        for trials, sizes in cases:
            bench.prepare(shrink_all(inputs, sizes), sizes, promise)
            results.append(bench.run_all(trials, None))
    return results


def whole_tiles(inputs: Sequence[InputSpec], sides: Sequence[int]) -> bool:
    """Whether the production sizes are multiples of the largest tile side, those below it left aside."""
    sizes = {size for spec in inputs if isinstance(spec, TensorSpec) for size in spec.shape[-2:]}
    side = max(sides, default=1)
    return all(size % side == 0 for size in sizes if size > side)


def _small_inputs(
    inputs: Sequence[InputSpec], sides: Sequence[int]
) -> Iterator[tuple[tuple[InputSpec, ...], dict[int, int]]]:
    ragged = small_sizes(inputs, sides)
    whole = small_sizes(inputs, sides, ragged=False)
    tried: list[tuple[InputSpec, ...]] = []
    for sizes in (ragged, whole, {}):
        specs = shrink_all(inputs, sizes)
        if specs not in tried and (sizes or elements(specs) <= 2 * elements(tried[0])):
            tried.append(specs)
            yield specs, sizes


def _all_wrong(source: UserFile, results: list[Rejected]) -> BadInput | Refused:
    results = [result for result in results if result.stage != "prune"] or results
    reasons = {result.reason for result in results}
    why = results[0].reason if len(reasons) == 1 else f"for instance {results[0].reason}"
    # Where none gave anything to look at, it is the file that can't be used.
    looked_at = any(result.accuracy for result in results)
    return (Refused if looked_at else BadInput)(
        f"{source.name}: no config gives a right result, so there is nothing to keep: {why}"
    )


class _Bench(Closing):
    """The interpreting child, made again whenever a config takes it down."""

    def __init__(
        self, source: UserFile, gpu: GpuSpec, against: Against, stop: threading.Event | None
    ) -> None:
        self._source, self._gpu, self._against, self._stop = source, gpu, against, stop
        self._child: Child | None = None
        self._outputs = tempfile.TemporaryDirectory(prefix="codegen-")

    def prepare(
        self, specs: Sequence[InputSpec], sizes: dict[int, int], promise: str = "ieee"
    ) -> None:
        """Makes the inputs and the reference's result. Raises ReferenceFails when that fails."""
        self._shown = ", ".join(describe(specs))
        self._prepared = {
            "op": "prepare",
            "problem": str(self._against.problem) if self._against.problem else None,
            "reference": self._against.reference,
            "inputs": to_wire(specs),
            "sizes": list(sizes.items()),
            "seed": _SEED,
            "promise": promise,
        }
        try:
            self._ask(self._ready(), **self._prepared)
        except ChildFailed as failure:
            raise ReferenceFails(
                f"{self._source.name}: computing {self._against} on {self._shown}: {failure}"
            ) from None

    def run_all(
        self, trials: Sequence[Trial], on_done: Callable[[int], None] | None
    ) -> list[Checked]:
        results: list[Checked] = []
        for index, trial in enumerate(trials):
            results.append(self._run(trial, self._kept(index), ()))
            if on_done:
                on_done(index + 1)
        self._rerun(trials, results)
        if not self._against:
            for site in {trial.site.index: trial.site for trial in trials}.values():
                self._vote(
                    [index for index, trial in enumerate(trials) if trial.site == site],
                    results,
                    trials,
                )
        return results

    def _rerun(self, trials: Sequence[Trial], results: list[Checked]) -> None:
        """Gives what failed beside the other kernels' first configs another run beside configs that are right.

        In a file with several kernels, a wrong first config of one makes every config of the others look wrong.
        """
        right: dict[int, Trial] = {}
        for trial, result in zip(trials, results, strict=True):
            if not isinstance(result, Rejected):
                right.setdefault(trial.site.index, trial)
        for index, trial in enumerate(trials):
            beside = [other for site, other in right.items() if site != trial.site.index]
            if isinstance(results[index], Rejected) and any(other.config for other in beside):
                results[index] = self._run(trial, self._kept(index), beside)

    def _run(self, trial: Trial, keep: str, beside: Sequence[Trial]) -> Checked:
        choice = [(each.site.kernel, each.site.line, each.config) for each in (trial, *beside)]
        try:
            answer = self._ask(self._ready(), op="run", choice=choice, keep=keep)
        except ChildFailed as failure:
            return Rejected("verify", f"{failure} (in the interpreter, on {self._shown})")
        if not answer:
            return None
        if answer.get("pruned"):
            return Rejected("prune", PRUNED)
        accuracy = self._accuracy(answer)
        if answer["narrowed"]:
            return Rejected("verify", f"{answer['narrowed']} (on {self._shown})", accuracy)
        if answer["right"]:
            return accuracy
        return Rejected(
            "verify",
            _wrong(accuracy, accuracy.against),
            accuracy,
        )

    def _vote(self, members: list[int], results: list[Checked], trials: Sequence[Trial]) -> None:
        """Puts into `results` what the configs of one kernel say of each other.

        The largest group that agrees is right if it is more than half; a tie between groups is Refused.
        """
        ran = [index for index in members if not isinstance(results[index], Rejected)]
        if len(ran) < 2:
            return
        files = [self._kept(index) for index in ran]
        try:
            answer = self._ask(self._ready(), op="compare", files=files)
        except ChildFailed as failure:
            raise BadInput(
                f"{self._source.name}: comparing the configs' results: {failure}"
            ) from None
        if answer["hollow"]:
            raise BadInput(
                f"{self._source.name}: every config of {trials[ran[0]].site.kernel} returns nothing but NaN or infinities "
                f"on {self._shown}: memory is read beyond an input's end or never written; do the inputs' sizes fit "
                "each other? If that is what is right, say so with --reference or --problem"
            )
        for index, unwritten in zip(ran, answer["unwritten"], strict=True):
            if unwritten:
                reason = f"wrong: NaN where other configs have none, on {self._shown}: {UNWRITTEN}"
                nothing = Accuracy(math.nan, math.nan, self._shown, str(self._against))
                results[index] = Rejected("verify", reason, nothing)
        complete = [place for place, unwritten in enumerate(answer["unwritten"]) if not unwritten]
        ran = [ran[place] for place in complete]
        answer = [[answer["apart"][row][column] for column in complete] for row in complete]
        if len(ran) < 2:
            return
        agreeing = [sum(cell["agree"] for cell in row) for row in answer]
        best = agreeing.index(max(agreeing))
        if 2 * agreeing[best] <= len(ran):
            raise Refused(
                f"{self._source.name}: the configs of {trials[ran[0]].site.kernel} disagree on {self._shown} and none of "
                f"their results has a majority ({len(ran)} configs): say what is right with --reference or --problem"
            )
        for place, index in enumerate(ran):
            # A config's nearest equal in the majority, not itself: a distance of 0 would say nothing.
            peers = [p for p in range(len(ran)) if answer[best][p]["agree"] and p != place]
            accuracy = self._accuracy(answer[place][peers[0]])
            results[index] = (
                accuracy
                if answer[best][place]["agree"]
                else Rejected(
                    "verify",
                    _wrong(accuracy, f"the {agreeing[best]} configs that agree,"),
                    accuracy,
                )
            )

    def _accuracy(self, answer: dict[str, Any]) -> Accuracy:
        relative, largest = (
            math.nan if answer[name] is None else answer[name]
            for name in ("relative_error", "max_error")
        )
        return Accuracy(relative, largest, self._shown, str(self._against))

    def _kept(self, index: int) -> str:
        return str(Path(self._outputs.name) / f"{index}.pt")

    def _ready(self) -> Child:
        if self._stop is not None and self._stop.is_set():
            raise BadInput(f"{self._source.name}: stopped")
        if self._child is None:
            self._child = Child(
                "interpret",
                stop=self._stop,
                env=INTERPRETED,
            )
            try:
                self._ask(self._child, op="load", gpu=asdict(self._gpu))
                if self._died:
                    self._ask(self._child, **self._prepared)
            except ChildFailed as failure:
                raise BadInput(
                    f"{self._source.name}: importing it for the interpreter failed: {failure}"
                ) from None
        return self._child

    _died = False

    def _ask(self, child: Child, **question: Any) -> Any:
        seconds = IMPORT_SECONDS if question["op"] == "load" else RUN_SECONDS
        try:
            return child.ask({**question, "path": str(self._source.path)}, seconds=seconds)
        except ChildFailed as failure:
            if failure.died:
                self._child, self._died = None, True
            raise

    def close(self) -> None:
        if self._child is not None:
            self._child.close()
        self._outputs.cleanup()


def _wrong(accuracy: Accuracy, against: str) -> str:
    if math.isnan(accuracy.relative_error):
        return f"wrong: NaN against {against} on {accuracy.inputs}: {UNWRITTEN}"
    return f"wrong: relative error {accuracy.relative_error:.2g} against {against} on {accuracy.inputs}"
