"""Misfits that an estimated scale of the noise absorbs: residuals far above the scatter of the measurements."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from odelib.arrays import Reals
from odelib.likelihood.scatter import Column, exceeds_scatter
from odelib.problem.noise import AnyNoise
from odelib.report.best_point import BestPoint

LOGARITHMIC = ("lognormal", "log-laplace")  # noise around the logarithm


def absorbed_misfits(best: BestPoint) -> list[str]:
    """Return the observables whose scale is known from the fit only, and far above their scatter around a smooth curve.

    Of the logarithms for log noise, and relative to the measurements where a share of the noise is proportional.
    """
    if not all(bool(column.isfinite().all()) for column in best.output.model.values()):
        return []
    residuals = best.objective.measurements.unscaled_residuals(best.output.model)
    return [
        name
        for name in residuals
        if _is_scale_of_the_fit(best, name) and exceeds_scatter(_columns(best, residuals, name))
    ]


def _noise_of(best: BestPoint, name: str) -> AnyNoise | None:
    return best.problem.noise[name] if best.problem.noise is not None else None


def _is_scale_of_the_fit(best: BestPoint, name: str) -> bool:
    settings = _noise_of(best, name)
    return bool(settings.estimated_scales) if settings else best.objective.measurements.estimates_scale


def _has_proportional(settings: AnyNoise) -> bool:
    return "proportional" in {*settings.estimated_scales, *settings.given_scales}


def _columns(best: BestPoint, residuals: Mapping[str, Reals], name: str) -> list[Column]:
    """Return an observable's columns, transformed as its noise asks for. residuals: data minus model, (n,)."""
    found, first = [], 0
    settings = _noise_of(best, name)
    for each in best.objective.fitted:
        entries = [(t, v) for t, v in zip(each.times, each.values.get(name) or [], strict=False) if v is not None]
        if not entries:
            continue
        times, values = (np.array(part, dtype=np.float64) for part in zip(*entries, strict=True))
        residual = residuals[name][first : first + len(values)]
        first += len(values)
        sizes = np.ones(len(values))
        if settings and settings.distribution in LOGARITHMIC:
            residual = np.log(values) - np.log(values - residual)
            values = np.log(values)
        elif settings and _has_proportional(settings):
            sizes = np.abs(values) + 1e-12 * np.abs(values).max(initial=0.0)
            # relative to the neighbours as well, so that a value that is small by chance does not count for all
            sizes = np.maximum(sizes, np.convolve(np.pad(sizes, 1, mode="edge"), [0.5, 0.0, 0.5], mode="valid"))
            sizes = np.where(sizes > 0, sizes, 1.0)
        found.append(Column(times, values, residual, sizes))
    return found
