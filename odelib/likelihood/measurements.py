"""The measurements of all observables with their noise: loss, residuals and expected information of a model.

The model's values are stacked: N is the number of times of all series slices, one slice after the other. An observable
is measured at n of these N rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from odelib.arrays import Integers, Reals
from odelib.likelihood.absolute_terms import AbsoluteTerms
from odelib.likelihood.noise.base import MeasuredValues, NoiseDistribution
from odelib.likelihood.noise.registry import noise_distribution
from odelib.likelihood.resolution import resolution
from odelib.problem.data_split import SeriesSlice
from odelib.problem.noise import AnyNoise
from odelib.problem.solver import AbsoluteTolerance

# the values of each observable by its name, and the sigmas that are expressions by `sigma_of` its name, (N,)
Model = Mapping[str, Tensor]
Scales = Mapping[str, Reals]  # the estimated scales of each observable that has any
NO_SCALES: Reals = np.zeros(0)
RESOLVED, MANY = 10.0, 0.1  # times the solver's error; of the values of an observable
MAX_SOLVER_ERROR = 1e-6  # of what the data themselves add to a loss


def sigma_of(name: str) -> str:
    """The name of a column with an observable's sigma. It is no identifier, so no observable has it."""
    return f"sigma of {name}"


@dataclass(frozen=True)
class _Observable:
    """The measurements of one observable.

    rows, values, solver_error: (n,). solver_error: of each value, by the solver's tolerances.
    has_sigma: whether the data or the noise give a sigma for every value.
    needs_sigma: whether the noise has one. sigma_column: where the model gives it, if it is an expression.
    has_estimated_sigma: whether that has a parameter that occurs in noise alone. is_relative: whether the noise is.
    """

    name: str
    rows: Integers
    values: Reals
    solver_error: Reals
    has_sigma: bool
    needs_sigma: bool
    sigma_column: str | None
    has_estimated_sigma: bool
    is_relative: bool
    noise: NoiseDistribution

    def at(self, model: Model) -> tuple[Reals, NoiseDistribution]:
        """The model's values at the measurements, (n,), and the noise there."""
        values = self._measured(model[self.name])
        if self.sigma_column is None:
            return values, self.noise
        return values, self.noise.with_sigma(self._measured(model[self.sigma_column]))

    def _measured(self, column: Tensor) -> Reals:
        everywhere: Reals = column.detach().cpu().numpy()
        return everywhere[self.rows]


@dataclass(frozen=True)
class InformationBlock:
    """The expected information of one observable's measurements, as Jacobians J whose JᵀJ is the information.

    jacobian: (k, unknowns). scale_jacobian: (k, scales), by the logarithms of this observable's estimated scales.
    The first `measurements` rows are the information about the location, one for each; the rest is about the spread.
    is_smooth: whether the loss curves as the information says, without kinks.
    """

    name: str
    jacobian: Reals
    scale_jacobian: Reals
    measurements: int
    is_smooth: bool


class Measurements:
    """The measurements in some slices of the series.

    noise: by observable; without it the loss is the sum of (residual/sigma)². rtol, atol: the solver's tolerances,
    atol no larger than the `limits` by observable, see `tolerance_limits`.
    estimated_sigmas: the observables whose sigma is an expression with a free parameter that occurs in noise alone.
    """

    def __init__(
        self,
        slices: Sequence[SeriesSlice],
        noise: Mapping[str, AnyNoise] | None,
        *,
        rtol: float,
        atol: AbsoluteTolerance,
        estimated_sigmas: Collection[str] = (),
        limits: Mapping[str, float] | None = None,
    ) -> None:
        self.is_likelihood = noise is not None
        self._slices = slices
        self._times = [time for each in slices for time in each.times]
        self._borders = np.cumsum([0, *(len(each.times) for each in slices)])  # the first row of each slice, and N
        self._observables: dict[str, _Observable] = {}
        for name in dict.fromkeys(name for each in slices for name in each.values):
            found = list(_measured(slices, name))
            if not found:
                continue
            settings = noise[name] if noise is not None else None
            may_lack_sigma = settings is not None and "sigma" in settings.scales and not settings.needs_sigma
            without_sigma = 0.0 if may_lack_sigma else 1.0
            rows, values, sigmas = (list(column) for column in zip(*found, strict=True))
            data = MeasuredValues(
                values=np.array(values, dtype=np.float64),
                sigma=np.array([without_sigma if sigma is None else sigma for sigma in sigmas], dtype=np.float64),
                resolution=resolution(slices, name, rtol, atol, (limits or {}).get(name, math.inf)),
                rtol=rtol,
            )
            has_expression = settings is not None and settings.sigma_expression is not None
            has_given_sigma = settings is not None and "sigma" in settings.given_scales
            self._observables[name] = _Observable(
                name=name,
                rows=np.array(rows, dtype=np.int64),
                values=data.values,
                solver_error=data.solver_error,
                has_sigma=None not in sigmas or has_given_sigma or has_expression,
                needs_sigma=settings is not None and settings.needs_sigma,
                sigma_column=sigma_of(name) if has_expression else None,
                has_estimated_sigma=name in estimated_sigmas,
                is_relative=settings is not None and settings.is_relative,
                noise=noise_distribution(settings, data),
            )

    @property
    def observations(self) -> int:
        """The number of measured values."""
        return sum(len(observable.values) for observable in self._observables.values())

    @property
    def observables(self) -> list[str]:
        """The names of the observables that are measured."""
        return list(self._observables)

    @property
    def estimates_scale(self) -> bool:
        """Whether a spread of the measurements is known from the fit only."""
        if self.is_likelihood:
            return any(self.has_estimated_scale(name) for name in self._observables)
        return not all(observable.has_sigma for observable in self._observables.values())

    @property
    def scale_count(self) -> int:
        """The number of estimated scales."""
        return sum(len(observable.noise.estimated_scales) for observable in self._observables.values())

    def estimated_scales(self, name: str) -> tuple[str, ...]:
        """The names of the estimated scales of an observable."""
        return self._observables[name].noise.estimated_scales

    def has_estimated_scale(self, name: str) -> bool:
        """Whether the spread of an observable's measurements is estimated: by scales, or by parameters of its sigma."""
        observable = self._observables[name]
        return bool(observable.noise.estimated_scales) or observable.has_estimated_sigma

    def has_known_scale(self, name: str) -> bool:
        """Whether an observable's noise needs no scale, or one is given for all its measurements."""
        observable = self._observables[name]
        return not observable.noise.estimated_scales and (observable.has_sigma or not observable.needs_sigma)

    def values_and_units(self, fraction: float) -> tuple[dict[str, tuple[Integers, Reals]], dict[str, Reals]]:
        """Return rows and values of each observable, (n,), and units, (n,): this fraction of the values' spread."""
        measured, units = {}, {}
        for name, observable in self._observables.items():
            values = observable.values
            spread = float(values.std()) or float(np.abs(values).max()) or 1.0
            measured[name] = observable.rows, values
            units[name] = np.full(len(values), fraction * spread)
        return measured, units

    def concentrated_scales(self, model: Model) -> Scales:
        """Return the estimated scales that minimise the loss of this model, with their priors."""
        if not self.is_likelihood:
            return {}
        found = {}
        for name, observable in self._observables.items():
            if observable.noise.estimated_scales:
                at, noise = observable.at(model)
                found[name] = noise.concentrated_scales(at)
        return found

    def loss(self, model: Model, scales: Scales) -> tuple[float, dict[str, Reals]]:
        """Return the negative log-likelihood or the sum of squares, and its derivatives by the model's columns, (N,).

        Not finite where the model is not finite, or has values that the noise cannot be around or have as its sigma.
        """
        total, derivatives = 0.0, {}
        with np.errstate(all="ignore"):
            for name, observable in self._observables.items():
                (at, noise), own_scales = observable.at(model), scales.get(name, NO_SCALES)
                loss, by_model = noise.loss(at, own_scales)
                total += loss
                derivatives[name] = self._at_rows(observable, by_model)
                if observable.sigma_column:
                    by_sigma = noise.loss_by_sigma(at, own_scales)
                    derivatives[observable.sigma_column] = self._at_rows(observable, by_sigma)
        return total, derivatives

    def _at_rows(self, observable: _Observable, values: Reals) -> Reals:
        column = np.zeros(len(self._times))
        column[observable.rows] = values
        return column

    def prior_loss(self, scales: Scales) -> float:
        """Return −log of the prior densities of the estimated scales."""
        return sum(self._observables[name].noise.prior_loss(values) for name, values in scales.items())

    def information(self, model: Model, sensitivities: Mapping[str, Reals], scales: Scales) -> list[InformationBlock]:
        """Return the expected information of each observable's measurements.

        sensitivities: of each column of the model by the unknowns, (N, unknowns).
        """
        blocks = []
        for name, observable in self._observables.items():
            at, noise = observable.at(model)
            factors = noise.information(at, scales.get(name, NO_SCALES))
            jacobians = [factor.by_model[:, None] * sensitivities[name][observable.rows] for factor in factors]
            if observable.sigma_column:
                sigma_jacobian = sensitivities[observable.sigma_column][observable.rows]
                jacobians = [j + f.by_sigma[:, None] * sigma_jacobian for j, f in zip(jacobians, factors, strict=True)]
            blocks.append(
                InformationBlock(
                    name=name,
                    jacobian=np.concatenate(jacobians),
                    scale_jacobian=np.concatenate([factor.by_log_scales for factor in factors]),
                    measurements=len(at),
                    is_smooth=observable.noise.is_smooth,
                )
            )
        return blocks

    def absolute_terms(self, model: Model, sensitivities: Mapping[str, Reals], scales: Scales) -> AbsoluteTerms:
        """Return the terms of the loss that have a kink where the model meets a measurement."""
        found = []
        for name, observable in self._observables.items():
            at, noise = observable.at(model)
            offsets, weights = noise.absolute_terms(at, scales.get(name, NO_SCALES))
            rows = observable.rows[: len(offsets)]  # all or none
            found.append(AbsoluteTerms(sensitivities[name][rows], offsets, weights))
        return AbsoluteTerms.joined(found)

    def solver_error(self, model: Model, scales: Scales) -> float:
        """Return the loss that the solver's error in each value would add to a perfect fit.

        It is capped at `MAX_SOLVER_ERROR` of the loss that the data themselves would add: otherwise any fit would count
        as perfect if `atol` is as large as the data.
        """
        return min(self._loss_of_solver_errors(model, scales), MAX_SOLVER_ERROR * self._loss_of_data(model, scales))

    def changes(self, model: Model, other: Model, scales: Scales) -> dict[str, Reals]:
        """Return how another model's values differ, (n,) of each observable, in units in which 1 is one scale."""
        found = {}
        for name, observable in self._observables.items():
            at, noise = observable.at(model)
            about_location = noise.information(at, scales.get(name, NO_SCALES))[0]
            found[name] = (observable.at(other)[0] - at) * about_location.by_model
        return found

    def differing(self, model: Model, other: Model, scales: Scales, fraction: float) -> list[str]:
        """Return the observables in which another model differs by more than this fraction of the data or the model.

        By root mean squares over the measurements, as these count in the loss.
        """
        changes = self.changes(model, other, scales)
        found = []
        for name, observable in self._observables.items():
            at, noise = observable.at(model)
            by_model = noise.information(at, scales.get(name, NO_SCALES))[0].by_model
            size = np.maximum(np.abs(observable.values), np.abs(at)) * by_model
            if np.square(changes[name]).sum() > fraction**2 * np.square(size).sum():
                found.append(name)
        return found

    def unresolved(self) -> list[str]:
        """Return the observables with relative noise of which the solver hardly resolves a tenth of the values.

        The solver's error is a part of such noise, so that these values hardly count.
        """
        return [
            name
            for name, each in self._observables.items()
            if each.is_relative and np.mean(np.abs(each.values) < RESOLVED * each.solver_error) >= MANY
        ]

    def collapsed(self, model: Model, scales: Scales) -> list[str]:
        """Return the observables whose estimated scales are no larger than what the solver's error makes of them."""
        estimated = [name for name in self._observables if self.has_estimated_scale(name)]
        noise = {name: self._observables[name].at(model)[1] for name in estimated}
        return [name for name in estimated if noise[name].is_collapsed(scales.get(name, NO_SCALES))]

    def _loss_of_solver_errors(self, model: Model, scales: Scales) -> float:
        return self._loss_of(model, scales, {name: each.solver_error for name, each in self._observables.items()})

    def _loss_of_data(self, model: Model, scales: Scales) -> float:
        return self._loss_of(model, scales, {name: each.values for name, each in self._observables.items()})

    def loss_of_spread(self, model: Model, scales: Scales) -> float:
        """Return the loss that the differences of the data from their mean would add to a perfect fit."""
        spread = {name: each.values - each.values.mean() for name, each in self._observables.items()}
        return self._loss_of(model, scales, spread)

    def _loss_of(self, model: Model, scales: Scales, errors: Mapping[str, Reals]) -> float:
        """The loss ½·Σ I·e² that errors e in the values of a perfect fit add, by the information I about each value."""
        total = 0.0
        for name, observable in self._observables.items():
            at, noise = observable.at(model)
            about_location = noise.information(at, scales.get(name, NO_SCALES))[0]
            total += 0.5 * float(np.square(errors[name] * about_location.by_model).sum())
        return total

    def unscaled_residuals(self, model: Model) -> dict[str, Reals]:
        """Return data minus model of each observable, (n,)."""
        return {name: each.values - each.at(model)[0] for name, each in self._observables.items()}

    def location_weights(self, model: Model, scales: Scales) -> dict[str, Reals]:
        """Return by what a difference in each observable is multiplied so that 1 is one scale, (n,); see `changes`."""
        found = {}
        for name, observable in self._observables.items():
            at, noise = observable.at(model)
            found[name] = noise.information(at, scales.get(name, NO_SCALES))[0].by_model
        return found

    def series_of(self, name: str) -> Integers:
        """Return the index of the slice to which each measurement of an observable belongs, (n,)."""
        return self._owners(self._observables[name].rows)

    def residuals(self, model: Model) -> list[dict[str, list[float | None]]]:
        """Return the residuals of each slice at its times, None where nothing is measured or a residual is not finite.

        See `NoiseDistribution.residuals`.
        """
        found: list[dict[str, list[float | None]]] = [
            {name: [None] * len(each.times) for name in each.values} for each in self._slices
        ]
        for name, observable in self._observables.items():
            at, noise = observable.at(model)
            values = noise.residuals(at).tolist()
            owners = self._owners(observable.rows)
            places = observable.rows - self._borders[owners]
            for owner, place, value in zip(owners.tolist(), places.tolist(), values, strict=True):
                found[owner][name][place] = value if math.isfinite(value) else None
        return found

    def r_squared(self, model: Model) -> dict[str, float]:
        """Return 1 − RSS/TSS of the unscaled residuals, of the observables whose values are not all equal."""
        result = {}
        for name, residual in self.unscaled_residuals(model).items():
            values = self._observables[name].values
            total = float(np.square(values - values.mean()).sum())
            if total > 0:
                result[name] = 1 - float(residual @ residual) / total
        return result

    def describe_invalid(self, model: Model, explain: Callable[[str, int], str | None]) -> str | None:
        """Describe the first value of the model that is not finite or that the noise cannot be around, if any.

        explain: returns which part of an observable has no value in a row, or None.
        """
        for name, observable in self._observables.items():
            values, noise = observable.at(model)
            not_finite = observable.rows[~np.isfinite(values)]
            if len(not_finite):
                row = int(not_finite[0])
                reason = explain(name, row)
                what = f"the observable {name!r} is not a finite number {self._where(row)}"
                return f"{what}: {reason}" if reason else what
            without_sigma = noise.has_no_sigma()
            if without_sigma.any():
                row = int(observable.rows[without_sigma][0])
                sigma = float(model[sigma_of(name)].detach()[row])
                where = self._where(row)
                return f"the expression for the sigma of {name!r} is {sigma:.6g}, not a number above 0, {where}"
            impossible = observable.rows[noise.is_impossible(values)]
            if len(impossible):
                rule = noise.model_rule
                return f"the observable {name!r} is not {rule} {self._where(int(impossible[0]))}, as its noise requires"
        return None

    def _where(self, row: int) -> str:
        """Time and experiment of a row, in words."""
        where = f"at t = {self._times[row]:.6g}"
        if len(self._slices) == 1:
            return where
        owner = self._slices[int(self._owners(np.array([row]))[0])]
        return f"{where} in the experiment {owner.name!r:.80}"

    def _owners(self, rows: Integers) -> Integers:
        """The index of the slice to which each row belongs."""
        return np.asarray(np.searchsorted(self._borders, rows, side="right") - 1)


def _measured(slices: Sequence[SeriesSlice], name: str) -> Iterator[tuple[int, float, float | None]]:
    """Row, value and the data's sigma, if any, of each measurement of an observable."""
    first = 0
    for each in slices:
        missing: list[float | None] = [None] * len(each.times)
        sigmas: Sequence[float | None] = each.sigma.get(name) or missing
        column = each.values.get(name) or missing
        for i, (value, sigma) in enumerate(zip(column, sigmas, strict=True)):
            if value is not None:
                yield first + i, value, sigma
        first += len(each.times)
