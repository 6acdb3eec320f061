"""Refusals of priors, with their pointers written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.odelib.problem.requests import MINIMAL, NOISY, assert_refused, changed

PLACES = ["/parameters/alpha", "/initial_state/prey", "/data/initial_state/prey"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("prior", "pointer"),
    [
        ({}, "/prior/distribution"),
        ({"distribution": "beta"}, "/prior/distribution"),
        ({"distribution": "cauchy", "median": 1.0}, "/prior/scale"),
        ({"distribution": "gamma", "shape": 1.0}, "/prior/scale"),
        ({"distribution": "log-uniform", "lower": 0, "upper": 5.0}, "/prior/lower"),
        ({"distribution": "log-uniform", "lower": 3.0, "upper": 5.0}, "/guess"),
        ({"distribution": "exponential", "scale": 1.0, "of": "ln"}, "/prior/of"),
        ({"distribution": "exponential", "scale": 1.0, "normalised": 1}, "/prior/normalised"),
        ({"distribution": "uniform", "lower": 1.0, "upper": 2.0, "of": "log"}, "/guess"),
        ({"distribution": "uniform", "lower": 0.5, "upper": 2.0, "of": "log10"}, "/guess"),
        ("normal", "/prior"),
        (None, "/prior"),
        ({"distribution": "normal", "mean": 1.0}, "/prior/standard_deviation"),
        ({"distribution": "normal", "mean": 1.0, "standard_deviation": 0}, "/prior/standard_deviation"),
        ({"distribution": "normal", "mean": "1", "standard_deviation": 1.0}, "/prior/mean"),
        ({"distribution": "lognormal", "median": 0, "sigma": 1.0}, "/prior/median"),
        ({"distribution": "lognormal", "median": 1.0, "sigma": -1.0}, "/prior/sigma"),
        ({"distribution": "laplace", "median": 1.0}, "/prior/scale"),
        ({"distribution": "half-normal", "scale": 0}, "/prior/scale"),
        ({"distribution": "half-normal", "scale": 1.0, "mean": 0.0}, "/prior/mean"),
        ({"distribution": "uniform", "lower": 1.0}, "/prior/upper"),
        ({"distribution": "uniform", "lower": 2.0, "upper": 1.0}, "/prior/lower"),
        ({"distribution": "uniform", "lower": 1.0, "upper": 1.0}, "/prior/lower"),
        ({"distribution": "uniform", "lower": 3.0, "upper": 4.0}, "/guess"),
        ({"distribution": "uniform", "lower": 0.0, "upper": 1.0}, "/guess"),
    ],
)
def test_the_fields_of_a_prior(prior: Any, pointer: str, place: str) -> None:
    body = changed(NOISY, {"/data/initial_state": {}})
    assert_refused({place: {"guess": 2.0, "prior": prior}}, place + pointer, body=body)


@pytest.mark.parametrize("distribution", ["lognormal", "half-normal"])
def test_guesses_that_a_prior_rules_out(distribution: str) -> None:
    prior = {"distribution": "half-normal", "scale": 1.0}
    if distribution == "lognormal":
        prior = {"distribution": "lognormal", "median": 1.0, "sigma": 1.0}
        assert_refused({"/parameters/alpha": {"guess": 0.0, "prior": prior}}, "/parameters/alpha/guess", body=NOISY)
    assert_refused({"/parameters/alpha": {"guess": -1.0, "prior": prior}}, "/parameters/alpha/guess", body=NOISY)
    between = {"lower": -5.0, "upper": -1.0, "prior": prior}
    detail = "the default between the bounds"
    assert_refused({"/parameters/alpha": between}, "/parameters/alpha/guess", body=NOISY, detail=detail)
    fixed = {"lower": -1.0, "upper": -1.0, "prior": prior}
    assert_refused({"/parameters/alpha": fixed}, "/parameters/alpha/guess", body=NOISY)


@pytest.mark.parametrize("place", PLACES)
def test_a_prior_without_a_likelihood(place: str) -> None:
    prior = {"distribution": "normal", "mean": 1.0, "standard_deviation": 1.0}
    body = changed(MINIMAL, {"/data/initial_state": {}})
    assert_refused({place: {"guess": 1.0, "prior": prior}}, place + "/prior", body=body, detail="'noise'")


def test_a_guess_without_a_logarithm() -> None:
    prior = {"distribution": "normal", "mean": 0.0, "standard_deviation": 1.0, "of": "log"}
    assert_refused({"/parameters/alpha": {"guess": 0.0, "prior": prior}}, "/parameters/alpha/guess", body=NOISY)
