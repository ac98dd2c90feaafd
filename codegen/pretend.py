"""Makes code in this process believe that the target GPU is present. Child processes only.

Wrappers ask whether tensors are on a GPU, how many multiprocessors it has, which capability. They get the
target's answers: from PyTorch (functions of `torch.cuda`, and a mode that answers `is_cuda` and maps the
`cuda` device to where tensors really are) and from Triton (a driver that knows its target and cannot launch).
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import triton
from torch._subclasses import fake_tensor
from torch.overrides import TorchFunctionMode
from triton.backends.compiler import GPUTarget

from codegen.gpu import GpuSpec
from codegen.spelled_out import SPELLED_OUT

# Only fake tensors are on a GPU that is not there, and they have nothing to fill; a PyTorch without CUDA
# refuses to fill them so, and with what is in torch.nn.init.
_FILLS = (torch.Tensor.copy_, torch.Tensor.uniform_)
_FROM_DATA = (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor)


class PretendDriver:
    """Triton's driver interface for a GPU that is not there: enough to specialise and compile, not to launch."""

    def __init__(self, gpu: GpuSpec) -> None:
        major, minor = gpu.compute_capability
        self._capability = (major, minor)
        self._target = GPUTarget("cuda", major * 10 + minor, gpu.warp_size)
        properties = {
            "max_shared_mem": gpu.shared_per_block,
            "max_num_regs": gpu.registers_per_sm,
            "multiprocessor_count": gpu.sms,
            "warpSize": gpu.warp_size,
        }
        self.utils = types.SimpleNamespace(get_device_properties=lambda _device: properties)

    def get_current_target(self) -> GPUTarget:
        return self._target

    def get_current_device(self) -> int:
        return 0

    def set_current_device(self, device: int) -> None:
        pass

    def get_current_stream(self, _device: int | None = None) -> int:
        return 0

    def get_device_capability(self, _device: int | None = None) -> tuple[int, int]:
        return self._capability

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cuda", 0)

    def get_device_interface(self) -> Any:
        return torch.cuda


def pretend_gpu(gpu: GpuSpec) -> None:
    """From here on `triton` and `torch.cuda` answer as if `gpu` were in this machine."""
    triton.runtime.driver.set_active(PretendDriver(gpu))
    major, minor = gpu.compute_capability
    properties = types.SimpleNamespace(
        name=gpu.name,
        major=major,
        minor=minor,
        multi_processor_count=gpu.sms,
        warp_size=gpu.warp_size,
        max_threads_per_multi_processor=gpu.max_threads_per_sm,
        regs_per_multiprocessor=gpu.registers_per_sm,
        shared_memory_per_block=48 << 10,
        shared_memory_per_block_optin=gpu.shared_per_block,
        shared_memory_per_multiprocessor=gpu.shared_per_sm,
        L2_cache_size=gpu.l2_bytes or 0,
    )
    answers: dict[str, Callable[..., Any]] = {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "init": lambda: None,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "set_device": lambda _device: None,
        "get_device_properties": lambda _device=None: properties,
        "get_device_capability": lambda _device=None: (major, minor),
        "get_device_name": lambda _device=None: gpu.name,
        "is_bf16_supported": lambda *_args, **_kwargs: True,
        "synchronize": lambda _device=None: None,
        "empty_cache": lambda: None,
        "current_stream": lambda _device=None: types.SimpleNamespace(cuda_stream=0),
        "is_current_stream_capturing": lambda: False,
        "device": _NoDevice,
        "device_of": _NoDevice,
    }
    for name, answer in answers.items():
        setattr(torch.cuda, name, answer)
    # PyTorch before 2.13 makes a real tensor beside the first fake one on a GPU that it believes is there.
    fake_tensor.init_gpu_context = lambda _device: None


def convert_fake_parameters() -> None:
    """From here on `model.half()` and the like give a module new parameters.

    PyTorch puts the new values into the old ones, which it cannot do with fake tensors.
    """

    def convert(self: torch.nn.Module, function: Any, recurse: bool = True) -> torch.nn.Module:
        for module in self.modules() if recurse else (self,):
            for name, value in module._parameters.items():
                if value is not None:
                    made = function(value)
                    module._parameters[name] = torch.nn.Parameter(made, value.requires_grad)
            for name, value in module._buffers.items():
                if value is not None:
                    module._buffers[name] = function(value)
        return self

    torch.nn.Module._apply = convert


class _NoDevice:
    """`with torch.cuda.device(...)`: there is one device, and it is current."""

    def __init__(self, _device: Any) -> None:
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_error: object) -> None:
        pass


class PretendCuda(TorchFunctionMode):
    """Tensors on `device` say they are on `cuda:0`, and whatever is asked for on `cuda` is put on `device`."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self._device = torch.device(device)

    def __torch_function__(
        self,
        function: Callable[..., Any],
        _types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        # Getters of properties are made anew at each access: compared with ==, not by identity.
        if function in (_IS_CUDA, _IS_CPU):
            return function == _IS_CUDA
        if function == _DEVICE:
            return torch.device("cuda", 0)
        if function is torch.Tensor.get_device:
            return 0
        if function in _FILLS or getattr(function, "__module__", None) == "torch.nn.init":
            filled = args[0] if args else kwargs.get("tensor")
            if isinstance(filled, torch.Tensor) and filled.device.type == "cuda":
                return filled
        if self._device.type == "cuda":  # only fake tensors can be there
            if function in SPELLED_OUT:
                return SPELLED_OUT[function](*args, **kwargs)
            if function in _FROM_DATA and (made_here := self._made_here(function, args, kwargs)):
                return self._moved(made_here(), {})
        if function is torch.Tensor.cuda:
            return self._moved(args[0], {})
        if function is torch.Tensor.to and self._names_cuda(args[1:], kwargs):
            rest = [arg for arg in args[1:] if not _is_cuda(arg)]
            return self._moved(args[0], {k: v for k, v in kwargs.items() if k != "device"}, *rest)
        return function(
            *(
                self._device if isinstance(arg, torch.device) and _is_cuda(arg) else arg
                for arg in args
            ),
            **{
                name: self._device if name == "device" and _is_cuda(arg) else arg
                for name, arg in kwargs.items()
            },
        )

    def _names_cuda(self, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
        return any(_is_cuda(arg) for arg in (*args, kwargs.get("device")))

    def _made_here(
        self, function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]
    ) -> Callable[[], torch.Tensor] | None:
        """How to make a tensor from data on the CPU, where it is asked for on a GPU; None where it is not."""
        beside = function is torch.Tensor.new_tensor
        device = kwargs.get("device") or (args[0].device if beside else None)
        if device is None or not _is_cuda(device):
            return None
        given = {name: value for name, value in kwargs.items() if name != "device"}
        if beside:
            given.setdefault("dtype", args[0].dtype)
            args = args[1:]
        return lambda: cast(torch.Tensor, torch.tensor(*args, **given))

    def _moved(self, tensor: torch.Tensor, kwargs: dict[str, Any], *args: Any) -> torch.Tensor:
        if tensor.device.type != self._device.type:
            # Only fake tensors get here: they have no bytes to copy.
            tensor = torch.empty_strided(
                tensor.shape, tensor.stride(), dtype=tensor.dtype, device=self._device
            )
        return tensor.to(*args, **kwargs) if args or kwargs else tensor


def _is_cuda(value: Any) -> bool:
    kind = value.type if isinstance(value, torch.device) else value
    return isinstance(kind, str) and kind.partition(":")[0] == "cuda"


_IS_CUDA = torch.Tensor.is_cuda.__get__
_IS_CPU = torch.Tensor.is_cpu.__get__
_DEVICE = torch.Tensor.device.__get__
