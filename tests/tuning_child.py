"""Calls a rendered ModelNew with one list of operands after another; prints which calls tuned, as JSON.

Nothing is launched: Triton's autotuner decides whether it tunes, and each config takes as long as the next.
Arguments: the file, and as JSON the calls, each a list of operands, each a shape and strides.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

import torch  # noqa: E402
from triton.runtime.autotuner import Autotuner  # noqa: E402
from triton.runtime.jit import JITFunction  # noqa: E402

from codegen.gpu import find_gpu  # noqa: E402
from codegen.load import import_file  # noqa: E402
from codegen.pretend import PretendCuda, pretend_gpu  # noqa: E402

pretend_gpu(find_gpu("rtx-4090"))
path, calls = sys.argv[1], json.loads(sys.argv[2])
module = import_file(path)
timed: list[Any] = []
Autotuner._bench = lambda self, *args, config, **kwargs: timed.append(config) or [1.0]
JITFunction.run = lambda self, *args, **kwargs: None

tuned = []
with PretendCuda("cpu"):
    model = module.ModelNew()
    for operands in calls:
        timed.clear()
        model(*(torch.empty_strided(shape, strides) for shape, strides in operands))
        tuned.append(len(timed))
print(json.dumps(tuned))
