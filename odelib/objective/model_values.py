"""The model's parameters and initial states, put together from free unknowns, fixed values and expressions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from odelib.arrays import Integers, Reals
from odelib.engines.base import DifferentiateBy
from odelib.engines.torch_program import TorchProgram
from odelib.objective.chain_rule import chain
from odelib.problem.expressions.definitions import Definitions, in_order, underlying
from odelib.problem.expressions.parser import Expression
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


@dataclass(frozen=True)
class _Group:
    """Series that give the same constants by the same expressions.

    series: their indices, (m,). outputs: the expressions of constants by name, and of initial values by text.
    definitions: the system's and the expressions of the constants. constants: by name the numbers (m,). first: the
    place in the pool of the first output in the first of the series; then come those in the other series, then the
    next output.
    """

    series: Integers
    outputs: Mapping[str, Expression]
    program: TorchProgram
    definitions: Definitions
    constants: Mapping[str, Tensor]
    first: int

    def place(self, name: str, index: int) -> int:
        """The place in the pool of an output in a series."""
        return self.first + list(self.outputs).index(name) * len(self.series) + int(np.searchsorted(self.series, index))

    @property
    def places(self) -> slice:
        """The places of all outputs in the pool."""
        return slice(self.first, self.first + len(self.outputs) * len(self.series))

    def depending_on(self, names: set[str]) -> set[str]:
        """The outputs that depend on any of these names."""
        return {name for name, e in self.outputs.items() if underlying(e.names, self.definitions) & names}


class ModelValues:
    """Parameters and initial states of all series as functions of the free unknowns, with derivatives.

    Each of these values is an entry of one pool: the free unknowns, the fixed ones, the constants that are numbers here
    and expressions elsewhere, then the value of each expression. So values are gathered from the pool, and derivatives
    added up in it, without a loop over names. Parameters are those of `ResolvedProblem.solved_system`.

    constants: of all series, those of the solved system, (series, c).
    """

    def __init__(
        self,
        problem: ResolvedProblem,
        series: Sequence[SeriesNames],
        free: Iterable[str],
        fixed: Mapping[str, float],
        device: torch.device,
    ) -> None:
        self._system, self._solved, self._series, self._device = problem.system, problem.solved_system, series, device
        self._free = list(free)
        self._names_of_states = problem.names_of_states
        self._own_count = len(problem.system.parameters)  # of the caller's parameters; derived ones follow
        derived = self._solved.parameters[self._own_count :]
        given = [{**problem.system.constants, **own} for own in problem.constants]
        self._numbers = [{n: v for n in derived if isinstance(v := own[n], int | float)} for own in given]
        numbers = {(i, name): value for i, own in enumerate(self._numbers) for name, value in own.items()}
        self._fixed = np.array([*fixed.values(), *numbers.values()], dtype=np.float64)
        place: dict[object, int] = {name: i for i, name in enumerate([*self._free, *fixed, *numbers])}
        self._latest: tuple[Reals, Tensor, list[Tensor]] | None = None
        self._size = len(place)
        self._groups = list(self._grouped(problem, given))
        group_of = {index: group for group in self._groups for index in group.series.tolist()}

        def places(names: Iterable[str]) -> Integers:
            rows = []
            for index, one in enumerate(series):
                group, row = group_of.get(index), []
                for name in names:
                    output = one.expressions.get(name, name)
                    if group is not None and output in group.outputs and (name in one.expressions or name in derived):
                        row.append(group.place(output, index))
                    else:
                        row.append(place[(index, name) if name in derived else one.unknown(name)])
                rows.append(row)
            return np.array(rows, dtype=np.int64)

        self._parameter_places = places(self._solved.parameters)
        self._state_places = places(problem.system.states)
        constants = [[own[name] for name in self._solved.constants] for own in given]
        self.constants = torch.tensor(constants, dtype=torch.float64, device=device).reshape(len(series), -1)

    def _grouped(self, problem: ResolvedProblem, given: Sequence[Mapping[str, float | Expression]]) -> Iterable[_Group]:
        """The groups of all series that have expressions. given: the constants of each series."""
        members: dict[tuple[tuple[str, str], ...], list[int]] = {}
        for index, own in enumerate(given):
            key = tuple((name, value.text) for name, value in own.items() if isinstance(value, Expression))
            members.setdefault(key, []).append(index)
        for key, indices in members.items():
            texts = dict.fromkeys(text for i in indices for text in self._series[i].expressions.values())
            expressions = {name: problem.expressions[text] for name, text in key}
            expressions |= {text: problem.expressions[text] for text in texts}
            if not expressions:
                continue
            definitions = problem.system.definitions
            if key:
                definitions = in_order({**definitions, **{name: expressions[name] for name, _ in key}})[0]
            numbers = {
                name: torch.tensor([given[i][name] for i in indices], dtype=torch.float64, device=self._device)
                for name in problem.system.constants
                if name not in dict(key)
            }
            program = TorchProgram(list(expressions.values()), [], definitions)
            yield _Group(np.array(indices), expressions, program, definitions, numbers, self._size)
            self._size += len(expressions) * len(indices)

    @property
    def differentiate_by(self) -> DifferentiateBy:
        """Those of `moving` that the states depend on: most parameters of many a model only scale observables."""
        moving, names = self.moving, self._solved.parameters
        return replace(moving, parameters=tuple(i for i in moving.parameters if names[i] in self._names_of_states))

    @cached_property
    def moving(self) -> DifferentiateBy:
        """The parameters and initial values that depend on a free unknown in any series."""
        free = set(self._free)
        depending = {name for one in self._series for name, unknown in one.own.items() if unknown in free}
        depending |= free.intersection(self._system.parameters)
        parameters = depending & set(self._system.parameters)
        for group in self._groups:
            outputs = group.depending_on(parameters)
            depending |= outputs & set(self._solved.parameters)
            for index in group.series.tolist():
                depending |= {state for state, text in self._series[index].expressions.items() if text in outputs}
        return DifferentiateBy(
            tuple(i for i, name in enumerate(self._system.states) if name in depending),
            tuple(i for i, name in enumerate(self._solved.parameters) if name in depending),
        )

    def values(self, free: Reals) -> tuple[Tensor, Tensor]:
        """The parameters (series, p) and initial states (series, n), as new tensors. free: (count,)."""
        pool = np.concatenate([free, self._fixed])
        if self._groups:
            _, of_groups = self._evaluated(pool)
            pool = np.concatenate([pool, *(results.detach().cpu().numpy().reshape(-1) for results in of_groups)])
        parameters = torch.from_numpy(pool[self._parameter_places]).to(self._device)
        return parameters, torch.from_numpy(pool[self._state_places]).to(self._device)

    def gradient(self, free: Reals, by_parameters: Reals, by_states: Reals) -> Reals:
        """The gradient of a function by the free unknowns, (count,), from its gradients by the `values`."""
        by_pool = self._added_up(self._state_places, by_states) + self._added_up(self._parameter_places, by_parameters)
        if self._groups:
            own, of_groups = self._evaluated(np.concatenate([free, self._fixed]))
            for group, results in zip(self._groups, of_groups, strict=True):
                if results.requires_grad:
                    by_results = torch.from_numpy(by_pool[group.places].reshape(results.shape)).to(self._device)
                    (by_own,) = torch.autograd.grad(results, own, by_results, retain_graph=True)
                    by_pool += self._added_up(self._parameter_places[:, : self._own_count], by_own.cpu().numpy())
        return by_pool[: len(self._free)]

    def jacobians(self, free: Reals, free_jacobian: Reals) -> tuple[Reals, Reals]:
        """The Jacobians of the `values`, (series, p, k) and (series, n, k), from that of the free ones, (count, k)."""
        pool = np.zeros((self._size, free_jacobian.shape[1]))
        pool[: len(self._free)] = free_jacobian
        if self._groups:
            of_own = pool[self._parameter_places[:, : self._own_count]]
            own, of_groups = self._evaluated(np.concatenate([free, self._fixed]))
            for group, results in zip(self._groups, of_groups, strict=True):
                rows = []
                with torch.enable_grad():
                    totals = [row.sum() for row in results]  # an output in a series depends on its own parameters
                for total in totals:
                    found = torch.autograd.grad(total, own, retain_graph=True)[0] if total.requires_grad else None
                    by_own = np.zeros(own.shape) if found is None else found.cpu().numpy()
                    rows.append(chain(by_own[:, None], of_own)[:, 0][group.series])
                pool[group.places] = np.concatenate(rows)
        return pool[self._parameter_places], pool[self._state_places]

    def with_derived(self, index: int, parameters: Tensor) -> Tensor:
        """The parameters of the solved system, (p,), from the caller's, in a series; differentiable by these."""
        derived = self._solved.parameters[self._own_count :]
        if not derived:
            return parameters
        named = dict(zip(self._system.parameters, parameters.unbind(), strict=True))
        found = {name: parameters.new_tensor(value) for name, value in self._numbers[index].items()}
        for group in self._groups:
            if index in group.series:
                at = int(np.searchsorted(group.series, index))
                constants = {name: column[at] for name, column in group.constants.items()}
                found |= zip(group.outputs, group.program.bind({**constants, **named}, self._device)(), strict=True)
        return torch.cat([parameters, torch.stack([found[name].expand(()) for name in derived])])

    def _evaluated(self, known: Reals) -> tuple[Tensor, list[Tensor]]:
        """The caller's parameters (series, p), and the outputs of each group, differentiable by these.

        known: the part of the pool that needs no expression. Those of the latest point are kept: its derivatives are
        asked for after its values.
        """
        if self._latest is None or not np.array_equal(self._latest[0], known):
            with torch.enable_grad():
                own = torch.from_numpy(known[self._parameter_places[:, : self._own_count]]).to(self._device)
                own.requires_grad_()
                self._latest = known, own, [self._evaluate(group, own) for group in self._groups]
        return self._latest[1:]

    def _added_up(self, places: Integers, values: Reals) -> Reals:
        """Values (…) added up in their places in the pool."""
        return np.bincount(places.reshape(-1), values.reshape(-1), self._size).astype(np.float64, copy=False)

    def _evaluate(self, group: _Group, own: Tensor) -> Tensor:
        """The outputs of a group, (outputs, m). own: the caller's parameters of all series."""
        named = dict(zip(self._system.parameters, own[group.series].unbind(1), strict=True))
        results = group.program.bind({**group.constants, **named}, self._device)()
        return torch.stack([result.expand(len(group.series)) for result in results])
