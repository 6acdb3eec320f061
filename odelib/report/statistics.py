"""AIC, BIC and R² of a fit."""

from __future__ import annotations

import math

from odelib.report.best_point import BestPoint
from odelib.report.intervals import Intervals
from odelib.result import Statistics


def statistics(best: BestPoint, intervals: Intervals) -> Statistics:
    """Return AIC = −2·log L + 2k and BIC = −2·log L + k·log n, and R² of each observable.

    n is the number of observations, and k counts the free unknowns and the estimated noise scales. Without `noise` the
    likelihood is the normal one at its concentrated scale σ² = RSS/n, so −2·log L = n·log(RSS/n) up to a constant, and
    the scale counts as one more unknown. Beside networks k has the effective degrees of freedom instead, the trace of
    the hat matrix. AIC and BIC are then left out if the RSS is 0.
    """
    measurements = best.objective.measurements
    n, r_squared = measurements.observations, measurements.r_squared(best.output.model)
    free: float = best.unknowns.count
    if best.unknowns.is_weight.any():
        if intervals.covariance is None:
            return Statistics(r_squared=r_squared)
        free = intervals.covariance.effective_count
    data_loss = best.loss_parts.data  # −log L under a likelihood, else the RSS
    if measurements.is_likelihood:
        k, deviance = free + measurements.scale_count, 2 * data_loss
    elif data_loss > 0:
        k, deviance = free + 1, n * math.log(data_loss / n)
    else:
        return Statistics(r_squared=r_squared)
    return Statistics(aic=deviance + 2 * k, bic=deviance + k * math.log(n), r_squared=r_squared)
