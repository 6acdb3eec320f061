"""How much measurements scatter around a smooth curve."""

from __future__ import annotations

import numpy as np
import pytest

from odelib.likelihood.scatter import Column, exceeds_scatter, misses_a_steep_change, pseudo_residuals


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


def relaxation(late: float, noise: float, seed: int = 3) -> Column:
    """A value that jumps from 1 to −1 within one step of the times, and a model whose jump is late."""
    rng, times = np.random.default_rng(seed), np.linspace(0, 40, 81)
    values = np.tanh(8 * np.sin(0.3 * times)) + noise * rng.standard_normal(81)
    return column(times, values, values - np.tanh(8 * np.sin(0.3 * (times - late))))


def test_a_jump_that_comes_too_late_is_told_from_noise() -> None:
    assert misses_a_steep_change([relaxation(0.3, 0.02)])
    assert not any(misses_a_steep_change([relaxation(0.0, 0.02, seed)]) for seed in range(200))


def test_a_wrong_measurement_on_a_smooth_curve_is_no_late_jump() -> None:
    one = relaxation(0.0, 0.02)
    one.values[15] += 1.0
    one.residuals[15] += 1.0
    assert not misses_a_steep_change([one])


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_noise_that_grows_with_the_values_is_no_late_jump(share: float) -> None:
    """Over three orders of magnitude, where the largest residuals are those of the largest values."""
    rng, times, found = np.random.default_rng(5), np.linspace(0, 7, 29), 0
    for _ in range(200):
        curve = 100 * np.exp(-times)
        noise = share * curve * rng.standard_normal(29)
        found += misses_a_steep_change([column(times, curve + noise, noise)])
    assert found <= 10
