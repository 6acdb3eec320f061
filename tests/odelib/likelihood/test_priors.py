"""The densities of priors against scipy.stats."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from odelib.likelihood.priors import PriorDensity, Priors, prior_density
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
    expected = 0.0 if "uniform" in entry["distribution"] else 0.05
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


@pytest.mark.parametrize("of", ["log", "log10"])
@each_prior
def test_the_density_of_a_logarithm(entry: dict[str, Any], of: str) -> None:
    """It is the density of log x itself, without a Jacobian, and its other facts follow."""
    density, known, c = (
        density_of(entry | {"of": of}),
        densities.scipy_prior(entry),
        1.0 if of == "log" else math.log(10),
    )
    quantities = known.ppf(PROBABILITIES)
    quantities = quantities[np.abs(quantities) < 100]
    inside = np.exp(c * quantities)
    assert density.support == pytest.approx(np.exp(c * np.array(known.support())), rel=1e-12)
    found = [density.negative_log(x) for x in inside]
    assert found == pytest.approx(-known.logpdf(quantities), rel=1e-9, abs=1e-9)
    differences = -(known.logpdf(quantities + 1e-6) - known.logpdf(quantities - 1e-6)) / 2e-6 / (c * inside)
    by_log = [density.derivative(x) * x for x in inside]
    assert by_log == pytest.approx(differences * inside, rel=1e-4, abs=1e-6)
    assert all(density.information(x) >= 0 for x in inside)
    plain = density_of(entry)
    assert [density.is_far_out(x) for x in inside] == [plain.is_far_out(q) for q in np.log(inside) / c]
    assert density.is_far_out(0.0)
    assert density.negative_log(0.0) == density.negative_log(-1.0) == math.inf


@pytest.mark.parametrize(("lower", "upper"), [(None, None), (None, 2.5), (1.5, None), (1.2, 4.0), (15.0, 18.0)])
@each_prior
def test_a_normalised_density_has_mass_1_between_the_bounds(
    entry: dict[str, Any], lower: float | None, upper: float | None
) -> None:
    settings = TypeAdapter(AnyPrior).validate_python(entry | {"normalised": True})
    density, known = prior_density(settings, lower, upper), densities.scipy_prior(entry)
    low, high = -np.inf if lower is None else lower, np.inf if upper is None else upper
    mass = known.cdf(high) - known.cdf(low) if known.cdf(low) < 0.5 else known.sf(low) - known.sf(high)
    for x in known.ppf([0.1, 0.3, 0.9]):
        assert density.negative_log(x) == pytest.approx(-known.logpdf(x) + np.log(mass), rel=1e-9, abs=1e-12)


def test_a_normalised_prior_without_mass_between_the_bounds_is_no_number() -> None:
    settings = TypeAdapter(AnyPrior).validate_python({**densities.PRIOR_ENTRIES[0], "normalised": True})
    assert math.isnan(prior_density(settings, 1e6, 2e6).negative_log(1.5e6))


@pytest.mark.parametrize("entry", [{"distribution": "log-laplace"}, {"distribution": "laplace", "of": "log10"}])
def test_the_kink_of_a_logarithm(entry: dict[str, Any]) -> None:
    density = density_of({"median": 2.0, "scale": 0.4} | entry)
    ((location, weight),) = density.kinks
    assert location == pytest.approx(2.0 if entry["distribution"] == "log-laplace" else 100.0)
    jump = density.derivative(location * (1 + 1e-9)) - density.derivative(location * (1 - 1e-9))
    assert jump == pytest.approx(2 * weight, rel=1e-6)
    for x in (0.5 * location, 3 * location):
        ((offset, weight),) = density.absolute_terms(x)
        smooth = density.negative_log(x) - weight * abs(offset)
        above = density.negative_log(x * (1 + 1e-6)) - weight * abs(offset + 1e-6 * x)
        slope = (above - smooth) / (1e-6 * x)
        assert slope == pytest.approx(1 / x if entry["distribution"] == "log-laplace" else 0.0, abs=1e-5)


def test_a_density_that_is_too_large_for_a_double_far_out_is_infinite_there(monkeypatch: pytest.MonkeyPatch) -> None:
    density = density_of(densities.PRIOR_ENTRIES[0])
    for name in ("negative_log", "derivative", "information"):
        monkeypatch.setattr(density, name, lambda x: math.exp(-x))
    joint, far = Priors([density]), np.array([-1e4])
    assert [joint.loss(far), *joint.gradient(far), *joint.information(far)] == [np.inf] * 3
