"""How much measurements scatter around a smooth curve."""

from __future__ import annotations

import numpy as np
import pytest

from odelib.likelihood.scatter import Column, exceeds_scatter, pseudo_residuals


def column(times: np.ndarray, values: np.ndarray, residuals: np.ndarray) -> Column:
    return Column(times, values, residuals, np.ones(len(times)))


def test_pseudo_residuals_have_the_variance_of_the_noise_on_uneven_times_with_replicates() -> None:
    rng = np.random.default_rng(0)
    times = np.sort(np.concatenate([rng.uniform(0, 10, 2000), np.repeat(np.linspace(0, 10, 50), 3)]))
    found = pseudo_residuals(times, np.exp(-0.2 * times) + 0.3 * rng.standard_normal(len(times)))
    assert float(np.mean(found**2)) == pytest.approx(0.09, rel=0.1)


def test_residuals_that_are_noise_hardly_ever_exceed_the_scatter() -> None:
    rng = np.random.default_rng(1)
    times = np.linspace(0, 5, 10)
    found = 0
    for _ in range(500):
        noise = rng.standard_normal(10)
        found += exceeds_scatter([column(times, np.sin(times) + noise, noise)])
    assert found <= 2


def test_a_misfit_of_several_short_series_exceeds_the_scatter() -> None:
    rng = np.random.default_rng(2)
    times = np.linspace(0, 5, 6)
    curves = [times * level + 0.05 * rng.standard_normal(6) for level in (1.0, 1.2, 0.8)]
    assert exceeds_scatter([column(times, values, values - values.mean()) for values in curves])


def test_few_measurements_tell_nothing() -> None:
    values = np.array([0.0, 1.0, 2.0, 3.0])
    assert not exceeds_scatter([column(values, values, values + 5)])
    assert len(pseudo_residuals(values[:1], values[:1])) == 0
