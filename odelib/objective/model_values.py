"""The model's parameters and initial states, put together from free unknowns, fixed values and expressions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from odelib.arrays import Integers, Reals
from odelib.engines.base import DifferentiateBy
from odelib.engines.torch_program import TorchProgram
from odelib.objective.chain_rule import chain
from odelib.problem.expressions.definitions import underlying
from odelib.problem.resolved import ResolvedProblem


@dataclass(frozen=True)
class SeriesNames:
    """The values that a series does not share with others.

    own: the unknowns' names, by the names of the parameters and states that they are. expressions: the texts of the
    initial values that are expressions, by state.
    """

    own: Mapping[str, str]
    expressions: Mapping[str, str]

    def unknown(self, name: str) -> str:
        """The name of the unknown that is a parameter or initial value of this series."""
        return self.own.get(name, name)


class ModelValues:
    """Parameters and initial states of all series as functions of the free unknowns, with derivatives.

    Each of these values is an entry of one pool: the free unknowns, the fixed ones, then the value of each expression
    in each series. So values are gathered from the pool, and derivatives added up in it, without a loop over names.

    constants: of all series, (series, c).
    """

    def __init__(
        self,
        problem: ResolvedProblem,
        series: Sequence[SeriesNames],
        free: Iterable[str],
        fixed: Mapping[str, float],
        device: torch.device,
    ) -> None:
        self._system, self._series, self._device = problem.system, series, device
        self._free = list(free)
        self._fixed = np.array(list(fixed.values()), dtype=np.float64)
        texts = dict.fromkeys(text for one in series for text in one.expressions.values())
        self._expressions = {text: problem.initial_expressions[text] for text in texts}
        self._program = TorchProgram(list(self._expressions.values()), [], problem.system.definitions)
        place = {name: i for i, name in enumerate([*self._free, *fixed])}
        first_of = {text: len(place) + i * len(series) for i, text in enumerate(texts)}

        def places(names: Iterable[str]) -> Integers:
            rows = [
                [
                    first_of[one.expressions[name]] + index if name in one.expressions else place[one.unknown(name)]
                    for name in names
                ]
                for index, one in enumerate(series)
            ]
            return np.array(rows, dtype=np.int64)

        self._parameter_places = places(problem.system.parameters)
        self._state_places = places(problem.system.states)
        constants = [list({**problem.system.constants, **one.constants}.values()) for one in problem.series]
        self.constants = torch.tensor(constants, dtype=torch.float64, device=device).reshape(len(series), -1)

    @property
    def differentiate_by(self) -> DifferentiateBy:
        """The parameters and initial values that depend on a free unknown in any series."""
        free = set(self._free)
        depending = {name for one in self._series for name, unknown in one.own.items() if unknown in free}
        depending |= free.intersection(self._system.parameters)
        for one in self._series:
            depending |= {s for s, text in one.expressions.items() if self._names_in(text) & depending}
        states, parameters = self._system.states, self._system.parameters
        return DifferentiateBy(
            tuple(i for i, name in enumerate(states) if name in depending),
            tuple(i for i, name in enumerate(parameters) if name in depending),
        )

    def _names_in(self, text: str) -> frozenset[str]:
        return underlying(self._expressions[text].names, self._system.definitions)

    def values(self, free: Reals) -> tuple[Tensor, Tensor]:
        """The parameters (series, p) and initial states (series, n), as new tensors. free: (count,)."""
        pool = np.concatenate([free, self._fixed])
        parameters = torch.from_numpy(pool[self._parameter_places]).to(self._device)
        if self._expressions:
            pool = np.concatenate([pool, self._evaluate(parameters).cpu().numpy().reshape(-1)])
        return parameters, torch.from_numpy(pool[self._state_places]).to(self._device)

    def gradient(self, free: Reals, by_parameters: Reals, by_states: Reals) -> Reals:
        """The gradient of a function by the free unknowns, (count,), from its gradients by the `values`."""
        known = len(self._free) + len(self._fixed)
        size = known + len(self._expressions) * len(self._series)
        by_pool = np.bincount(self._state_places.reshape(-1), by_states.reshape(-1), size).astype(
            np.float64, copy=False
        )
        if self._expressions:
            parameters = self.values(free)[0].requires_grad_()
            results = self._evaluate(parameters)
            if results.requires_grad:
                by_results = torch.from_numpy(by_pool[known:].reshape(results.shape)).to(self._device)
                (through_expressions,) = torch.autograd.grad(results, parameters, by_results)
                by_parameters = by_parameters + through_expressions.cpu().numpy()
        by_pool[:known] += np.bincount(self._parameter_places.reshape(-1), by_parameters.reshape(-1), known)
        return by_pool[: len(self._free)]

    def jacobians(self, free: Reals, free_jacobian: Reals) -> tuple[Reals, Reals]:
        """The Jacobians of the `values`, (series, p, k) and (series, n, k), from that of the free ones, (count, k)."""
        pool = np.concatenate([free_jacobian, np.zeros((len(self._fixed), free_jacobian.shape[1]))])
        of_parameters = pool[self._parameter_places]
        if not self._expressions:
            return of_parameters, pool[self._state_places]
        parameters = self.values(free)[0].requires_grad_()
        of_results = []
        for row in self._evaluate(parameters):  # one expression in each series; it depends on that series' parameters
            (found,) = torch.autograd.grad(row.sum(), parameters, retain_graph=True) if row.requires_grad else (None,)
            by_parameters = np.zeros(parameters.shape) if found is None else found.cpu().numpy()
            of_results.append(chain(by_parameters[:, None], of_parameters)[:, 0])
        pool = np.concatenate([pool, *of_results])
        return of_parameters, pool[self._state_places]

    def _evaluate(self, parameters: Tensor) -> Tensor:
        """The values of the initial values' expressions, (expressions, series)."""
        named = dict(zip(self._system.parameters, parameters.unbind(1), strict=True))
        named |= zip(self._system.constants, self.constants.unbind(1), strict=True)
        results = self._program.bind(named, self._device)()
        return torch.stack([result.expand(len(self._series)) for result in results])
