"""How subjects are called: files imported, models made, configs forced, and the inputs of each case. Child processes only."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

from codegen import examine
from codegen.forced import Pick, forced
from codegen.inputs import from_wire
from codegen.load import import_file, model_class, parameters
from codegen.outcome import BadInput
from codegen.patched import unpatched
from codegen.pretend import PretendCuda
from codegen.products import library_precision
from codegen.reference import Outputs, Reference, flat
from codegen.sections import MODEL_CLASS
from codegen.timing import Context
from codegen.watch import Observed, watching

_SETTINGS_SHARE = 0.25  # of the GPU's memory, for inputs and references that are kept
_BASELINES = {
    # With CUDA graphs it would copy every input first, and be timed for that.
    "compile": {},
    "max-autotune": {"mode": "max-autotune-no-cudagraphs"},
}


class Subjects:
    """Files, models and settings by what the parent calls them, as plain JSON; each made once, and kept.

    `device` is where tensors are: on the `cpu` for the interpreter, which stands for a GPU.
    """

    def __init__(self, device: str, progress: Callable[[Any], None]) -> None:
        self._device, self._progress = device, progress
        self._interpreted = device == "cpu"
        self._modules: dict[str, Any] = {}
        self._settings: dict[str, tuple[Reference, examine.Setting]] = {}

    def forget(self, path: str | None) -> None:
        """The file at `path` is imported anew when it is called again."""
        self._modules.pop(path or "", None)

    def forget_settings(self) -> None:
        """Inputs and references are made anew."""
        self._settings.clear()

    def module(self, path: str) -> Any:
        """The file, imported the first time. Raises BadInput, or whatever its code raises."""
        if path not in self._modules:
            self._progress({"step": "import"})
            with unpatched(), self._present():
                module = import_file(path)
            if Path(module.__file__ or "").resolve() != Path(path).resolve():
                raise BadInput(
                    f"{module.__name__} is another file's module here: {module.__file__}"
                )
            self._modules[path] = module
        return self._modules[path]

    def _present(self) -> contextlib.AbstractContextManager[Any]:
        return PretendCuda("cpu") if self._interpreted else contextlib.nullcontext()

    def runner(
        self, subject: dict[str, Any], reference: Reference, terms: dict[str, Any], seen: Observed
    ) -> Callable[[list[Any]], Outputs]:
        """What calls the subject with inputs, its configs forced; notes in `seen` what is launched."""
        call, context = self.called(subject, reference, terms, seen)
        step = (
            "interpret" if self._interpreted else "baseline" if subject["path"] is None else "run"
        )

        def run(values: list[Any]) -> Outputs:
            self._progress({"step": step})
            untouched = unpatched() if subject["path"] else contextlib.nullcontext()
            with untouched, context(), watching(seen, self._progress):
                return call(values)

        return run

    def called(
        self,
        subject: dict[str, Any],
        reference: Reference,
        terms: dict[str, Any],
        seen: Observed | None = None,
    ) -> tuple[Callable[[list[Any]], Outputs], Context]:
        """A function of the inputs, and the context to call it in; which picks run is noted in `seen`."""
        if subject["path"] is None:
            call = self._baseline(subject["baseline"], reference)
            return call, lambda: library_precision(terms["promise"])
        model_of = model_class(self.module(subject["path"]), MODEL_CLASS)
        with self._present():
            torch.manual_seed(terms["seed"])
            with torch.device(self._device):
                model = model_of(*reference.init).eval().to(self._device)
            reference.give_state(model)
        picks = {
            (choice["kernel"], choice["line"]): Pick(
                choice["config"], choice["num_warps"], choice["num_stages"]
            )
            for choice in subject["choices"]
        }

        @contextlib.contextmanager
        def context() -> Iterator[None]:
            with self._present(), forced(picks, picked=seen.picked if seen else None):
                yield

        return lambda values: flat(model(*values)), context

    def _baseline(self, name: str, reference: Reference) -> Callable[[list[Any]], Outputs]:
        if not reference:
            raise BadInput("there is nothing to compare with: no reference and no problem")
        function = reference.function(None)
        if name in _BASELINES:
            # Sizes that differ from an earlier compilation's would otherwise be left open, for slower kernels.
            function = torch.compile(function, dynamic=False, **_BASELINES[name])
        elif name != "eager":
            raise BadInput(f"no baseline {name!r}")

        def call(values: list[Any]) -> Outputs:
            with _disable_current_modes():  # torch.compile does not go through them
                return flat(function(*values))

        return call

    def setting(self, terms: dict[str, Any]) -> tuple[Reference, examine.Setting]:
        """What is right on one set of inputs; of those on a GPU a quarter of its memory is kept."""
        key = repr(sorted(terms.items()))
        if key not in self._settings:
            names: list[str] = []
            if terms["names"]:
                model = model_class(self.module(terms["names"]), MODEL_CLASS)
                names = [parameter.name for parameter in parameters(model)]
            sizes = dict(terms["sizes"])
            reference = Reference(
                terms["problem"], terms["reference"], names, sizes, terms["seed"], self._device
            )
            setting = examine.prepare(
                reference,
                from_wire(terms["inputs"]),
                terms["seed"],
                terms["promise"],
                special=terms["purpose"] == "special",
            )
            setting.seal()
            if self._device == "cuda":
                total = torch.cuda.get_device_properties().total_memory * _SETTINGS_SHARE
                if sum(kept.bytes() for _, kept in self._settings.values()) > total:
                    self._settings.clear()
            self._settings[key] = reference, setting
        return self._settings[key]
