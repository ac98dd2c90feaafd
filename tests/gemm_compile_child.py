"""Compiles rendered files for GPUs that are not there: questions in on standard input, answers out, as JSON.

One process for many files, since importing PyTorch takes longer than compiling. A question is {"path",
"gpu", "inputs": one text per call of the model}; an answer lists every config of every kernel that those
calls launch, with what the compiler reports, or {"rejected": why}.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ |= {"TRITON_INTERPRET": "0", "CUDA_VISIBLE_DEVICES": "", "TRITON_DEFAULT_FP_FUSION": "1"}
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from codegen.gpu import find_gpu
from codegen.inputs import parse_inputs, to_wire
from codegen.launch import Recorder

COMPILE_SECONDS = 120


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), flush=True)


def answer(path: str, gpu: str, inputs: list[str]) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    recorder = Recorder(results.append)
    recorder.handle({"op": "load", "path": path, "gpu": asdict(find_gpu(gpu))})
    sites: list[dict[str, Any]] = []
    for text in inputs:
        question = {"problem": None, "inputs": to_wire(parse_inputs(text))}
        sites = recorder.handle({"op": "launches", "path": path, **question})["sites"]
    configs = [
        (number, site["kernel"], index, config)
        for number, site in enumerate(sites)
        for index, config in enumerate(site["configs"])
    ]
    jobs = [
        {"site": site, "config": index, "warps": config["warps"], "stages": config["stages"]}
        for site, _, index, config in configs
    ]
    recorder.handle({"op": "compile", "path": path, "jobs": jobs, "limit": COMPILE_SECONDS})
    for result in results:
        _, kernel, _, config = configs[result.pop("job")]
        result |= {"kernel": kernel, **config}
    return results


if __name__ == "__main__":
    main()
