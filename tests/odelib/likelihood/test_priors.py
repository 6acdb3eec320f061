"""The densities of priors against scipy.stats."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from odelib.likelihood.priors import PriorDensity, prior_density
from odelib.problem import priors
from odelib.problem.priors import AnyPrior
from tests.odelib.likelihood import densities

each_prior = pytest.mark.parametrize("entry", densities.PRIOR_ENTRIES, ids=lambda entry: str(entry["distribution"]))
PROBABILITIES = (np.arange(1000) + 0.5) / 1000


def density_of(entry: dict[str, Any]) -> PriorDensity:
    return prior_density(TypeAdapter(AnyPrior).validate_python(entry))


def test_every_prior_of_a_request_is_tested() -> None:
    assert set(densities.PRIORS) == set(priors.PRIORS)


@each_prior
def test_the_density_is_scipys_within_the_support_and_0_beyond(entry: dict[str, Any]) -> None:
    density, known = density_of(entry), densities.scipy_prior(entry)
    assert density.support == known.support()
    inside = known.ppf(PROBABILITIES)
    assert [density.negative_log(x) for x in inside] == pytest.approx(-known.logpdf(inside), rel=1e-12, abs=1e-12)
    for end, step in zip(density.support, (-0.1, 0.1), strict=True):
        assert math.isinf(end) or density.negative_log(end + step) == math.inf


@each_prior
def test_the_derivative_is_that_of_the_density(entry: dict[str, Any]) -> None:
    density, known = density_of(entry), densities.scipy_prior(entry)
    inside = known.ppf(PROBABILITIES)
    differences = -(known.logpdf(inside + 1e-6) - known.logpdf(inside - 1e-6)) / 2e-6
    assert [density.derivative(x) for x in inside] == pytest.approx(differences, rel=1e-5, abs=1e-7)


@each_prior
def test_the_information_is_never_negative(entry: dict[str, Any]) -> None:
    density = density_of(entry)
    inside = densities.scipy_prior(entry).ppf(PROBABILITIES)
    assert all(density.information(x) >= 0 and density.log_information(abs(x)) >= 0 for x in inside)


@each_prior
def test_a_value_is_far_out_with_a_probability_of_5_percent(entry: dict[str, Any]) -> None:
    density = density_of(entry)
    far_out = [density.is_far_out(x) for x in densities.scipy_prior(entry).ppf(PROBABILITIES)]
    expected = 0.0 if entry["distribution"] == "uniform" else 0.05
    assert np.mean(far_out) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("x", [-1.0, 0.0])
def test_a_value_that_a_lognormal_prior_rules_out_is_far_out(x: float) -> None:
    density = density_of({"distribution": "lognormal", "median": 2.0, "sigma": 0.5})
    assert density.is_far_out(x)
    assert density.negative_log(x) == math.inf


def test_a_kink_is_where_the_derivative_jumps() -> None:
    density = density_of({"distribution": "laplace", "median": 3.0, "scale": 0.4})
    ((location, weight),) = density.kinks
    assert location == 3.0
    assert density.derivative(3.0 + 1e-9) - density.derivative(3.0 - 1e-9) == pytest.approx(2 * weight)
    assert density.derivative(3.0) == 0.0
