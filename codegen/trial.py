"""Every config of a rendered file, run in the interpreter against what the file is to compute."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from codegen.cases import aligned_sizes
from codegen.closing import Closing
from codegen.config import Config
from codegen.families import find_family
from codegen.fitting import forward_inputs
from codegen.inputs import block_sides, small_sizes
from codegen.outcome import Accuracy, BadInput, Refused
from codegen.precision import promise_of
from codegen.problem import Problem
from codegen.render import render
from codegen.spec import Spec
from codegen.toolchain import Compiler, UserFile
from codegen.tracing import read_problem
from codegen.verify import Against, ReferenceFails, Trial, verify_each


@dataclass(frozen=True)
class Ran:
    """How far each config is off, by kernel and config, and what could not be tried, as a line."""

    accuracies: Mapping[tuple[str, Config], Accuracy]
    untried: str | None = None


def run_rendered(spec: Spec, model: Path | None) -> Ran:
    """Runs every config of every kernel, and says how far each is off.

    The reference is the Model of the problem file `model`, on the file's own inputs and with the same
    parameters, in float64, on sizes of a few tiles, ragged; without one the problem's formula. The formula also
    stands in for a Model that is another one on small inputs: that cannot be computed there, or whose factors
    follow from its sizes. Then it is not tried that ModelNew feeds the kernel as Model would, and that is said.

    Raises Refused for the first config that is wrong, BadInput when ModelNew cannot be called as the
    problem file says.
    """
    if model is None:
        return Ran(_by_formula(spec))
    with _Rendered(spec, model) as rendered:
        try:
            return Ran(rendered.run())
        except ReferenceFails as failure:
            why = str(failure)
        except Refused:
            other = rendered.other_factors()
            if other is None:
                raise
            why = f"{model}: {other}"
    untried = f"{why}: the configs ran against its formula, and Model and ModelNew not side by side"
    return Ran(_by_formula(replace(spec, interface=None)), untried)


def _by_formula(spec: Spec) -> dict[tuple[str, Config], Accuracy]:
    with _Rendered(spec, None) as rendered:
        return rendered.run()


class _Rendered(Closing):
    """A rendered file on disk, and what calling its ModelNew at the problem's own sizes launches."""

    def __init__(self, spec: Spec, model: Path | None) -> None:
        self._spec = spec
        self._folder = tempfile.TemporaryDirectory(prefix="codegen-")
        self._model = model
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
        terms = self._inputs, self._against, promise_of(self._spec.problem)
        answers = verify_each(self._source, self._spec.gpu, cases, *terms)
        found = {}
        for (trials, _), results in zip(cases, answers, strict=True):
            for trial, result in zip(trials, results, strict=True):
                kernel = trial.site.kernel
                config = configs[kernel][trial.config]
                if not isinstance(result, Accuracy):
                    raise Refused(f"{kernel} {config}: {result.reason if result else 'no result'}")
                found[kernel, config] = result
        return found

    def other_factors(self) -> str | None:
        """The factors that the Model has on the small inputs, where they are others than on its own; else None."""
        assert self._model is not None, "a Model's factors"
        own = _factors(self._spec.problem)
        for _, sizes in self._cases():
            try:
                small, _ = read_problem(self._model, sizes)
            except (BadInput, Refused):  # it is no such product there, whatever its factors are
                continue
            if _factors(small) != own:
                return f"its factors follow from its sizes: {_listed(own)}, and {_listed(_factors(small))} on small ones"
        return None

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


def _factors(problem: Problem) -> list[float | None]:
    return [step.value for step in problem.epilogue if step.op == "scale"]


def _listed(factors: Sequence[float | None]) -> str:
    return " and ".join(f"{factor:g}" for factor in factors if factor is not None) or "none"
