"""The trajectories of several series, solved side by side, and how they change with the unknowns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from odelib.arrays import Reals
from odelib.engines.layer import ODELayer
from odelib.errors import SolveError
from odelib.objective.observable_sensitivities import observable_sensitivities
from odelib.objective.unknowns import Unknowns
from odelib.problem.data_split import SeriesSlice

Observables = dict[str, Tensor]


@dataclass(frozen=True)
class _Group:
    """Series with about as many times, solved as one batch.

    members: their indices. times: (B, 1 + most times), the start first; shorter ones repeat their last. rows: where
    the times asked stand in a flattened (B, 1 + most times); all but the first, where there is one member alone.
    """

    members: Tensor
    times: Tensor
    rows: Tensor | slice


class Trajectories:
    """The states of some parts of the series at their times, as rows one series after the other.

    times: (N,), of all rows. slices: where each part's rows are.
    """

    def __init__(self, parts: Sequence[SeriesSlice], unknowns: Unknowns, layer: ODELayer, device: torch.device) -> None:
        self.layer, self.unknowns = layer, unknowns
        self._names = {part.index: part.name for part in parts}
        self._several = unknowns.series_count > 1
        borders = np.cumsum([0, *(len(part.times) for part in parts)]).tolist()
        self.slices = [slice(first, end) for first, end in pairwise(borders)]
        self.times = torch.tensor([t for part in parts for t in part.times], dtype=torch.float64, device=device)
        owner = [part.index for part in parts for _ in part.times]
        self.owner = torch.tensor(owner, dtype=torch.long, device=device)
        sizes: dict[int, list[int]] = {}
        for place, part in enumerate(
            parts
        ):  # within a factor of 2, lest short series are padded to a long one's length
            sizes.setdefault(len(part.times).bit_length(), []).append(place)
        self._groups = [_group([parts[i] for i in places], device) for places in sizes.values()]
        order = [
            row for places in sizes.values() for i in places for row in range(*self.slices[i].indices(borders[-1]))
        ]
        self._order = torch.tensor(np.argsort(order), device=device) if len(self._groups) > 1 else None

    def states(self, parameters: Tensor, initial_states: Tensor) -> Tensor:
        """The states, (N, n), from the parameters (series, p) and initial states (series, n) of all series.

        Raises `SolveError` for the first series that cannot be solved.
        """
        found = []
        for group in self._groups:
            state, parameter, constants = self._of(group, parameters, initial_states)
            solution = self.layer.solve(group.times, state, parameter, constants)
            self._raise(group, solution.failures)
            found.append(solution.states.flatten(0, 1)[group.rows])
        states = found[0] if len(found) == 1 else torch.cat(found)
        return states if self._order is None else states.index_select(0, self._order)

    def observe(self, states: Tensor, parameters: Tensor) -> Observables:
        """The observables, (N,) each, from the states (N, n) and the parameters (series, p)."""
        return self.layer.observe(self.times, states, *self._at_rows(parameters))

    def linearise(self, coordinates: Reals) -> tuple[Tensor, Observables, dict[str, Reals]]:
        """The states (N, n) and observables at a point, and the latter's derivatives by its coordinates, (N, count).

        By forward sensitivities: one solve a series, whatever the number of times. Raises as `states`.
        """
        parameters, initial_states = self.unknowns.values(coordinates)
        by_parameter, by_state = self.unknowns.jacobians(coordinates)
        states, along = self._sensitivities(parameters, initial_states, by_parameter, by_state)
        pieces = [(rows, by_parameter[index]) for rows, index in zip(self.slices, self._names, strict=True)]
        return states, *observable_sensitivities(
            self.layer, self.times, states, *self._at_rows(parameters), along, pieces
        )

    def _sensitivities(
        self, parameters: Tensor, initial_states: Tensor, by_parameter: Reals, by_state: Reals
    ) -> tuple[Tensor, Reals]:
        """The states (N, n) and their derivatives by the coordinates (N, n, count)."""
        differentiate_by = self.layer.differentiate_by
        states, along = [], []
        for group in self._groups:
            state, parameter, constants = self._of(group, parameters, initial_states)
            found = self.layer.sensitivities(group.times, state, parameter, constants)
            self._raise(group, found.failures)
            members = group.members.cpu().numpy()
            rows = group.rows if isinstance(group.rows, slice) else group.rows.cpu().numpy()
            chained = np.einsum(
                "btns,bsc->btnc", found.by_initial_state, by_state[members][:, list(differentiate_by.states)]
            )
            chained += np.einsum(
                "btnp,bpc->btnc", found.by_parameters, by_parameter[members][:, list(differentiate_by.parameters)]
            )
            n = found.states.shape[-1]
            states.append(found.states.reshape(-1, n)[rows])
            along.append(chained.reshape(-1, n, chained.shape[-1])[rows])
        order = slice(None) if self._order is None else self._order.cpu().numpy()
        return (
            torch.from_numpy(np.concatenate(states)[order]).to(self.times.device),
            np.concatenate(along)[order],
        )

    def _of(self, group: _Group, parameters: Tensor, initial_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        constants = self.unknowns.constants
        if len(group.members) == self.unknowns.series_count:  # all of them, in order
            return initial_states, parameters, constants
        members = group.members
        return (
            initial_states.index_select(0, members),
            parameters.index_select(0, members),
            constants.index_select(0, members),
        )

    def _at_rows(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Parameters and constants of each row's series; those of the only series as they are."""
        constants = self.unknowns.constants
        if not self._several:
            return parameters[0], constants[0]
        return parameters.index_select(0, self.owner), constants.index_select(0, self.owner)

    def _raise(self, group: _Group, failures: Mapping[int, SolveError]) -> None:
        if failures:
            member, error = next(iter(failures.items()))
            raise error.in_experiment(self._names[int(group.members[member])]) if self._several else error


def _group(parts: Sequence[SeriesSlice], device: torch.device) -> _Group:
    most = max(len(part.times) for part in parts)
    times = [[part.start, *part.times, *[part.times[-1]] * (most - len(part.times))] for part in parts]
    rows = [i * (most + 1) + 1 + k for i, part in enumerate(parts) for k in range(len(part.times))]
    return _Group(
        members=torch.tensor([part.index for part in parts], dtype=torch.long, device=device),
        times=torch.tensor(times, dtype=torch.float64, device=device),
        rows=torch.tensor(rows, dtype=torch.long, device=device) if len(parts) > 1 else slice(1, None),
    )
