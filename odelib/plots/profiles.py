"""Profile likelihoods: how far the loss increases as one unknown is held away from its estimate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator, ScalarFormatter

from odelib.arrays import Reals
from odelib.plots.time_series import COLOURS, DATA_COLOUR, shortened, style_axes
from odelib.problem.request import FitProblem
from odelib.problem.unknowns import Unknown
from odelib.result import Estimate, FitResult, Profile

CURVE_POINTS = 200
MAX_INCREASE = 2.0  # shown, in multiples of the increase at which the interval ends
MARGIN = 1.3  # shown, in multiples of the distance from the estimate to an end of the interval
MAX_OPEN_SIDE = 4.0  # shown of a side without an end, in multiples of the other side
DECADE = 10.0


@dataclass(frozen=True)
class ProfilePanel:
    """The profile of one unknown, with its estimate. is_log: whether its axis is logarithmic."""

    name: str
    profile: Profile
    estimate: Estimate
    is_log: bool

    def to_axis(self, values: float | list[float]) -> Reals:
        """Return values as positions on the axis: their logarithms if it is logarithmic."""
        return np.log(values) if self.is_log else np.asarray(values, dtype=np.float64)

    def limits(self) -> tuple[float, float]:
        """Return the limits of the axis, as positions on it.

        They lie beyond both ends of the interval. A side without an end is cut where the other would become too narrow.
        """
        values = self.to_axis(self.profile.values)
        best = float(self.to_axis(self.estimate.value))
        ends = (self.estimate.lower_95, self.estimate.upper_95)
        widths = [None if end is None else abs(float(self.to_axis(end)) - best) for end in ends]
        shown = []
        for own, other, last in zip(widths, reversed(widths), (values[0], values[-1]), strict=True):
            computed = abs(float(last) - best)
            if own is not None:
                shown.append(MARGIN * own)
            else:
                shown.append(computed if other is None else min(computed, MAX_OPEN_SIDE * other))
        return best - shown[0], best + shown[1]


def profile_panels(problem: FitProblem, result: FitResult) -> list[ProfilePanel]:
    """Return a panel for each profile of a result, in its order."""
    estimates = _estimates(problem, result)
    logs = {name for name, entry in _entries(problem) if isinstance(entry, Unknown) and entry.scale == "log"}
    return [
        ProfilePanel(name, profile, estimates[name], name in logs) for name, profile in (result.profiles or {}).items()
    ]


def draw_profile(axes: Axes, panel: ProfilePanel) -> None:
    """Draw a profile with its 95 % limit, the ends of the interval, and the parabola that the covariance predicts."""
    profile, estimate = panel.profile, panel.estimate
    best_loss = min(profile.losses)
    limit = profile.limit - best_loss
    ends = [end for end in (estimate.lower_95, estimate.upper_95) if end is not None]
    if profile.parabola is not None:
        parabola = _curve(panel, profile.values, profile.parabola)
        axes.plot(*parabola, "--", color=DATA_COLOUR, lw=1.0, label="predicted by the covariance")
    curve = _curve(panel, [*profile.values, *ends], [*profile.losses, *[profile.limit] * len(ends)])
    axes.plot(*curve, color=COLOURS[0], lw=1.4, label="profile")
    axes.plot(profile.values, np.subtract(profile.losses, best_loss), "o", color=COLOURS[0], ms=3)
    axes.axhline(limit, color=COLOURS[1], lw=0.9, label="95 % limit")
    if ends:
        axes.plot(ends, [limit] * len(ends), "D", color=COLOURS[1], ms=5, zorder=4, label="ends of the interval")
    _mark_open_ends(axes, estimate)
    _scale_axis(axes, panel)
    axes.set_ylim(-0.06 * MAX_INCREASE * limit, MAX_INCREASE * limit)
    axes.set_xlabel(shortened(panel.name))
    axes.set_ylabel("increase in loss", fontsize=8)
    style_axes(axes)


def _mark_open_ends(axes: Axes, estimate: Estimate) -> None:
    for end, x, side, text in (
        (estimate.lower_95, 0.02, "left", "← open"), (estimate.upper_95, 0.98, "right", "open →"),
    ):  # fmt: skip
        if end is None:
            axes.text(x, 0.62, text, ha=side, color=COLOURS[1], fontsize=9, transform=axes.transAxes)


def _scale_axis(axes: Axes, panel: ProfilePanel) -> None:
    low, high = panel.limits()
    if panel.is_log:
        axes.set_xscale("log")
    if not panel.is_log or high - low < np.log(DECADE):  # an axis with powers of ten only would have no number
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(*(np.exp([low, high]) if panel.is_log else (low, high)))


def _curve(panel: ProfilePanel, values: list[float], losses: list[float]) -> tuple[Reals, Reals]:
    """A smooth curve through points of a profile: values, and increases of the loss.

    The signed root of the increase is interpolated, which for a parabola is a straight line.
    """
    order = np.argsort(values)
    at, best = panel.to_axis(values)[order], float(panel.to_axis(panel.estimate.value))
    increases = np.maximum(np.subtract(losses, min(losses)), 0.0)[order]
    fine = np.union1d(np.linspace(*panel.limits(), CURVE_POINTS), at)
    roots = np.interp(fine, at, np.sign(at - best) * np.sqrt(increases), left=np.nan, right=np.nan)
    return np.exp(fine) if panel.is_log else fine, np.square(roots)


def _estimates(problem: FitProblem, result: FitResult) -> dict[str, Estimate]:
    """The estimates, by the names that profiles have."""
    named: dict[str, Estimate] = {**result.parameters}
    for trajectory in result.trajectories:
        own: Mapping[str, Estimate] = {**(trajectory.parameters or {}), **trajectory.initial_state}
        named |= {name + _suffix(problem, trajectory.name): estimate for name, estimate in own.items()}
    return named


def _entries(problem: FitProblem) -> Iterator[tuple[str, object]]:
    """The request's entries for parameters and initial values, by the same names."""
    yield from problem.parameters.items()
    for series in problem.series:
        own = {name: problem.parameters[name] for name in problem.per_experiment}
        for name, entry in {**own, **problem.initial_state, **series.initial_state}.items():
            yield name + _suffix(problem, series.name), entry


def _suffix(problem: FitProblem, series: str) -> str:
    return f"[{series}]" if problem.experiments else ""
