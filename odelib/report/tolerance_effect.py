"""What a solve at a tighter tolerance changes at the best point: whether the answer is the model's or the solver's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from odelib.arrays import Reals
from odelib.errors import SolveError, StopRequested
from odelib.objective.objective import ModelOutput
from odelib.report.best_point import BestPoint
from odelib.report.intervals import RAN_TO_THE_END, Intervals
from odelib.result import OutcomeCode

INACCURATE = 0.01  # of the size of a state or of the data
MOVED = 0.1  # of the half-width of a 95 % interval
NEGLIGIBLE = 1e-4  # of an estimate's magnitude: where the noise is known from the fit only, exact data have no width
RESCALED = 1.1  # a factor of an estimated scale


@dataclass(frozen=True)
class ToleranceEffect:
    """What changes by more than it should: states and observables, unknowns, observables whose estimated noise does.

    unresolved: the observables with relative noise of which many values are too small for the solver to resolve.
    """

    inaccurate: list[str]
    moved: list[str]
    rescaled: list[str]
    unresolved: list[str]

    @property
    def names(self) -> list[str]:
        """All that changes."""
        return list(dict.fromkeys([*self.inaccurate, *self.moved, *self.rescaled, *self.unresolved]))


NO_EFFECT = ToleranceEffect([], [], [], [])


def tolerance_effect(best: BestPoint, code: OutcomeCode, intervals: Intervals, atol: Reals | None) -> ToleranceEffect:
    """Solve once more at the best point, without sensitivities, at a hundredth of the tolerances.

    atol: that of each state in the fit, (n,), if it was automatic: smaller states are rounding errors of others.

    Nothing changes where that solve fails, where the tolerances cannot be tighter, or if the time limit is reached.
    """
    objective = best.objective
    options = objective.layer.options.at_a_hundredth()
    if options is None or code not in RAN_TO_THE_END or code == "early_stopped":
        return NO_EFFECT
    try:
        with torch.no_grad():
            states = objective.states(best.coordinates, options)
    except SolveError:
        return NO_EFFECT
    except StopRequested as request:
        if request.reason != "time_limit":
            raise
        return NO_EFFECT
    output = objective.model_output(best.coordinates, states)
    measurements = objective.measurements
    coarse = measurements.differing(best.output.model, output.model, best.output.scales, INACCURATE)
    return ToleranceEffect(
        inaccurate=list(dict.fromkeys([*_inaccurate_states(best, states.cpu().numpy(), atol), *coarse])),
        moved=_moved(best, output, intervals),
        rescaled=_rescaled(best, output),
        unresolved=measurements.unresolved(),
    )


def _inaccurate_states(best: BestPoint, states: Reals, atol: Reals | None) -> list[str]:
    """The states that change by more than `INACCURATE` of their size in some series."""
    names, loose = best.layer.system.states, best.evaluation.states.cpu().numpy()
    found = np.zeros(len(names), dtype=bool)
    for rows in best.objective.trajectories.slices:
        change = np.abs(states[rows] - loose[rows]).max(axis=0)
        size = np.maximum(np.abs(states[rows]), np.abs(loose[rows])).max(axis=0)
        found |= (change > INACCURATE * size) & (change > (0.0 if atol is None else atol))
    return [name for name, is_inaccurate in zip(names, found.tolist(), strict=True) if is_inaccurate]


def _moved(best: BestPoint, output: ModelOutput, intervals: Intervals) -> list[str]:
    """The unknowns that a fit with the accurate solution would move by a part of their interval, to first order."""
    covariance, measurements = intervals.covariance, best.objective.measurements
    if covariance is None or not intervals.half_widths:
        return []
    changes = measurements.changes(best.output.model, output.model, best.output.scales)
    if not all(np.isfinite(change).all() for change in changes.values()):
        return []
    shifts = np.abs(covariance.shift(changes))
    floor = NEGLIGIBLE * best.unknowns.magnitudes(best.coordinates) if measurements.estimates_scale else 0 * shifts
    return [
        name
        for name, shift, least in zip(best.unknowns.names, shifts.tolist(), floor.tolist(), strict=True)
        if shift > max(MOVED * intervals.half_widths.get(name, np.inf), least)
    ]


def _rescaled(best: BestPoint, output: ModelOutput) -> list[str]:
    """The observables of which an estimated scale changes; not those that the model meets exactly."""
    exact = best.objective.measurements.collapsed(best.output.model, best.output.scales)
    found = []
    for name, scales in best.output.scales.items():
        ratio = output.scales[name] / scales
        if name not in exact and bool(((ratio > RESCALED) | (ratio < 1 / RESCALED)).any()):
            found.append(name)
    return found
