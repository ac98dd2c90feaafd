"""Every config of a rendered file, run in the interpreter against what the file is to compute."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from codegen.cases import aligned_sizes
from codegen.closing import Closing
from codegen.config import Config
from codegen.families import find_family
from codegen.fitting import forward_inputs
from codegen.inputs import block_sides, small_sizes
from codegen.outcome import Accuracy, BadInput, Refused
from codegen.render import render
from codegen.spec import Spec
from codegen.toolchain import Compiler, UserFile
from codegen.verify import Against, Trial, verify_each


def run_rendered(spec: Spec, model: Path | None) -> dict[tuple[str, Config], Accuracy]:
    """Runs every config of every kernel, and says how far each is off, by kernel and config.

    The reference is the Model of the problem file `model`, on the file's own inputs and with the same
    parameters, in float64, on sizes of a few tiles, ragged. Without one, and where that Model cannot be made
    so small or has numbers that change with its sizes, it is the problem's formula.

    Raises Refused for the first config that is wrong, BadInput when ModelNew cannot be called as the
    problem file says.
    """
    if model is not None:
        with _Rendered(spec, model) as rendered:
            try:
                return rendered.run()
            except BadInput:
                pass
            except Refused:
                if all(step.op != "scale" for step in spec.problem.epilogue):
                    raise
    with _Rendered(replace(spec, interface=None), None) as rendered:
        return rendered.run()


class _Rendered(Closing):
    """A rendered file on disk, and what calling its ModelNew at the problem's own sizes launches."""

    def __init__(self, spec: Spec, model: Path | None) -> None:
        self._spec = spec
        self._folder = tempfile.TemporaryDirectory(prefix="codegen-")
        path = Path(self._folder.name) / "rendered.py"
        path.write_text(render(spec.problem, spec.gpu, spec.configs, spec.interface), "utf-8")
        name = str(model) if model else f"{spec.problem.family} for the {spec.gpu.name}"
        self._source = UserFile(name, path)
        self._against = Against(
            model and model.resolve(), None if model else spec.problem.reference
        )
        with Compiler(self._source, spec.gpu) as compiler:
            given = None if model else forward_inputs(spec.problem)
            self._inputs = compiler.launches(self._against.problem, given).inputs
            self._sites = {site.kernel: site for site in compiler.autotuners()}

    def run(self) -> dict[tuple[str, Config], Accuracy]:
        configs = self._spec.configs
        cases = self._cases()
        answers = verify_each(self._source, self._spec.gpu, cases, self._inputs, self._against)
        found = {}
        for (trials, _), results in zip(cases, answers, strict=True):
            for trial, result in zip(trials, results, strict=True):
                kernel = trial.site.kernel
                config = configs[kernel][trial.config]
                if not isinstance(result, Accuracy):
                    raise Refused(f"{kernel} {config}: {result.reason if result else 'no result'}")
                found[kernel, config] = result
        return found

    def _cases(self) -> list[tuple[list[Trial], dict[int, int]]]:
        """Each kernel's trials, with sizes that lead to it.

        The first kernel of a form is the one that its problem's own sizes lead to; the last is for those that
        the others cannot take, as ragged ones.
        """
        spec, cases = self._spec, []
        kernels = list(find_family(spec.problem.family).form(spec.problem, spec.gpu).kernels)
        for kernel in kernels:
            ragged = small_sizes(self._inputs, block_sides(spec.configs[kernel]))
            sizes = ragged if kernel == kernels[-1] else aligned_sizes(ragged, self._inputs)
            count = len(spec.configs[kernel])
            cases.append(([Trial(self._sites[kernel], n) for n in range(count)], sizes))
        return cases

    def close(self) -> None:
        self._folder.cleanup()
