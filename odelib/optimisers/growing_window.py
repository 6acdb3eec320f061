"""Least squares on a short first part of the series, then on longer ones.

Over a short time, the solution depends less wildly on the unknowns, and it can be solved where it blows up later. Each
window begins where the one before ended, so that the phase of an oscillation is never off by more than a part of a
period. Multiple shooting does the same with all parts at once; this needs no estimates of states that nobody measured.
"""

from __future__ import annotations

from odelib.arrays import Reals
from odelib.optimisers.evaluator import Evaluator, TrialFailed
from odelib.optimisers.least_squares import levenberg_marquardt

FIRST, GROWTH = 1 / 8, 1.3  # of the times of each series; a window twice as long may reach beyond the next event
MIN_TIMES = 4  # of the longest series, in the shortest window
STEPS = 20  # of least squares on a window, which need not converge


def grow_window(evaluator: Evaluator, start: Reals) -> Reals | None:
    """Minimise on one window after the other, from a start. Returns coordinates near which to minimise the whole.

    None if the start cannot be solved on any window, or there are too few times for two. Raises `StopRequested`.
    """
    point = None
    longest = max(len(series.times) for series in evaluator.objective.fitted)
    fraction = FIRST if FIRST * longest >= MIN_TIMES else 1.0
    while fraction < 1:
        window = evaluator.of_window(fraction)
        fraction *= GROWTH
        try:
            linearised = window.linearise(start if point is None else point)
        except TrialFailed:
            continue
        point = levenberg_marquardt(window, *linearised, steps=STEPS).evaluation.coordinates
    return point
