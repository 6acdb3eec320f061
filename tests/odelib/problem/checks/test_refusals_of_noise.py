"""Every refusal of experiments, noise, priors, penalty and hold_out, with its pointer written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.odelib.problem.requests import ABSENT, FULL, LEAST, SEVERAL, changed, mistakes

NORMAL = {"distribution": "normal", "sigma": 0.1}
NOISY = LEAST | {"noise": {"prey": dict(NORMAL), "predator": dict(NORMAL)}}
EXPERIMENTS: dict[str, Any] = {
    **{name: value for name, value in LEAST.items() if name != "data"},
    "experiments": [{"name": "a", **LEAST["data"]}, {"name": "b", "times": [1.0, 2.0], "values": {"prey": [1.0, 2.0]}}],
}


def refused(changes: dict[str, Any], pointer: str, *, body: dict[str, Any] = LEAST, saying: str = "") -> None:
    """The change is refused, with one mistake, at the pointer."""
    assert mistakes(body) == {}
    found = mistakes(changed(body, changes))
    assert list(found) == [pointer]
    assert saying in found[pointer]


def accepted(changes: dict[str, Any], *, body: dict[str, Any] = LEAST) -> None:
    assert mistakes(changed(body, changes)) == {}


class TestExperiments:
    @pytest.mark.parametrize(
        ("changes", "pointer", "saying"),
        [
            ({"/experiments": []}, "/experiments", "must not be empty"),
            ({"/experiments": {}}, "/experiments", "must be a list"),
            ({"/experiments/1": 5}, "/experiments/1", "must be an object"),
            ({"/experiments/1/name": ABSENT}, "/experiments/1/name", "is required"),
            ({"/experiments/1/name": "a"}, "/experiments/1/name", "names must be unique"),
            ({"/experiments/1/name": ""}, "/experiments/1/name", ""),
            ({"/experiments/1/times": ABSENT}, "/experiments/1/times", "is required"),
            ({"/experiments/1/values": ABSENT}, "/experiments/1/values", "is required"),
            ({"/experiments/1/times": [2.0, 1.0]}, "/experiments/1/times/1", "must not decrease"),
            ({"/experiments/1/values/prey": [1.0]}, "/experiments/1/values/prey", "each time (2), but its length is 1"),
            ({"/experiments/1/values/prey/0": "x"}, "/experiments/1/values/prey/0", "must be a number"),
            ({"/experiments/1/values/prey": [None, None]}, "/experiments/1/values", "all values are null"),
            ({"/experiments/1/values/zeta": [1.0, 2.0]}, "/experiments/1/values/zeta", "no observable"),
            ({"/experiments/1/start_time": 1.5}, "/experiments/1/start_time", "1.5"),
            ({"/experiments/1/sigma": {"prey": 0}}, "/experiments/1/sigma/prey", "greater than 0"),
            ({"/experiments/1/sigma": {"predator": 1.0}}, "/experiments/1/sigma/predator", "no values"),
            ({"/experiments/1/constants": {"q": 1.0}}, "/experiments/1/constants/q", "no constant"),
            ({"/experiments/1/initial_state": {"q": 1.0}}, "/experiments/1/initial_state/q", "no state"),
            (
                {"/experiments/1/initial_state": {"prey": {"lower": 1.0}}},
                "/experiments/1/initial_state/prey/guess",
                "unless both bounds are given",
            ),
            ({"/experiments/1/initial_state": {"prey": "predator"}}, "/experiments/1/initial_state/prey", "'predator'"),
            ({"/experiments/1/zeta": 1}, "/experiments/1/zeta", "unknown field"),
            ({"/initial_state/prey": ABSENT}, "/initial_state/prey", "needs an initial value"),
            ({"/data": {}}, "/experiments", "not both"),
        ],
    )
    def test_experiments(self, changes: dict[str, Any], pointer: str, saying: str) -> None:
        found = mistakes(changed(EXPERIMENTS, changes))
        if "/data" in changes:
            assert pointer in found
        else:
            assert list(found) == [pointer]
        assert saying in found[pointer]

    def test_an_initial_value_may_stand_in_every_experiment_in_place_of_the_request(self) -> None:
        body = changed(EXPERIMENTS, {"/initial_state/prey": ABSENT})
        own = {f"/experiments/{i}/initial_state": {"prey": 1.0} for i in (0, 1)}
        accepted(own, body=body)
        assert list(mistakes(changed(body, {"/experiments/0/initial_state": {"prey": 1.0}}))) == ["/initial_state/prey"]

    @pytest.mark.parametrize(
        ("names", "pointer"),
        [
            (["zeta"], "/per_experiment/0"),
            (["alpha", "prey"], "/per_experiment/1"),
            (["alpha", "beta", "alpha"], "/per_experiment/2"),
            ([5], "/per_experiment/0"),
            ("alpha", "/per_experiment"),
            (None, "/per_experiment"),
        ],
    )
    def test_per_experiment(self, names: Any, pointer: str) -> None:
        refused({"/per_experiment": names}, pointer, body=EXPERIMENTS)

    def test_per_experiment_with_one_series_alone(self) -> None:
        refused({"/per_experiment": ["alpha"]}, "/per_experiment", saying="a single series")

    @pytest.mark.parametrize(
        ("prediction", "pointer"),
        [
            ({"times": [3.0]}, "/experiment"),
            ({"times": [3.0], "initial_state": {"prey": 1.0}}, "/experiment"),
            ({"times": [3.0], "experiment": "c"}, "/experiment"),
            ({"times": [0.5], "experiment": "b"}, "/times/0"),  # before b's start, not a's
        ],
    )
    def test_predictions(self, prediction: dict[str, Any], pointer: str) -> None:
        refused({"/predictions": [{"name": "p"} | prediction]}, f"/predictions/0{pointer}", body=EXPERIMENTS)

    def test_predictions_that_depend_on_no_experiment_need_name_none(self) -> None:
        everything = {"name": "p", "times": [3.0], "initial_state": {"prey": 1.0, "predator": 1.0}}
        accepted({"/predictions": [everything]}, body=EXPERIMENTS)
        own = {"/per_experiment": ["alpha"], "/predictions": [everything]}
        refused(own, "/predictions/0/experiment", body=EXPERIMENTS)
        accepted(own | {"/predictions": [everything | {"parameters": {"alpha": 1.0}}]}, body=EXPERIMENTS)

    def test_the_contracts_request_with_everything_is_accepted(self) -> None:
        accepted({}, body=SEVERAL)


class TestNoise:
    @pytest.mark.parametrize(
        ("entry", "pointer"),
        [
            ({}, "/distribution"),
            ({"distribution": "cauchy", "sigma": 1.0}, "/distribution"),
            ({"distribution": None}, "/distribution"),
            ("normal", ""),
            ({"distribution": "normal"}, "/sigma"),
            ({"distribution": "normal", "proportional": 0.1}, "/sigma"),
            ({"distribution": "student-t"}, "/sigma"),
            ({"distribution": "normal", "sigma": 0}, "/sigma"),
            ({"distribution": "normal", "sigma": -1.0}, "/sigma"),
            ({"distribution": "normal", "sigma": "guess"}, "/sigma"),
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
    def test_entries(self, entry: Any, pointer: str) -> None:
        body = changed(NOISY, {"/data/values/prey": [1, 2, 3]})
        refused({"/noise/prey": entry}, f"/noise/prey{pointer}", body=body)

    def test_what_is_observed_needs_noise_and_what_is_not_has_none(self) -> None:
        refused({"/noise/predator": ABSENT}, "/noise/predator", body=NOISY, saying="is measured")
        refused({"/noise/zeta": NORMAL}, "/noise/zeta", body=NOISY, saying="no observable")
        refused({"/data/values/predator": ABSENT}, "/noise/predator", body=NOISY, saying="no values")
        assert set(mistakes(LEAST | {"noise": {}})) == {"/noise/prey", "/noise/predator"}
        refused({"/noise": []}, "/noise", body=NOISY)

    def test_a_sigma_in_both_places_or_in_neither(self) -> None:
        refused({"/data/sigma": {"prey": 0.1}}, "/noise/prey/sigma", body=NOISY, saying="already")
        estimated = changed(NOISY, {"/noise/prey/sigma": "estimate"})
        refused({"/data/sigma": {"prey": 0.1}}, "/noise/prey/sigma", body=estimated)
        bare = EXPERIMENTS | {"noise": {"prey": {"distribution": "laplace"}, "predator": NORMAL}}
        sigma = {"prey": 0.1}
        one = changed(bare, {"/experiments/0/sigma": sigma})
        assert list(mistakes(one)) == ["/noise/prey/sigma"]
        assert "/experiments/1" in mistakes(one)["/noise/prey/sigma"]
        accepted({"/experiments/1/sigma": sigma}, body=one)

    @pytest.mark.parametrize(
        ("distribution", "value"),
        [("lognormal", 0), ("lognormal", -1.0), ("poisson", 1.5), ("poisson", -1), ("poisson", -0.5)],
    )
    def test_values_that_the_noise_cannot_yield(self, distribution: str, value: float) -> None:
        entry = {"distribution": distribution} | ({"sigma": 1.0} if distribution == "lognormal" else {})
        body = changed(NOISY, {"/noise/prey": entry, "/data/values/prey": [1, None, 2]})
        refused({"/data/values/prey/2": value}, "/data/values/prey/2", body=body, saying="impossible")
        scored = {"name": "p", "times": [1.0, 2.0], "values": {"prey": [None, value]}}
        refused({"/predictions": [scored]}, "/predictions/0/values/prey/1", body=body, saying="impossible")

    def test_a_prediction_of_what_has_no_noise_cannot_be_scored(self) -> None:
        body = changed(NOISY, {"/noise/predator": ABSENT, "/data/values/predator": ABSENT})
        scored = {"name": "p", "times": [1.0], "values": {"predator": [1.0]}}
        refused({"/predictions": [scored]}, "/predictions/0/values/predator", body=body, saying="no noise to score")

    def test_a_prior_is_of_the_one_scale_that_is_estimated(self) -> None:
        prior = {"distribution": "half-normal", "scale": 1.0}
        refused({"/noise/prey/prior": prior}, "/noise/prey/prior", body=NOISY, saying="here 0 are")
        both = {"distribution": "normal", "sigma": "estimate", "proportional": "estimate"}
        refused({"/noise/prey": both | {"prior": prior}}, "/noise/prey/prior", body=NOISY, saying="here 2 are")
        accepted({"/noise/prey": both | {"sigma": 0.1, "prior": prior}}, body=NOISY)


PLACES = ["/parameters/alpha", "/initial_state/prey", "/data/initial_state/prey"]


class TestPriors:
    @pytest.mark.parametrize("place", PLACES)
    @pytest.mark.parametrize(
        ("prior", "pointer"),
        [
            ({}, "/prior/distribution"),
            ({"distribution": "cauchy"}, "/prior/distribution"),
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
    def test_priors(self, prior: Any, pointer: str, place: str) -> None:
        body = changed(NOISY, {"/data/initial_state": {}})
        refused({place: {"guess": 2.0, "prior": prior}}, place + pointer, body=body)

    @pytest.mark.parametrize("distribution", ["lognormal", "half-normal"])
    def test_guesses_that_a_prior_rules_out(self, distribution: str) -> None:
        prior = {"distribution": "half-normal", "scale": 1.0}
        if distribution == "lognormal":
            prior = {"distribution": "lognormal", "median": 1.0, "sigma": 1.0}
            refused({"/parameters/alpha": {"guess": 0.0, "prior": prior}}, "/parameters/alpha/guess", body=NOISY)
        refused({"/parameters/alpha": {"guess": -1.0, "prior": prior}}, "/parameters/alpha/guess", body=NOISY)
        between = {"lower": -5.0, "upper": -1.0, "prior": prior}
        refused({"/parameters/alpha": between}, "/parameters/alpha/guess", body=NOISY, saying="middle")
        fixed = {"lower": -1.0, "upper": -1.0, "prior": prior}
        refused({"/parameters/alpha": fixed}, "/parameters/alpha/guess", body=NOISY)

    @pytest.mark.parametrize("place", PLACES)
    def test_a_prior_without_a_likelihood(self, place: str) -> None:
        prior = {"distribution": "normal", "mean": 1.0, "standard_deviation": 1.0}
        body = changed(LEAST, {"/data/initial_state": {}})
        refused({place: {"guess": 1.0, "prior": prior}}, place + "/prior", body=body, saying="'noise'")


class TestPenaltyAndHoldOut:
    @pytest.mark.parametrize(
        ("penalty", "pointer"),
        [
            ({"l1": -1.0}, "/l1"),
            ({"l2": "1"}, "/l2"),
            ({"l1": None}, "/l1"),
            ({"l1": 10**400}, "/l1"),
            ({"l1": 1.0, "names": []}, "/names"),
            ({"l1": 1.0, "names": "alpha"}, "/names"),
            ({"l1": 1.0, "names": ["alpha", "zeta"]}, "/names/1"),
            ({"l1": 1.0, "names": ["alpha", "alpha"]}, "/names/1"),
            ({"l1": 1.0, "toward": "mean"}, "/toward"),
            ({"zeta": 1.0}, "/zeta"),
            ([], ""),
        ],
    )
    def test_penalty(self, penalty: Any, pointer: str) -> None:
        refused({"/penalty": penalty}, f"/penalty{pointer}")

    def test_a_penalty_on_an_initial_value_that_is_no_unknown(self) -> None:
        refused({"/penalty/names": ["prey"]}, "/penalty/names/0", body=FULL, saying="an expression")

    @pytest.mark.parametrize(
        ("hold_out", "pointer"),
        [
            ({}, ""),
            ({"after": 1.5, "experiments": ["b"]}, ""),
            (5, ""),
            ({"zeta": 1, "after": 1.5}, "/zeta"),
            ({"after": "1"}, "/after"),
            ({"after": None}, "/after"),
            ({"after": -1.0}, "/after"),  # nothing left to fit
            ({"after": 2.0}, "/after"),  # nothing held out
            ({"experiments": []}, "/experiments"),
            ({"experiments": "a"}, "/experiments"),
            ({"experiments": ["c"]}, "/experiments/0"),
            ({"experiments": ["a", "a"]}, "/experiments/1"),
            ({"experiments": ["a", "b"]}, "/experiments"),
        ],
    )
    def test_hold_out(self, hold_out: Any, pointer: str) -> None:
        refused({"/hold_out": hold_out}, f"/hold_out{pointer}", body=EXPERIMENTS)

    def test_experiments_of_one_series_cannot_be_held_out(self) -> None:
        refused({"/hold_out": {"experiments": ["data"]}}, "/hold_out/experiments/0")
