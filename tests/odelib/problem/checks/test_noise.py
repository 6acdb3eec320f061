"""Refusals of noise, with their pointers written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from odelib.problem.noise import DISTRIBUTIONS
from tests.odelib.problem.requests import (
    ABSENT,
    DEFINITION,
    EXPERIMENTS,
    MINIMAL,
    NOISY,
    NORMAL_NOISE,
    assert_accepted,
    assert_refused,
    changed,
    mistakes,
)


@pytest.mark.parametrize(
    ("entry", "pointer"),
    [
        ({}, "/distribution"),
        ({"distribution": "cauchy", "sigma": 1.0}, "/distribution"),
        ({"distribution": None}, "/distribution"),
        ("normal", ""),
        ({"distribution": "normal"}, "/sigma"),
        ({"distribution": "log-laplace"}, "/sigma"),
        ({"distribution": "log-laplace", "sigma": 0}, "/sigma"),
        ({"distribution": "normal", "proportional": 0.1, "sigma": -1}, "/sigma"),
        ({"distribution": "student-t"}, "/sigma"),
        ({"distribution": "normal", "sigma": 0}, "/sigma"),
        ({"distribution": "normal", "sigma": -1.0}, "/sigma"),
        ({"distribution": "normal", "sigma": "guess"}, "/sigma"),
        ({"distribution": "normal", "sigma": ""}, "/sigma"),
        ({"distribution": "normal", "sigma": "0.1"}, "/sigma"),
        ({"distribution": "normal", "sigma": "2*pi"}, "/sigma"),
        ({"distribution": "normal", "sigma": "0.1*prey +"}, "/sigma"),
        ({"distribution": "normal", "sigma": "0.1^prey"}, "/sigma"),
        ({"distribution": "normal", "sigma": "0.1*hares"}, "/sigma"),
        ({"distribution": "normal", "sigma": "prey" + "*prey" * 3000}, "/sigma"),
        ({"distribution": "normal", "sigma": {"expression": "prey"}}, "/sigma"),
        ({"distribution": "normal", "sigma": None}, "/sigma"),
        ({"distribution": "normal", "sigma": True}, "/sigma"),
        ({"distribution": "normal", "sigma": [0.1, 0.1, 0.1]}, "/sigma"),
        ({"distribution": "normal", "sigma": 10**400}, "/sigma"),
        ({"distribution": "normal", "sigma": 1.0, "proportional": 0}, "/proportional"),
        ({"distribution": "normal", "sigma": 1.0, "proportional": "half"}, "/proportional"),
        ({"distribution": "lognormal", "sigma": 1.0, "proportional": 0.1}, "/proportional"),
        ({"distribution": "normal", "sigma": 1.0, "degrees_of_freedom": 4}, "/degrees_of_freedom"),
        ({"distribution": "student-t", "sigma": 1.0, "degrees_of_freedom": 0}, "/degrees_of_freedom"),
        ({"distribution": "poisson", "sigma": 1.0}, "/sigma"),
        ({"distribution": "normal", "sigma": 1.0, "zeta": 1.0}, "/zeta"),
    ],
)
def test_entries(entry: Any, pointer: str) -> None:
    body = changed(NOISY, {"/data/values/prey": [1, 2, 3]})
    assert_refused({"/noise/prey": entry}, f"/noise/prey{pointer}", body=body)


def test_observables_need_noise_if_and_only_if_they_are_measured() -> None:
    assert_refused({"/noise/predator": ABSENT}, "/noise/predator", body=NOISY, detail="is measured")
    assert_refused({"/noise/zeta": NORMAL_NOISE}, "/noise/zeta", body=NOISY, detail="no observable")
    assert_refused({"/data/values/predator": ABSENT}, "/noise/predator", body=NOISY, detail="no values")
    assert set(mistakes(MINIMAL | {"noise": {}})) == {"/noise/prey", "/noise/predator"}
    assert_refused({"/noise": []}, "/noise", body=NOISY)


def test_a_sigma_in_both_places_or_in_neither() -> None:
    assert_refused({"/data/sigma": {"prey": 0.1}}, "/noise/prey/sigma", body=NOISY, detail="already")
    estimated = changed(NOISY, {"/noise/prey/sigma": "estimate"})
    assert_refused({"/data/sigma": {"prey": 0.1}}, "/noise/prey/sigma", body=estimated)
    bare = EXPERIMENTS | {"noise": {"prey": {"distribution": "laplace"}, "predator": NORMAL_NOISE}}
    sigma = {"prey": 0.1}
    one = changed(bare, {"/experiments/0/sigma": sigma})
    assert list(mistakes(one)) == ["/noise/prey/sigma"]
    assert "/experiments/1" in mistakes(one)["/noise/prey/sigma"]
    assert_accepted({"/experiments/1/sigma": sigma}, body=one)


@pytest.mark.parametrize(
    ("distribution", "value"),
    [("lognormal", 0), ("lognormal", -1.0), ("log-laplace", 0), ("poisson", 1.5), ("poisson", -1), ("poisson", -0.5)],
)
def test_values_that_the_noise_cannot_yield(distribution: str, value: float) -> None:
    entry = {"distribution": distribution} | ({"sigma": 1.0} if distribution != "poisson" else {})
    body = changed(NOISY, {"/noise/prey": entry, "/data/values/prey": [1, None, 2]})
    assert_refused({"/data/values/prey/2": value}, "/data/values/prey/2", body=body, detail="impossible")
    scored = {"name": "p", "times": [1.0, 2.0], "values": {"prey": [None, value]}}
    assert_refused({"/predictions": [scored]}, "/predictions/0/values/prey/1", body=body, detail="impossible")


def test_a_prediction_without_noise_cannot_be_scored() -> None:
    body = changed(NOISY, {"/noise/predator": ABSENT, "/data/values/predator": ABSENT})
    scored = {"name": "p", "times": [1.0], "values": {"predator": [1.0]}}
    assert_refused({"/predictions": [scored]}, "/predictions/0/values/predator", body=body, detail="no noise to score")


def test_a_prior_needs_exactly_one_estimated_scale() -> None:
    prior = {"distribution": "half-normal", "scale": 1.0}
    assert_refused({"/noise/prey/prior": prior}, "/noise/prey/prior", body=NOISY, detail="but 0 are estimated")
    both = {"distribution": "normal", "sigma": "estimate", "proportional": "estimate"}
    assert_refused(
        {"/noise/prey": both | {"prior": prior}}, "/noise/prey/prior", body=NOISY, detail="but 2 are estimated"
    )
    assert_accepted({"/noise/prey": both | {"sigma": 0.1, "prior": prior}}, body=NOISY)


@pytest.mark.parametrize("sigma", [{}, {"sigma": 0}, {"sigma": 0.0}])
@pytest.mark.parametrize("proportional", [0.1, "estimate"])
def test_noise_may_be_purely_proportional(sigma: dict[str, Any], proportional: Any) -> None:
    entry = {"distribution": "normal", "proportional": proportional, **sigma}
    assert_accepted({"/noise/prey": entry}, body=NOISY)
    if sigma:
        body = changed(NOISY, {"/noise/prey": entry})
        assert_refused({"/data/sigma": {"prey": 0.1}}, "/noise/prey/sigma", body=body, detail="already")


class TestExpressions:
    BODY = changed(
        NOISY | {"system": DEFINITION, "inputs": {"food": 1}},
        {"/data/values": {"prey": [1, 2, 3]}, "/noise": {"prey": NORMAL_NOISE}},
    )

    @pytest.mark.parametrize("distribution", [name for name, kind in DISTRIBUTIONS.items() if kind.scales])
    def test_sigma_may_use_every_name_of_the_model(self, distribution: str) -> None:
        sigma = "alpha + k*prey + 0.1*predator + abs(total)*exp(-t) + eaten*food"
        assert_accepted({"/noise/prey": {"distribution": distribution, "sigma": sigma}}, body=self.BODY)

    def test_beside_proportional(self) -> None:
        noise = {"distribution": "normal", "sigma": "alpha", "proportional": 0.1}
        assert_accepted({"/noise/prey": noise}, body=self.BODY)
        both = {"distribution": "normal", "sigma": "alpha", "proportional": "estimate"}
        assert_accepted({"/noise/prey": both | {"prior": {"distribution": "half-normal", "scale": 1}}}, body=self.BODY)

    def test_all_mistakes_are_told_at_once_with_what_sigma_can_use(self) -> None:
        body = MINIMAL | {"noise": {"prey": dict(NORMAL_NOISE), "predator": dict(NORMAL_NOISE)}}
        found = mistakes(changed(body, {"/noise/prey/sigma": "estimat", "/noise/predator/sigma": "a*predator"}))
        assert list(found) == ["/noise/prey/sigma", "/noise/predator/sigma"]
        assert "unknown name 'estimat'" in found["/noise/prey/sigma"]
        assert "'estimate', or an expression of states, parameters, constants" in found["/noise/prey/sigma"]

    def test_a_derived_quantity_is_not_among_them(self) -> None:
        assert_refused({"/noise/prey/sigma": "ratio"}, "/noise/prey/sigma", body=self.BODY, detail="'ratio'")

    def test_a_sigma_in_the_data_as_well(self) -> None:
        body = changed(self.BODY, {"/noise/prey/sigma": "alpha"})
        assert_refused({"/data/sigma": {"prey": 0.1}}, "/noise/prey/sigma", body=body, detail="already")

    def test_an_expression_has_no_prior_of_its_own(self) -> None:
        noise = {"distribution": "normal", "sigma": "alpha", "prior": {"distribution": "half-normal", "scale": 1}}
        assert_refused({"/noise/prey": noise}, "/noise/prey/prior", body=self.BODY)

    def test_no_parameter_is_named_estimate(self) -> None:
        named = changed(self.BODY, {"/system/parameters/0": "estimate", "/system/equations/prey": "estimate*prey"})
        found = mistakes(changed(named, {"/parameters/alpha": ABSENT, "/parameters/estimate": 1.0}))
        assert "try 'estimate_'" in found["/system/parameters/0"]
