"""Location–scale families: what the loss and the information are made of, against differences and integrals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter
from scipy.integrate import quad

from odelib.likelihood.noise.base import MeasuredValues
from odelib.likelihood.noise.location_scale import LocationScaleNoise
from odelib.likelihood.noise.registry import noise_distribution
from odelib.problem.noise import DISTRIBUTIONS, AnyNoise
from tests.odelib.likelihood import densities

Y, M = np.array([1.0, 2.0, 4.0, 3.0]), np.array([1.3, 1.9, 2.0, 3.5])
DATA = MeasuredValues(Y, np.ones(4), np.full(4, 1e-8), 1e-8)


def noise_of(name: str, **fields: Any) -> Any:
    settings = TypeAdapter(AnyNoise).validate_python({"distribution": name, **fields})
    return noise_distribution(settings, DATA)


FAMILIES = [name for name in densities.NOISES if isinstance(noise_of(name), LocationScaleNoise)]
each_family = pytest.mark.parametrize("name", FAMILIES)


def test_every_noise_of_a_request_is_tested() -> None:
    assert set(densities.NOISES) == set(DISTRIBUTIONS)
    assert len(FAMILIES) >= 3


@each_family
def test_the_derivative_is_that_of_the_standard_loss(name: str) -> None:
    noise, z = noise_of(name), np.linspace(-8, 8, 40)  # without 0, where there may be a kink
    differences = (noise.standard_loss(z + 1e-6) - noise.standard_loss(z - 1e-6)) / 2e-6
    assert noise.standard_derivative(z) == pytest.approx(differences, rel=1e-6, abs=1e-8)


@each_family
def test_the_informations_are_the_expected_ones(name: str) -> None:
    noise = noise_of(name)

    def expected(squared: Any) -> float:
        def integrand(z: float) -> float:
            at = np.array([z])
            return float(np.exp(-noise.standard_loss(at)[0]) * squared(z, noise.standard_derivative(at)[0]) ** 2)

        return float(sum(quad(integrand, *ends, epsabs=1e-10)[0] for ends in ((-np.inf, 0.0), (0.0, np.inf))))

    assert expected(lambda z, derivative: 1.0) == pytest.approx(1.0, rel=1e-6)
    assert noise.location_information == pytest.approx(expected(lambda z, derivative: derivative), rel=1e-6)
    assert noise.scale_information == pytest.approx(expected(lambda z, derivative: z * derivative - 1), rel=1e-6)


@pytest.mark.parametrize("name", densities.NOISES)
def test_the_loss_is_scipys_with_its_derivatives(name: str) -> None:
    fields = {"sigma": 0.7} if "sigma" in DISTRIBUTIONS[name].scales else {}
    noise = noise_of(name, **fields)
    loss, by_model = noise.loss(M, np.zeros(0))
    assert loss == pytest.approx(densities.measured({"distribution": name}, Y, M, 0.7), rel=1e-12)
    for i in range(len(M)):
        step = np.zeros(4)
        step[i] = 1e-6
        above, below = (densities.measured({"distribution": name}, Y, M + sign * step, 0.7) for sign in (1, -1))
        assert by_model[i] == pytest.approx((above - below) / 2e-6, rel=1e-6)


@each_family
def test_the_initial_scale_is_near_the_true_one(name: str) -> None:
    noise = noise_of(name, sigma="estimate")
    z = np.linspace(-30, 30, 200_001)
    density = np.exp(-noise.standard_loss(z))
    quantiles = np.interp((np.arange(1000) + 0.5) / 1000, np.cumsum(density) / density.sum(), z)
    assert noise.initial_scale(3.0 * quantiles) == pytest.approx(3.0, rel=0.3)
