"""Measured values of several observables with their noise: loss, residuals and information of a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from odelib.arrays import Integers, Reals
from odelib.likelihood.absolute_terms import AbsoluteTerms
from odelib.likelihood.noise.base import Noise, noise_of
from odelib.problem.data_split import SeriesSlice
from odelib.problem.noise import AnyNoise

Model = Mapping[str, Tensor]  # (N,) for each observable: the rows of all parts
Scales = Mapping[str, Reals]  # the estimated scales of each observable
NONE: Reals = np.zeros(0)  # the scales of an observable of which none is estimated


@dataclass(frozen=True)
class _Column:
    """One observable: in which rows it was measured, what was measured, and how that scatters.

    has_sigma: whether the data give a sigma everywhere, or the noise does.
    """

    rows: Integers
    observed: Reals
    has_sigma: bool
    noise: Noise

    def of(self, model: Tensor) -> Reals:
        """The model where there are measurements."""
        everywhere: Reals = model.detach().cpu().numpy()
        return everywhere[self.rows]


@dataclass(frozen=True)
class InformationBlock:
    """The expected information of one observable's measurements, as rows whose squares sum up to it.

    jacobian: (k, unknowns), scale_jacobian: (k, scales of this observable). The rows from `measurements` on
    are the information about the spread. is_smooth: whether the loss curves as the information says, without kinks.
    """

    name: str
    jacobian: Reals
    scale_jacobian: Reals
    measurements: int
    is_smooth: bool


class Measurements:
    """What was measured in some parts of the series.

    noise: by observable; without any the loss is the sum of (residual/sigma)². rtol, atol: the solver's.
    """

    def __init__(
        self,
        parts: Sequence[SeriesSlice],
        noise: Mapping[str, AnyNoise] | None,
        *,
        rtol: float,
        atol: float,
    ) -> None:
        self.is_likelihood = noise is not None
        self._parts = parts
        self._times = [time for part in parts for time in part.times]
        self._borders = np.cumsum([0, *(len(part.times) for part in parts)])
        self._columns: dict[str, _Column] = {}
        self._accuracy: dict[str, Reals] = {}
        for name in dict.fromkeys(name for part in parts for name in part.values):
            found = list(_measured(parts, name))
            if not found:
                continue
            rows, values, sigmas = zip(*found, strict=True)
            observed = np.array(values, dtype=np.float64)
            sigma = np.array([1.0 if s is None else s for s in sigmas])
            self._accuracy[name] = atol + rtol * np.abs(observed)
            settings = noise[name] if noise is not None else None
            self._columns[name] = _Column(
                rows=np.array(rows, dtype=np.int64),
                observed=observed,
                has_sigma=None not in sigmas or isinstance(getattr(settings, "sigma", None), float),
                noise=noise_of(settings, observed, sigma, self._accuracy[name]),
            )

    @property
    def observations(self) -> int:
        """How many values there are."""
        return sum(len(column.observed) for column in self._columns.values())

    @property
    def observables(self) -> list[str]:
        """Those of which there are measurements."""
        return list(self._columns)

    @property
    def estimates_scale(self) -> bool:
        """Whether the spread of the measurements is known from the fit alone."""
        if self.is_likelihood:
            return self.scale_count > 0
        return not all(column.has_sigma for column in self._columns.values())

    @property
    def scale_count(self) -> int:
        """How many scales are estimated."""
        return sum(len(column.noise.estimated) for column in self._columns.values())

    def estimated_scales(self, name: str) -> tuple[str, ...]:
        """Which scales of an observable are estimated."""
        return self._columns[name].noise.estimated

    def values_and_units(self, part: float) -> tuple[dict[str, tuple[Integers, Reals]], dict[str, Reals]]:
        """Rows and values of each observable's measurements, and a unit for each: this part of their spread."""
        measured, units = {}, {}
        for name, column in self._columns.items():
            values = column.observed
            spread = float(values.std()) or float(np.abs(values).max()) or 1.0
            measured[name] = column.rows, values
            units[name] = np.full(len(values), part * spread)
        return measured, units

    def has_known_scale(self, name: str) -> bool:
        """Whether an observable's noise needs no scale, or one is given for all its measurements."""
        column = self._columns[name]
        return not column.noise.estimated and (column.has_sigma or not column.noise.needs_sigma)

    def concentrated_scales(self, model: Model) -> Scales:
        """The likeliest scales beside this model."""
        if not self.is_likelihood:
            return {}
        return {
            name: column.noise.concentrated_scales(column.of(model[name]))
            for name, column in self._columns.items()
            if column.noise.estimated
        }

    def loss(self, model: Model, scales: Scales) -> tuple[float, dict[str, Reals]]:
        """The sum of squares, or the negative log-likelihood, and its derivatives by each measured observable, (N,).

        Neither is finite where the model is not, or is none that the noise can have.
        """
        total, slopes = 0.0, {}
        with np.errstate(all="ignore"):
            for name, column in self._columns.items():
                loss, slope = column.noise.loss(column.of(model[name]), scales.get(name, NONE))
                total += loss
                slopes[name] = np.zeros(len(self._times))
                slopes[name][column.rows] = slope
        return total, slopes

    def prior_loss(self, scales: Scales) -> float:
        """−log of the prior densities of the scales."""
        return sum(column.noise.prior_loss(scales[name]) for name, column in self._columns.items() if name in scales)

    def information(self, model: Model, slopes: Mapping[str, Reals], scales: Scales) -> list[InformationBlock]:
        """The information of each observable's measurements. slopes: the model's by the unknowns, (N, count)."""
        blocks = []
        for name, column in self._columns.items():
            at = column.of(model[name])
            rows = column.noise.rows(at, scales.get(name, NONE))
            slope = slopes[name][column.rows]
            along = np.concatenate([part.along[:, None] * slope for part in rows])
            blocks.append(
                InformationBlock(
                    name, along, np.concatenate([part.scales for part in rows]), len(at), column.noise.is_smooth
                )
            )
        return blocks

    def absolute_terms(self, model: Model, slopes: Mapping[str, Reals], scales: Scales) -> AbsoluteTerms:
        """The measurements whose part of the loss has a tip where the model meets them."""
        found = []
        for name, column in self._columns.items():
            at = column.of(model[name])
            offsets, heights = column.noise.absolute_terms(at, scales.get(name, NONE))
            rows = column.rows[: len(offsets)]
            found.append(AbsoluteTerms(slopes[name][rows], offsets, heights))
        return AbsoluteTerms.joined(found)

    def solver_error(self, model: Model, scales: Scales) -> float:
        """What the solver's error in each value would add to the loss of a perfect fit.

        Not more than a millionth of what the data themselves would add, lest anything counts as perfect beside an
        atol as large as the data.
        """
        return min(self._weighed(model, scales, self._accuracy), 1e-6 * self.squares(model, scales))

    def squares(self, model: Model, scales: Scales) -> float:
        """What the data would add to the loss of a perfect fit if they were errors."""
        return self._weighed(model, scales, {n: c.observed for n, c in self._columns.items()})

    def is_coarse(self, model: Model, scales: Scales, part: float) -> bool:
        """Whether the solver's error is more than this part of the data, in terms of the loss."""
        return self._weighed(model, scales, self._accuracy) > part * self.squares(model, scales)

    def _weighed(self, model: Model, scales: Scales, errors: Mapping[str, Reals]) -> float:
        total = 0.0
        for name, column in self._columns.items():
            rows = column.noise.rows(column.of(model[name]), scales.get(name, NONE))
            total += 0.5 * float(np.square(errors[name] * rows[0].along).sum())
        return total

    def unscaled_residuals(self, model: Model) -> dict[str, Reals]:
        """Data minus model of each observable."""
        return {name: column.observed - column.of(model[name]) for name, column in self._columns.items()}

    def residuals(self, model: Model, scales: Scales) -> list[dict[str, list[float | None]]]:
        """For each part the residuals at its times, None where nothing was measured; see `Noise.residuals`."""
        borders = self._borders
        found = [{name: [None] * len(part.times) for name in part.values} for part in self._parts]
        sparse: list[dict[str, list[float | None]]] = found  # type: ignore[assignment]
        for name, column in self._columns.items():
            values = column.noise.residuals(column.of(model[name]), scales.get(name, NONE)).tolist()
            rows = column.rows
            owners = np.searchsorted(borders, rows, side="right") - 1
            for owner, row, value in zip(owners.tolist(), (rows - borders[owners]).tolist(), values, strict=True):
                sparse[owner][name][row] = value if math.isfinite(value) else None
        return sparse

    def r_squared(self, model: Model) -> dict[str, float]:
        """1 − RSS/TSS of the unscaled residuals; left out where all measurements are equal."""
        result = {}
        for name, residual in self.unscaled_residuals(model).items():
            values = self._columns[name].observed
            total = float(np.square(values - values.mean()).sum())
            if total > 0:
                result[name] = 1 - float(residual @ residual) / total
        return result

    def describe_invalid(self, model: Model) -> str | None:
        """Where the model's values first are no numbers, or none that the noise can have, in words."""
        for name, column in self._columns.items():
            values = column.of(model[name])
            bad = column.rows[~np.isfinite(values)]
            if len(bad):
                return f"the observable {name!r} is not a finite number {self._where(int(bad[0]))}"
            low = column.rows[column.noise.impossible(values)]
            if len(low):
                return f"the observable {name!r} is not above 0 {self._where(int(low[0]))}, as its noise needs it to be"
        return None

    def _where(self, row: int) -> str:
        """Time and experiment of a row, in words."""
        where = f"at t = {self._times[row]:.6g}"
        if len(self._parts) == 1:
            return where
        owner = self._parts[int(np.searchsorted(self._borders, row, side="right")) - 1]
        return f"{where} in the experiment {owner.name!r:.80}"


def _measured(parts: Sequence[SeriesSlice], name: str) -> list[tuple[int, float, float | None]]:
    """Row, value and the data's sigma, if any, of each measurement of an observable."""
    found = []
    first = 0
    for part in parts:
        sigma: Sequence[float | None] = part.sigma.get(name) or [None] * len(part.times)
        column = part.values.get(name) or [None] * len(part.times)
        for i, (value, scale) in enumerate(zip(column, sigma, strict=True)):
            if value is not None:
                found.append((first + i, value, scale))
        first += len(part.times)
    return found
