"""Runs a problem file's Model beside the ModelNew rendered for it, in Triton's interpreter: JSON in, JSON out.

A process of its own, since Triton reads TRITON_INTERPRET when it is imported. A question is
{"problem", "rendered", "gpu", "layouts"}; the answer holds, for each way to lay out the inputs, how far the two
results are apart, and whether both models were made alike.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ["TRITON_INTERPRET"] = "1"
os.environ["TORCHDYNAMO_DISABLE"] = "1"
sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]

import torch  # noqa: E402
from gemm_operands import load, relative_error  # noqa: E402

from codegen.gpu import find_gpu  # noqa: E402
from codegen.guard import Allocating  # noqa: E402
from codegen.pretend import PretendCuda, pretend_gpu  # noqa: E402
from codegen.repair import repair_interpreter  # noqa: E402

SEED = 7


def main() -> None:
    repair_interpreter()
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), flush=True)


def spread(tensor: torch.Tensor) -> torch.Tensor:
    """The same values, every second element of its memory."""
    wide = tensor.new_zeros((*tensor.shape, 2))
    wide[..., 0] = tensor
    return wide[..., 0]


def turned(tensor: torch.Tensor) -> torch.Tensor:
    """The same values, with the last two dimensions the other way round in memory."""
    return tensor.mT.contiguous().mT if tensor.dim() > 1 else tensor


LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "contiguous": lambda tensor: tensor,
    "spread": spread,
    "turned": turned,
}


def answer(problem: str, rendered: str, gpu: str, layouts: list[str]) -> dict[str, Any]:
    pretend_gpu(find_gpu(gpu))
    theirs, ours = load(Path(problem)), load(Path(rendered))
    first_config_only(ours)
    with PretendCuda("cpu"):
        model, new = made(theirs.Model, theirs), made(ours.ModelNew, theirs)
        torch.manual_seed(SEED)
        given = theirs.get_inputs()
        with torch.no_grad():
            expected = model(*given)
        results = {}
        for name in layouts:
            laid_out = [
                LAYOUTS[name](value) if isinstance(value, torch.Tensor) else value
                for value in given
            ]
            with Allocating("cpu"):  # what it allocates is NaN until written
                result = new(*laid_out)  # with gradients on, as a plain call has them
            assert (result.shape, result.dtype) == (expected.shape, expected.dtype), name
            assert not result.requires_grad
            results[name] = relative_error(result, expected.double())
    state, own = model.state_dict(), new.state_dict()
    return {
        "errors": results,
        "dtype": str(expected.dtype).removeprefix("torch."),
        "names": [list(state), list(own)],
        "same": all(torch.equal(value, own[name]) for name, value in state.items()),
        "trained": [[name for name, _ in each.named_parameters()] for each in (model, new)],
    }


def made(kind: type[torch.nn.Module], problem: ModuleType) -> torch.nn.Module:
    """A model as KernelBench's harness makes it: seeded, with get_init_inputs."""
    torch.manual_seed(SEED)
    init = problem.get_init_inputs()
    torch.manual_seed(SEED)
    return kind(*init)


def first_config_only(module: ModuleType) -> None:
    """Leaves the autotuned kernels one config, so that nothing is timed."""
    for value in vars(module).values():
        if hasattr(value, "configs"):
            value.configs = value.configs[:1]


if __name__ == "__main__":
    main()
