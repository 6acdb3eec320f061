"""The losses of many series of one model, with their Gauss–Newton matrices, solved as one batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from odelib.arrays import Booleans, Integers, Reals
from odelib.batches.members import Entries, Members
from odelib.batches.noise import BatchNoise, SharedNoise
from odelib.engines.base import DifferentiateBy, StopCheck
from odelib.engines.layer import ODELayer
from odelib.objective.observable_sensitivities import observable_sensitivities
from odelib.optimisers.batched.least_squares import Box, Points
from odelib.optimisers.evaluator import MIN_TRIAL_STEPS, MIN_TRIAL_STEPS_PER_TIME, TRIAL_STEPS_FACTOR
from odelib.optimisers.multi_start import GUESS_FACTOR
from odelib.problem.resolved import ResolvedProblem

TINY = float(np.finfo(np.float64).tiny)


class BatchObjective:
    """The fits of some members: their coordinates, and the points that a minimisation asks for.

    problem: of any of the members; its observables are the rows of `members.values`. Coordinates are the free entries
    in their order, or their logarithms.
    """

    def __init__(
        self, problem: ResolvedProblem, entries: Entries, members: Members, shared_noise: SharedNoise, stop: StopCheck
    ) -> None:
        solver = problem.request.solver
        self._system, self._members, self._observables, self._entries = (
            problem.system,
            members,
            list(problem.system.observables),
            entries,
        )
        self._max_steps, self._border = solver.max_steps, entries.parameters
        constants = [problem.constants[0].get(name, value) for name, value in problem.system.constants.items()]
        self._constants = torch.tensor(constants, dtype=torch.float64)
        self.constants: list[float] = self._constants.tolist()
        self.layer = ODELayer(
            problem.system, engine=problem.engine, method=problem.method, rtol=solver.rtol, atol=solver.atol,
            max_steps=solver.max_steps,
        )  # fmt: skip
        self.layer.stop = stop
        is_shared = bool((members.times == members.times[0]).all())
        self._shared_times = torch.from_numpy(members.times[0].copy()) if is_shared else None
        free = np.flatnonzero(entries.is_free)
        self._free, self._log = free, entries.is_log[free]
        by_state = free[free >= entries.parameters] - entries.parameters
        by_parameter = free[free < entries.parameters]
        self.layer.differentiate_by = DifferentiateBy(tuple(by_state.tolist()), tuple(by_parameter.tolist()))
        lower, upper = (self._to_coordinates(bound[free]) for bound in (entries.lower, entries.upper))
        self.box = Box(lower, upper)
        guesses = members.guesses[:, free]
        self.start = self._to_coordinates(guesses)
        self._guesses = guesses
        self._is_measured = np.isfinite(members.values)
        self._data = np.where(self._is_measured, members.values, 0.0)
        self.noise = BatchNoise(
            members.values, members.sigmas, members.has_sigma, shared_noise, solver.rtol, solver.atol
        )

    @property
    def is_measured(self) -> Booleans:
        """Which values are measured, (B, observables, T)."""
        return self._is_measured

    @property
    def data(self) -> Reals:
        """The measured values, (B, observables, T), 0 where nothing is measured."""
        return self._data

    @property
    def sigmas(self) -> Reals:
        """What the residuals are divided by, (B, observables, T): see `SharedNoise.sigmas`."""
        return self._members.sigmas

    @property
    def times(self) -> Reals:
        """The times of the measurements, (B, T)."""
        return self._members.times

    def magnitudes(self, members: Integers, coordinates: Reals) -> Reals:
        """As `Unknowns.magnitudes`, (b, k)."""
        guesses, width = self._guesses[members], self.box.upper - self.box.lower
        width = np.where(np.isfinite(width), width, 1.0)  # a guess of 0 has bounds: see `Entries.allow`
        size_of_guess = np.where(guesses != 0, np.abs(guesses), width)
        size = np.maximum(np.abs(coordinates), size_of_guess / 100)
        size = np.where((coordinates == 0) & (guesses == 0), size_of_guess, size)
        return np.where(self._log, 1.0, size)

    def values(self, members: Integers, coordinates: Reals) -> Reals:
        """The values of all entries, (b, p + n), at the members' coordinates."""
        found = self._members.guesses[members].copy()
        with np.errstate(over="ignore"):
            found[:, self._free] = np.where(self._log, np.exp(np.where(self._log, coordinates, 0.0)), coordinates)
        # exp(log(x)) may differ from x by a rounding error, but a value at a bound must be the bound
        bounded = np.clip(found[:, self._free], self._entries.lower[self._free], self._entries.upper[self._free])
        found[:, self._free] = bounded
        return found

    def linearise(self, members: Integers, coordinates: Reals) -> Points:
        """The members' points, their residuals divided by the sigmas that are given."""
        with np.errstate(all="ignore"):
            residuals, rows = self._jacobian(members, coordinates)
            weights = self.noise.weights(members, residuals)
            flat = residuals.reshape(len(members), -1)
            weighted = rows * weights[:, :, None, None]
            by_row = weighted.reshape(*flat.shape, -1)
            transposed = by_row.transpose(0, 2, 1)
            loss = self.noise.losses(members, residuals)
            gradient = self.noise.curvature * (transposed @ flat[:, :, None])[:, :, 0]
            information = self.noise.curvature * (transposed @ rows.reshape(*flat.shape, -1))
            negligible = self.noise.negligible(members, loss, weights, coordinates.shape[1])
        failed = ~(np.isfinite(loss) & np.isfinite(gradient).all(axis=1) & np.isfinite(information).all(axis=(1, 2)))
        loss[failed], gradient[failed], information[failed], negligible[failed] = np.inf, 0.0, 0.0, 0.0
        return Points(coordinates, loss, gradient, information, flat, negligible)

    def information_by_observable(self, members: Integers, coordinates: Reals) -> Reals:
        """JᵀJ of each observable's residuals, divided by the sigmas that are given, (b, observables, k, k)."""
        with np.errstate(all="ignore"):
            rows = self._jacobian(members, coordinates)[1]
            return np.asarray(rows.transpose(0, 1, 3, 2) @ rows)

    def units(self, values: Reals) -> Reals:
        """The derivatives of the free values by their coordinates, (b, k), from the values of all entries."""
        return np.where(self._log, np.maximum(values[:, self._free], TINY), 1.0)

    @property
    def free(self) -> Integers:
        """The places of the coordinates among the entries, (k,)."""
        return self._free

    @property
    def is_log(self) -> Booleans:
        """Which coordinates are logarithms, (k,)."""
        return self._log

    def _jacobian(self, members: Integers, coordinates: Reals) -> tuple[Reals, Reals]:
        """Residuals (model − data)/sigma, (b, observables, T), and their Jacobian, (b, observables, T, k).

        0 where nothing is measured.
        """
        values = self.values(members, coordinates)
        parameters, states = values[:, : self._border], values[:, self._border :]
        times = self._times(members)
        state, parameter = torch.from_numpy(states), torch.from_numpy(parameters)
        found = self.layer.sensitivities(times, state, parameter, self._constants)
        by_value = np.concatenate([found.by_parameters, found.by_initial_state], axis=3)  # in the entries' order
        units = self.units(values)
        jacobian = by_value * units[:, None, None, :]
        model, jacobian = self._observed(times, found.states, parameters, jacobian, units)
        is_measured, sigmas = self._is_measured[members], self._members.sigmas[members]
        residuals = np.where(is_measured, (model - self._data[members]) / sigmas, 0.0)
        return residuals, np.where(is_measured[..., None], jacobian / sigmas[..., None], 0.0)

    def losses(self, members: Integers, coordinates: Reals) -> Reals:
        """The members' losses alone, (b,), infinite where there is none."""
        values = self.values(members, coordinates)
        state, parameter = (torch.from_numpy(values[:, s]) for s in (slice(self._border, None), slice(self._border)))
        times = self._times(members)
        kept, self.layer.differentiate_by = self.layer.differentiate_by, DifferentiateBy()
        try:
            with torch.no_grad(), np.errstate(all="ignore"):
                states = self.layer.sensitivities(times, state, parameter, self._constants).states
                columns = self.layer.observe(times, torch.from_numpy(states), parameter, self._constants)
        finally:
            self.layer.differentiate_by = kept
        model = np.stack([columns[name].numpy() for name in self._observables], axis=1)
        with np.errstate(all="ignore"):
            scaled = (model - self._data[members]) / self._members.sigmas[members]
            residuals = np.where(self._is_measured[members], scaled, 0.0)
            losses = self.noise.losses(members, residuals)
        losses[~np.isfinite(losses)] = np.inf
        return losses

    def points_between(self, members: Integers, unit: Reals) -> Reals:
        """Points, (b, c, k), over the intervals that `candidate_points` searches, from points (c, k) in a unit cube."""
        guess = self._guesses[members]
        lower, upper = (bound[self._free] for bound in (self._entries.lower, self._entries.upper))
        reach = (GUESS_FACTOR - 1) * np.abs(guess)  # a guess of 0 has bounds: see `Entries.allow`
        is_positive = guess > 0
        low = np.maximum(np.where(is_positive, guess / GUESS_FACTOR, guess - reach), lower)
        high = np.minimum(np.where(is_positive, guess * GUESS_FACTOR, guess + reach), upper)
        is_bounded = np.isfinite(lower) & np.isfinite(upper)
        low, high = np.where(is_bounded, lower, low)[:, None], np.where(is_bounded, upper, high)[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.where(low > 0, low * (high / low) ** unit, low + (high - low) * unit)
        return self.box.clip(self._to_coordinates(values))

    def limit_steps(self) -> None:
        """Let trajectories take no more steps than an evaluator's trials, if those so far were of its best points."""
        engine = self.layer.sensitivity_engine
        least = MIN_TRIAL_STEPS + MIN_TRIAL_STEPS_PER_TIME * self._members.times.shape[1]
        limit = max(least, TRIAL_STEPS_FACTOR * engine.most_steps)
        self.layer.options = replace(self.layer.options, max_steps=min(limit, self._max_steps))

    def _observed(
        self, times: Tensor, states: Reals, parameters: Reals, jacobian: Reals, units: Reals
    ) -> tuple[Reals, Reals]:
        """What is observed of the states (b, T, n), (b, observables, T), and its Jacobian (b, observables, T, k)."""
        names = self._system.states
        if all(name in names for name in self._observables):
            rows = [names.index(name) for name in self._observables]
            return states[:, :, rows].transpose(0, 2, 1), jacobian[:, :, rows].transpose(0, 2, 1, 3)
        count, steps, n = states.shape
        by_parameters = np.zeros((count, parameters.shape[1], units.shape[1]))
        for column, place in enumerate(self._free[self._free < self._entries.parameters].tolist()):
            by_parameters[:, place, column] = units[:, column]
        columns, jacobians = observable_sensitivities(
            self.layer.observe,
            times.expand(count, steps).reshape(-1),
            torch.from_numpy(states.reshape(-1, n)),
            torch.from_numpy(np.repeat(parameters, steps, axis=0)),
            self._constants.expand(count * steps, -1),
            jacobian.reshape(-1, n, units.shape[1]),
            [(slice(b * steps, (b + 1) * steps), by_parameters[b]) for b in range(count)],
        )
        model = np.stack([columns[name].numpy().reshape(count, steps) for name in self._observables], axis=1)
        of_observables = [jacobians[name].reshape(count, steps, -1) for name in self._observables]
        return model, np.stack(of_observables, axis=1)

    def _times(self, members: Integers) -> Tensor:
        """The members' times, (b, T), or (T,) where all have the same: one tensor, which the layer checks once."""
        return torch.from_numpy(self._members.times[members]) if self._shared_times is None else self._shared_times

    def _to_coordinates(self, values: Reals) -> Reals:
        with np.errstate(divide="ignore"):
            return np.where(self._log, np.log(np.where(self._log, np.maximum(values, 0), 1.0)), values)
