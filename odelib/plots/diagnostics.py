"""Panels that say how far to trust a fit: profile likelihoods, and the losses at which several starts ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator, ScalarFormatter

from odelib.arrays import Reals
from odelib.plots.time_series import COLOURS, DATA_COLOUR, plain, short
from odelib.problem.request import FitProblem
from odelib.problem.unknowns import Unknown
from odelib.result import BEST_LOSS_TOLERANCE, Estimate, FitResult, Profile, StageReport

FINE = 200  # points of a curve
HIGHEST = 2.0  # limits of the interval: how much of a rise is shown
DECADE = 10.0
ONE_SIDED = 4.0  # times the other side: how much of a side without an end is shown


@dataclass(frozen=True)
class ProfilePanel:
    """The profile of one unknown, its estimate with the interval's ends, and whether its scale is `log`."""

    name: str
    profile: Profile
    estimate: Estimate
    log: bool

    def scaled(self, values: float | list[float]) -> Reals:
        """Values as the axis has them: the logarithm of those of an unknown on a log scale."""
        return np.log(values) if self.log else np.asarray(values, dtype=np.float64)

    def shown(self) -> tuple[float, float]:
        """From where to where the axis goes: beyond both ends; of an open side what leaves the other in sight."""
        values = self.scaled(self.profile.values)
        best = float(self.scaled(self.estimate.value))
        ends = [
            None if end is None else float(self.scaled(end)) for end in (self.estimate.lower_95, self.estimate.upper_95)
        ]
        widths = [None if end is None else abs(end - best) for end in ends]
        reach = []
        for own, other, last in zip(widths, reversed(widths), (values[0], values[-1]), strict=True):
            seen = abs(float(last) - best)
            reach.append(1.3 * own if own is not None else min(seen, ONE_SIDED * other) if other is not None else seen)
        return best - reach[0], best + reach[1]


def profile_panels(asked: FitProblem, found: FitResult) -> list[ProfilePanel]:
    """One for each profile of a result, in its order."""
    estimates = _estimates(asked, found)
    logs = {name for name, entry in _entries(asked) if isinstance(entry, Unknown) and entry.scale == "log"}
    return [
        ProfilePanel(name, profile, estimates[name], name in logs) for name, profile in (found.profiles or {}).items()
    ]


def stages_with_starts(found: FitResult) -> list[StageReport]:
    """The stages that had several starts."""
    return [stage for stage in found.stages if len(stage.start_losses or []) > 1]


def draw_profile(axes: Axes, panel: ProfilePanel) -> None:
    """How the least loss rises along an unknown, the interval's limit and ends, and the covariance's parabola."""
    profile, estimate = panel.profile, panel.estimate
    least = min(profile.losses)
    limit = profile.limit - least
    ends = [end for end in (estimate.lower_95, estimate.upper_95) if end is not None]
    low, high = panel.shown()
    if profile.parabola is not None:
        axes.plot(
            *_smooth(panel, profile.values, profile.parabola),
            "--",
            color=DATA_COLOUR,
            lw=1.0,
            label="covariance's parabola",
        )
    met = [profile.limit] * len(ends)
    curve = _smooth(panel, [*profile.values, *ends], [*profile.losses, *met])
    axes.plot(*curve, color=COLOURS[0], lw=1.4, label="profile")
    axes.plot(profile.values, np.subtract(profile.losses, least), "o", color=COLOURS[0], ms=3)
    axes.axhline(limit, color=COLOURS[1], lw=0.9, label="limit of 95 %")
    if ends:
        axes.plot(ends, [limit] * len(ends), "D", color=COLOURS[1], ms=5, zorder=4, label="interval's ends")
    for end, place, side, text in (
        (estimate.lower_95, 0.02, "left", "← open"), (estimate.upper_95, 0.98, "right", "open →"),
    ):  # fmt: skip
        if end is None:
            axes.text(place, 0.62, text, ha=side, color=COLOURS[1], fontsize=9, transform=axes.transAxes)
    if panel.log:
        axes.set_xscale("log")
    if not panel.log or high - low < np.log(DECADE):  # powers of ten would leave such an axis without a number
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(*(np.exp([low, high]) if panel.log else (low, high)))
    axes.set_ylim(-0.06 * HIGHEST * limit, HIGHEST * limit)
    axes.set_xlabel(short(panel.name))
    axes.set_ylabel("rise of loss", fontsize=8)
    plain(axes)


def draw_starts(axes: Axes, stage: StageReport, best: float) -> None:
    """The losses at which starts ended, above the fit's best, the least first; those that reached the best stand out.

    Up to what counts as the best the axis is linear, above it logarithmic, over six decades at most.
    """
    rises = np.subtract(stage.start_losses or [], best)
    reached = stage.reached(best)
    places = np.arange(1, len(rises) + 1)
    axes.plot(places, rises, color=DATA_COLOUR, lw=0.7, zorder=1)
    if reached:
        axes.plot(places[:reached], rises[:reached], "o", color=COLOURS[0], ms=5, label="reached the best")
    if reached < len(rises):
        axes.plot(places[reached:], rises[reached:], "o", color=DATA_COLOUR, ms=4, label="ended elsewhere")
    linear = max(BEST_LOSS_TOLERANCE * abs(best), 1e-6 * float(rises.max()), 1e-12)
    axes.set_yscale("symlog", linthresh=linear)
    axes.set_ylim(-0.5 * linear, 3 * max(float(rises.max()), linear))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_title(f"{reached} of {len(rises)} starts reached the best", fontsize=9)
    axes.set_xlabel(f"start of {stage.kind}, by loss")
    axes.set_ylabel("loss above the best", fontsize=8)
    plain(axes)


def _smooth(panel: ProfilePanel, values: list[float], losses: list[float]) -> tuple[Reals, Reals]:
    """A curve through the points: the root of the rise is interpolated, which is straight for a parabola."""
    order = np.argsort(values)
    at, best = panel.scaled(values)[order], float(panel.scaled(panel.estimate.value))
    rise = np.maximum(np.subtract(losses, min(losses)), 0.0)[order]
    fine = np.union1d(np.linspace(*panel.shown(), FINE), at)
    roots = np.interp(fine, at, np.sign(at - best) * np.sqrt(rise), left=np.nan, right=np.nan)
    return np.exp(fine) if panel.log else fine, np.square(roots)


def _estimates(asked: FitProblem, found: FitResult) -> dict[str, Estimate]:
    """The fitted values by the names that profiles have."""
    named: dict[str, Estimate] = {**found.parameters}
    for trajectory in found.trajectories:
        own: Mapping[str, Estimate] = {**(trajectory.parameters or {}), **trajectory.initial_state}
        named |= {name + _suffix(asked, trajectory.name): estimate for name, estimate in own.items()}
    return named


def _entries(asked: FitProblem) -> Iterator[tuple[str, object]]:
    """What was asked of parameters and initial values, by the same names."""
    yield from asked.parameters.items()
    for series in asked.series:
        own = {name: asked.parameters[name] for name in asked.per_experiment}
        for name, entry in {**own, **asked.initial_state, **series.initial_state}.items():
            yield name + _suffix(asked, series.name), entry


def _suffix(asked: FitProblem, series: str) -> str:
    return f"[{series}]" if asked.experiments else ""
