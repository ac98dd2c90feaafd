"""Whether to measure, and with what: the GPU in this machine through the journal, or the interpreter."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from codegen.gpu import GpuSpec
from codegen.here import gpu_here
from codegen.journal import Journal
from codegen.journaled import Journaled
from codegen.measure import Bench, Device
from codegen.outcome import BadInput
from codegen.question import Question


def why_not_measured(question: Question) -> str | None:
    """Why this question can't be answered by measuring here, as a clause that says what to do; None: it can."""
    if question.launch is not None:
        return "a run of your own (--launch) can't be timed: give the file and --inputs"
    here = gpu_here()
    if here is None:
        return "there is no GPU here that CUDA sees and `codegen gpus` lists"
    if here.key != question.gpu.key:
        return f"the GPU here is an {here.name}, not an {question.gpu.name}: for this one, give --gpu {here.key}"
    if not (question.reference or question.problem):
        return "what is right is not said: give --reference or --problem"
    return None


def is_to_be_measured(question: Question, asked: bool | None) -> bool:
    """--measure, --no-measure, or (None) whatever can be done here.

    Raises BadInput when it is asked for and can't be.
    """
    if asked is False:
        return False
    why_not = why_not_measured(question)
    if why_not and asked:
        raise BadInput(f"{question.file.name}: --measure: {why_not}")
    return why_not is None


def remark(question: Question, asked: bool | None) -> tuple[str, ...]:
    """A note for who has the right GPU and did not get measured, though nothing was said against it."""
    here = gpu_here() if asked is None else None
    why_not = why_not_measured(question)
    return (f"not measured: {why_not}",) if here and why_not else ()


@contextlib.contextmanager
def on_this_gpu() -> Iterator[Bench]:
    """The GPU of this machine; what is in the journal is not measured again."""
    with Journal() as journal, Device() as device:
        yield Journaled(device, journal)


@contextlib.contextmanager
def interpreted(gpu: GpuSpec) -> Iterator[Bench]:
    """Triton's interpreter, as a GPU that is absent: it checks and cannot time."""
    with Device(interpreted=gpu) as device:
        yield device


@contextlib.contextmanager
def awake(bench: Bench) -> Iterator[Callable[[], Bench]]:
    """Wakes the bench while other things are done; what it yields waits until it is awake.

    PyTorch's import there takes as long as the compiler's import here. A bench that can't be used says so
    when it is asked.
    """

    def wake() -> None:
        with contextlib.suppress(BadInput):
            bench.machine()

    # A child ends with the thread that started it (worker.py), so the thread lives on: an executor's does.
    with ThreadPoolExecutor(1) as beside:
        waking = beside.submit(wake)

        def ready() -> Bench:
            waking.result()
            return bench

        yield ready
