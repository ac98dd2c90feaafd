"""A run of the user's own on the GPU in this machine: what is recorded of it, and that it really runs.

Where there is none, Triton's launch and its benchmark are planted; `tests/gpu` has nothing to add but a GPU.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from codegen.gpu import find_gpu
from codegen.here import gpu_here
from codegen.outcome import Rejected
from codegen.toolchain import Compilation, Compiler, UserFile

LIBRARY = (Path(__file__).parent / "cases" / "files" / "library.py").read_text()

PLANT = """
import torch
from triton.runtime.autotuner import Autotuner
from triton.runtime.jit import JITFunction

launched = []

def launch(self, x, y, n, *, grid, warmup, num_warps=4, num_stages=3, **meta):
    launched.append((self.fn.__name__, meta["BLOCK"], num_warps, grid(meta)))
    y.copy_(x * (3 if "triple" in self.fn.__name__ else 2))

genuine, JITFunction.run = JITFunction.run, launch
Autotuner._bench = lambda self, *args, config, **meta: config.kwargs["BLOCK"]
DEVICE = "cpu"
"""

RUN = """
import torch
import library

for n in (1000, 1000, 5000):
    x = torch.arange(2 * n, device=DEVICE, dtype=torch.float32)[n:]
    assert float(library.six_times(x)[1]) == 6 * (n + 1), "values are real"
"""

PLANTED = """
JITFunction.run = genuine
assert launched[:2] == [("triple_kernel", 128, 4, (8,)), ("double_kernel", 64, 2, (16,))]
"""


@pytest.fixture
def library(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "library.py"
    path.write_text(LIBRARY)
    return UserFile("library.py", path)


def recorded(library, gpu):
    """The kernels that the run launches, and what the first config of each needs."""
    with Compiler(library, gpu, here=True) as compiler:
        launches = compiler.run(["run.py"])
        jobs = [Compilation(site.index, 0, 8, 2) for site in launches.sites]
        return launches, compiler.compile(jobs)


def with_fakes(library, gpu):
    with Compiler(library, gpu) as compiler:
        launches = compiler.run(["fake.py"])
        jobs = [Compilation(site.index, 0, 8, 2) for site in launches.sites]
        return launches, compiler.compile(jobs)


def is_as_on_fakes(library, gpu):
    """A real run's kernels compile to the machine code of those recorded on fake tensors."""
    launches, built = recorded(library, gpu)
    assert launches.ended is None
    Path("fake.py").write_text(
        "import torch, library\n"
        "w = torch.tensor([1.0, 2.0], device='cuda')\n"  # which PyTorch without CUDA refuses, as it does slices
        "w[0], v = 3.0, torch.empty(3, 5, device='cuda').T.contiguous()\n"
        "assert w.is_cuda and v.is_cuda and v.new_tensor([1]).is_cuda\n"
        "for n in (1000, 5000):\n"
        "    library.six_times(torch.empty(2 * n, device='cuda')[n:])\n"
    )
    others, expected = with_fakes(library, gpu)
    assert others.ended is None
    assert [site.kernel for site in launches.sites] == ["triple_kernel", "double_kernel"]
    assert [site.configs for site in launches.sites] == [site.configs for site in others.sites]
    assert not any(isinstance(one, Rejected) for one in expected)
    assert built == expected


def test_a_real_run_is_recorded_and_compiled_like_one_on_fake_tensors(library):
    Path("run.py").write_text(PLANT + RUN + PLANTED)
    is_as_on_fakes(library, find_gpu("rtx-4090"))


def test_a_real_run_that_fails_counts_up_to_there(library):
    Path("run.py").write_text(PLANT + RUN + "raise ValueError('late')\n")
    with Compiler(library, find_gpu("rtx-4090"), here=True) as compiler:
        launches = compiler.run(["run.py"])
    assert len(launches.sites) == 2 and "late" in (launches.ended or "")


@pytest.mark.gpu
def test_on_the_gpu_itself(library):
    gpu = gpu_here()
    assert gpu is not None
    Path("run.py").write_text("DEVICE = 'cuda'\n" + RUN)
    is_as_on_fakes(library, gpu)
