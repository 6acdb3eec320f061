"""The trajectories of all series, solved as batches, and how they change with the unknowns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from odelib.arrays import Reals
from odelib.engines.base import Happened
from odelib.engines.layer import ODELayer, ProtocolSettings
from odelib.engines.schedules.schedule import Protocols
from odelib.errors import SolveError
from odelib.objective.model_columns import ModelColumns
from odelib.objective.observable_sensitivities import Seen, observable_sensitivities
from odelib.objective.series_protocols import RECORDED_EVENTS, SeriesProtocols
from odelib.objective.unknowns import Unknowns
from odelib.problem.data_split import SeriesSlice

Columns = dict[str, Tensor]


@dataclass(frozen=True)
class _Batch:
    """Series with similar numbers of times, solved together.

    members: their indices, (B,). times: (B, 1 + the most times), the start first; shorter rows repeat their last time.
    rows: the requested times in the flattened `times`: a slice if there is one member, which needs no padding.
    done: what was done in the series.
    """

    members: Tensor
    times: Tensor
    rows: Tensor | slice
    done: ProtocolSettings

    @classmethod
    def of(cls, series: Sequence[SeriesSlice], protocols: SeriesProtocols, device: torch.device) -> _Batch:
        """Make the batch of some series."""
        longest = max(len(each.times) for each in series)
        times = [[each.start, *each.times, *[each.times[-1]] * (longest - len(each.times))] for each in series]
        rows = [i * (longest + 1) + 1 + k for i, each in enumerate(series) for k in range(len(each.times))]
        return cls(
            members=torch.tensor([each.index for each in series], dtype=torch.long, device=device),
            times=torch.tensor(times, dtype=torch.float64, device=device),
            rows=torch.tensor(rows, dtype=torch.long, device=device) if len(series) > 1 else slice(1, None),
            done=protocols.settings([each.index for each in series], 1 + longest, starts=True),
        )

    def repeated(self, count: int) -> tuple[Tensor, ProtocolSettings]:
        """The times and what was done, for all members `count` times, one point after the other."""
        if count == 1:
            return self.times, self.done
        protocols, before = self.done.protocols, self.done.before
        done = replace(
            self.done,
            protocols=protocols and Protocols(protocols.all, protocols.members * count),
            before=None if before is None else before.repeat(count, 1),
        )
        return self.times.repeat(count, 1), done


class Linearised(NamedTuple):
    """The model at a point: states (N, n), `ModelColumns` (N,) each, and the Jacobians of these by the coordinates,
    (N, count) each.
    """

    states: Tensor
    columns: Columns
    jacobians: dict[str, Reals]


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
        protocols: SeriesProtocols,
        device: torch.device,
    ) -> None:
        self.layer, self.unknowns, self._columns, self._protocols = layer, unknowns, columns, protocols
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
        self._batches = [
            _Batch.of([series[i] for i in places], protocols, device) for places in places_by_size.values()
        ]
        self._constantly_seen: dict[str, Tensor] | None = None
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
            of_members = self._of_members(batch, parameters, initial_states)
            solution = self.layer.solve(batch.times, *of_members, batch.done)
            self._raise_first(batch, solution.failures)
            found.append(solution.states.flatten(0, 1)[batch.rows])
        return self._in_order(found)

    def start_states(self, parameters: Tensor, initial_states: Tensor) -> dict[int, Tensor]:
        """The states (n,) at which series start that do so at a steady state, by index. Raises as `states`."""
        found: dict[int, Tensor] = {}
        for batch in self._batches:
            members = [int(member) for member in batch.members]
            if any(self._protocols.has_steady_states[member] for member in members):
                of_members = self._of_members(batch, parameters, initial_states)
                solution = self.layer.solve(batch.times, *of_members, batch.done)
                self._raise_first(batch, solution.failures)
                found |= dict(zip(members, solution.states[:, 0], strict=True))
        return {member: state for member, state in found.items() if self._protocols.has_steady_states[member]}

    def happened(self, parameters: Tensor, initial_states: Tensor) -> list[tuple[Happened, ...]]:
        """The events of each series, in the order of `slices`, by the arguments of `states`. Raises as `states`.

        Their times are derived by the parameters and initial states that need a gradient.
        """
        found: dict[int, tuple[Happened, ...]] = {}
        for batch in self._batches:
            done = replace(batch.done, recorded_events=RECORDED_EVENTS)
            solution = self.layer.solve(batch.times, *self._of_members(batch, parameters, initial_states), done)
            self._raise_first(batch, solution.failures)
            for place, member in enumerate(batch.members.tolist()):
                found[member] = tuple(solution.happened.get(place, ()))
        return [found[index] for index in self._names]

    def observe(self, states: Tensor, parameters: Tensor) -> Columns:
        """The `ModelColumns`, (N,) each, from states (N, n) and parameters (series, p)."""
        return self._columns(self.times, states, *self._of_rows(parameters), self._seen(parameters))

    def _seen(self, parameters: Tensor) -> dict[str, Tensor]:
        """The inputs and changing constants that measurements see, (N,) each, differentiable by the parameters."""
        if self._constantly_seen is not None:
            return self._constantly_seen
        found: list[dict[str, Tensor]] = []
        for batch in self._batches:
            _, parameter, constant = self._of_members(batch, parameters, parameters)
            values = self._columns.seen(batch.times, parameter, constant, batch.done)
            found.append({name: column.flatten(0, 1)[batch.rows] for name, column in values.items()})
        seen = {name: self._in_order([each[name] for each in found]) for name in found[0]}
        if parameters.requires_grad and not any(column.requires_grad for column in seen.values()):
            self._constantly_seen = seen  # they depend on no parameter
        return seen

    def _in_order(self, of_batches: Sequence[Tensor]) -> Tensor:
        """The rows of all series from those of all batches."""
        rows = of_batches[0] if len(of_batches) == 1 else torch.cat(list(of_batches))
        return rows if self._order is None else rows.index_select(0, self._order)

    def linearise(self, coordinates: Reals) -> Linearised:
        """States, `ModelColumns` and their Jacobians at a point, (count,). Raises as `states`.

        By forward sensitivities, which take one solve however many times there are; reverse mode would take one pass
        for each time and observable.
        """
        [found] = self.linearise_all([coordinates])
        if isinstance(found, SolveError):
            raise found
        return found

    def linearise_all(self, points: Sequence[Reals]) -> list[Linearised | SolveError]:
        """`linearise` at several points, (count,) each, solved as one batch; the error where that fails."""
        values = [self.unknowns.values(point) for point in points]
        parameters, starts = (torch.stack(of_points) for of_points in zip(*values, strict=True))
        of_parameters, of_starts = (
            np.array(of_points) for of_points in zip(*map(self.unknowns.jacobians, points), strict=True)
        )
        found: list[Linearised | SolveError | None] = [None] * len(points)
        states, state_jacobian, failures = self._sensitivities(parameters, starts, of_parameters, of_starts)
        for place, error in failures.items():
            found[place] = error
        solved = [place for place in range(len(points)) if place not in failures]
        if solved:
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is found where it is used
                linearised = self._observe_all(
                    states[solved], state_jacobian[solved], parameters[solved], of_parameters[solved]
                )
            for place, of_point in zip(solved, linearised, strict=True):
                found[place] = of_point
        return [each for each in found if each is not None]

    def _sensitivities(
        self, parameters: Tensor, starts: Tensor, of_parameters: Reals, of_starts: Reals
    ) -> tuple[Reals, Reals, dict[int, SolveError]]:
        """The states (B, N, n) at B points, their Jacobians by the coordinates, (B, N, n, count), and the failures.

        parameters, starts: (B, series, p) and (B, series, n). of_parameters, of_starts: their Jacobians.
        """
        by, states, jacobians, failures = self.layer.differentiate_by, [], [], dict[int, SolveError]()
        points, n, count = len(parameters), starts.shape[-1], of_starts.shape[-1]
        for batch in self._batches:
            of_members = self._of_members(batch, parameters, starts)
            times, done = batch.repeated(points)
            found = self.layer.sensitivities(times, *of_members, done)
            for index, error in found.failures.items():
                failures.setdefault(index // len(batch.members), self._of_series(batch, index, error))
            members = batch.members.cpu().numpy()
            rows = batch.rows if isinstance(batch.rows, slice) else batch.rows.cpu().numpy()
            # dy/dx = ∂y/∂y₀·dy₀/dx + ∂y/∂p·dp/dx
            size = points * len(members)
            by_starts = of_starts[:, members][:, :, list(by.states)].reshape(size, len(by.states), count)
            by_parameters = of_parameters[:, members][:, :, list(by.parameters)].reshape(
                size, len(by.parameters), count
            )
            jacobian = np.einsum("btns,bsc->btnc", found.by_initial_state, by_starts)
            jacobian += np.einsum("btnp,bpc->btnc", found.by_parameters, by_parameters)
            states.append(found.states.reshape(points, -1, n)[:, rows])
            jacobians.append(jacobian.reshape(points, -1, n, count)[:, rows])
        order = slice(None) if self._order is None else self._order.cpu().numpy()
        return np.concatenate(states, axis=1)[:, order], np.concatenate(jacobians, axis=1)[:, order], failures

    def _observe_all(
        self, states: Reals, state_jacobian: Reals, parameters: Tensor, of_parameters: Reals
    ) -> list[Linearised]:
        """Observe the states (B, N, n) of B points. Arguments as those and the results of `_sensitivities`."""
        count, size = states.shape[:2]
        on_device = torch.from_numpy(states).to(self.times.device)
        of_rows = [self._of_rows(each) for each in parameters]
        if count > 1:
            of_rows = [(p.expand(size, -1), c.expand(size, -1)) for p, c in of_rows]
        row_parameters, row_constants = (
            each[0] if count == 1 else torch.cat(each) for each in zip(*of_rows, strict=True)
        )
        of_series = [
            (slice(place * size + rows.start, place * size + rows.stop), jacobian[index])
            for place, jacobian in enumerate(of_parameters)
            for rows, index in zip(self.slices, self._names, strict=True)
        ]
        with torch.enable_grad():
            own = [each.detach().requires_grad_() for each in parameters]
            seen = Seen.joined([Seen.of(self._seen(each), each) for each in own])
        columns, jacobians = observable_sensitivities(
            self._columns,
            self.times if count == 1 else self.times.repeat(count),
            on_device.flatten(0, 1),
            row_parameters,
            row_constants,
            state_jacobian.reshape(count * size, *state_jacobian.shape[2:]),
            of_series,
            seen,
        )
        places = [slice(place * size, (place + 1) * size) for place in range(count)]
        return [
            Linearised(
                on_device[place],
                {name: column[rows] for name, column in columns.items()},
                {name: jacobian[rows] for name, jacobian in jacobians.items()},
            )
            for place, rows in enumerate(places)
        ]

    def _of_members(self, batch: _Batch, parameters: Tensor, initial_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Initial states, parameters and constants of the series of a batch, at one point or for each of several."""
        initial_state, parameter, constant = initial_states, parameters, self.unknowns.constants
        if len(batch.members) < self.unknowns.series_count:  # otherwise it has all of them, in order
            initial_state, parameter, constant = (
                values.index_select(values.dim() - 2, batch.members) for values in (initial_state, parameter, constant)
            )
        if parameters.dim() == 3:
            constant = constant.repeat(len(parameters), 1)
            return initial_state.flatten(0, 1), parameter.flatten(0, 1), constant
        return initial_state, parameter, constant

    def _of_rows(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Parameters and constants of each row's series, (N, p) and (N, c), or those of the only series."""
        constants = self.unknowns.constants
        if not self._has_several:
            return parameters[0], constants[0]
        return parameters.index_select(0, self._series_of_row), constants.index_select(0, self._series_of_row)

    def values_of_row(self, row: int, parameters: Tensor) -> list[float]:
        """The values of parameters and constants at a row; parameters: (series, p)."""
        series = int(self._series_of_row[row])
        return [*parameters[series].tolist(), *self.unknowns.constants[series].tolist()]

    def _raise_first(self, batch: _Batch, failures: Mapping[int, SolveError]) -> None:
        for index, error in failures.items():
            raise self._of_series(batch, index, error)

    def _of_series(self, batch: _Batch, index: int, error: SolveError) -> SolveError:
        """The error of a trajectory of a batch, with the name of its series if there are several."""
        member = index % len(batch.members)
        return error.in_experiment(self._names[int(batch.members[member])]) if self._has_several else error
