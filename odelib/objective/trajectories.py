"""The trajectories of all series, solved as batches, and how they change with the unknowns."""

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
from odelib.objective.model_columns import ModelColumns
from odelib.objective.observable_sensitivities import observable_sensitivities
from odelib.objective.unknowns import Unknowns
from odelib.problem.data_split import SeriesSlice

Columns = dict[str, Tensor]


@dataclass(frozen=True)
class _Batch:
    """Series with similar numbers of times, solved together.

    members: their indices, (B,). times: (B, 1 + the most times), the start first; shorter rows repeat their last time.
    rows: the requested times in the flattened `times`: a slice if there is one member, which needs no padding.
    """

    members: Tensor
    times: Tensor
    rows: Tensor | slice

    @classmethod
    def of(cls, series: Sequence[SeriesSlice], device: torch.device) -> _Batch:
        """Make the batch of some series."""
        longest = max(len(each.times) for each in series)
        times = [[each.start, *each.times, *[each.times[-1]] * (longest - len(each.times))] for each in series]
        rows = [i * (longest + 1) + 1 + k for i, each in enumerate(series) for k in range(len(each.times))]
        return cls(
            members=torch.tensor([each.index for each in series], dtype=torch.long, device=device),
            times=torch.tensor(times, dtype=torch.float64, device=device),
            rows=torch.tensor(rows, dtype=torch.long, device=device) if len(series) > 1 else slice(1, None),
        )


class Trajectories:
    """The states of series at their times, as N rows: all times of the first series, then of the next.

    times: (N,). slices: the rows of each series. columns: what is observed of the states.
    """

    def __init__(
        self,
        series: Sequence[SeriesSlice],
        unknowns: Unknowns,
        layer: ODELayer,
        columns: ModelColumns,
        device: torch.device,
    ) -> None:
        self.layer, self.unknowns, self._columns = layer, unknowns, columns
        self._names = {each.index: each.name for each in series}
        self._has_several = unknowns.series_count > 1
        borders = np.cumsum([0, *(len(each.times) for each in series)]).tolist()
        self.slices = [slice(first, end) for first, end in pairwise(borders)]
        self.times = torch.tensor([t for each in series for t in each.times], dtype=torch.float64, device=device)
        series_of_row = [each.index for each in series for _ in each.times]
        self._series_of_row = torch.tensor(series_of_row, dtype=torch.long, device=device)
        places_by_size: dict[int, list[int]] = {}  # numbers of times within a factor of 2, to pad no more than that
        for place, each in enumerate(series):
            places_by_size.setdefault(len(each.times).bit_length(), []).append(place)
        self._batches = [_Batch.of([series[i] for i in places], device) for places in places_by_size.values()]
        batched = [
            row
            for places in places_by_size.values()
            for i in places
            for row in range(*self.slices[i].indices(borders[-1]))
        ]
        # where each row is among the rows of all batches, one after the other; None if they are in order
        self._order = torch.tensor(np.argsort(batched), device=device) if len(self._batches) > 1 else None

    def states(self, parameters: Tensor, initial_states: Tensor) -> Tensor:
        """The states, (N, n), from parameters (series, p) and initial states (series, n), differentiable by these.

        Raises `SolveError` for the first series that cannot be solved.
        """
        found = []
        for batch in self._batches:
            solution = self.layer.solve(batch.times, *self._of_members(batch, parameters, initial_states))
            self._raise_first(batch, solution.failures)
            found.append(solution.states.flatten(0, 1)[batch.rows])
        states = found[0] if len(found) == 1 else torch.cat(found)
        return states if self._order is None else states.index_select(0, self._order)

    def observe(self, states: Tensor, parameters: Tensor) -> Columns:
        """The `ModelColumns`, (N,) each, from states (N, n) and parameters (series, p)."""
        return self._columns(self.times, states, *self._of_rows(parameters))

    def linearise(self, coordinates: Reals) -> tuple[Tensor, Columns, dict[str, Reals]]:
        """States (N, n), `ModelColumns` (N,), and the Jacobians of these by the coordinates, (N, count) each.

        By forward sensitivities, which take one solve however many times there are; reverse mode would take one pass
        for each time and observable. Raises as `states`.
        """
        parameters, initial_states = self.unknowns.values(coordinates)
        parameter_jacobian, start_jacobian = self.unknowns.jacobians(coordinates)
        states, state_jacobian = self._sensitivities(parameters, initial_states, parameter_jacobian, start_jacobian)
        of_series = [(rows, parameter_jacobian[i]) for rows, i in zip(self.slices, self._names, strict=True)]
        return states, *observable_sensitivities(
            self._columns, self.times, states, *self._of_rows(parameters), state_jacobian, of_series
        )

    def _sensitivities(
        self, parameters: Tensor, initial_states: Tensor, parameter_jacobian: Reals, start_jacobian: Reals
    ) -> tuple[Tensor, Reals]:
        """The states (N, n) and their Jacobian by the coordinates, (N, n, count)."""
        by, states, jacobians = self.layer.differentiate_by, [], []
        for batch in self._batches:
            found = self.layer.sensitivities(batch.times, *self._of_members(batch, parameters, initial_states))
            self._raise_first(batch, found.failures)
            members = batch.members.cpu().numpy()
            rows = batch.rows if isinstance(batch.rows, slice) else batch.rows.cpu().numpy()
            # dy/dx = ∂y/∂y₀·dy₀/dx + ∂y/∂p·dp/dx
            jacobian = np.einsum("btns,bsc->btnc", found.by_initial_state, start_jacobian[members][:, list(by.states)])
            jacobian += np.einsum(
                "btnp,bpc->btnc", found.by_parameters, parameter_jacobian[members][:, list(by.parameters)]
            )
            n = found.states.shape[-1]
            states.append(found.states.reshape(-1, n)[rows])
            jacobians.append(jacobian.reshape(-1, n, jacobian.shape[-1])[rows])
        order = slice(None) if self._order is None else self._order.cpu().numpy()
        in_order = torch.from_numpy(np.concatenate(states)[order]).to(self.times.device)
        return in_order, np.concatenate(jacobians)[order]

    def _of_members(self, batch: _Batch, parameters: Tensor, initial_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Initial states, parameters and constants of the series of a batch."""
        of_all = initial_states, parameters, self.unknowns.constants
        if len(batch.members) == self.unknowns.series_count:  # all of them, in order
            return of_all
        initial_state, parameter, constant = (values.index_select(0, batch.members) for values in of_all)
        return initial_state, parameter, constant

    def _of_rows(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Parameters and constants of each row's series, (N, p) and (N, c), or those of the only series."""
        constants = self.unknowns.constants
        if not self._has_several:
            return parameters[0], constants[0]
        return parameters.index_select(0, self._series_of_row), constants.index_select(0, self._series_of_row)

    def _raise_first(self, batch: _Batch, failures: Mapping[int, SolveError]) -> None:
        """Raise the first failure, with the name of its series if there are several."""
        if failures:
            member, error = next(iter(failures.items()))
            raise error.in_experiment(self._names[int(batch.members[member])]) if self._has_several else error
