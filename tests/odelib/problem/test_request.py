"""Valid requests: the defaults that are filled in, and the request that comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from odelib.problem.catalogue import CATALOGUE
from odelib.problem.request import FitProblem, parse_problem, request_of
from odelib.problem.series import Series
from tests.odelib.problem.requests import ABSENT, DEFINITION, FULL, MINIMAL, SEVERAL, changed, mistakes


def test_the_minimal_request_with_all_defaults() -> None:
    assert request_of(parse_problem(MINIMAL)) == {
        "system": "lotka-volterra",
        "data": {
            "name": "data",
            "times": [0.0, 0.1, 0.2],
            "values": {"prey": [1.02, 1.05, 1.11], "predator": [0.97, None, 0.71]},
            "sigma": {},
            "initial_state": {},
            "constants": {},
            "inputs": {},
            "doses": [],
            "changes": [],
            "steady_state": False,
            "observed": "after",
        },
        "inputs": {},
        "networks": {},
        "constants": {},
        "parameters": {"alpha": 1.2, "beta": 1.0, "gamma": 1.1, "delta": 2.9},
        "initial_state": {"prey": 0.8, "predator": 1.2},
        "per_experiment": [],
        "stages": [
            {"kind": "least_squares", "steps": 50},
            {"kind": "multiple_shooting", "steps": 100, "when": "doubtful"},
            {"kind": "least_squares", "steps": 200},
            {"kind": "multi_start", "starts": 100, "steps": 50, "when": "doubtful"},
            {"kind": "adam", "steps": 3000, "learning_rate": 0.001},
            {"kind": "lbfgsb", "steps": 500, "initial_step_norm": 1e-4},
        ],
        "solver": {
            "engine": "auto",
            "method": "auto",
            "device": "auto",
            "rtol": 1e-6,
            "atol": "auto",
            "max_steps": 100_000,
        },
        "predictions": [],
        "uncertainty": "none",
        "seed": 0,
        "time_limit_seconds": 3600,
        "labels": {},
    }


@pytest.mark.parametrize("request_", [FULL, SEVERAL])
def test_a_request_with_all_fields_comes_back_unchanged(request_: dict[str, Any]) -> None:
    assert request_of(parse_problem(request_)) == request_


@pytest.mark.parametrize(
    ("where", "short", "full"),
    [
        ("/stages", [{"kind": "adam"}], [{"kind": "adam", "steps": 3000, "learning_rate": 0.001}]),
        ("/stages", [{"kind": "lbfgsb"}], [{"kind": "lbfgsb", "steps": 500, "initial_step_norm": 1e-4}]),
        ("/parameters/alpha", {"guess": 2.0}, {"guess": 2.0, "scale": "linear", "fixed": False}),
        ("/predictions", [{"name": "a", "times": [5.0]}], [{"name": "a", "times": [5.0], "parameters": {}}]),
        (
            "/solver",
            {"rtol": 1e-4},
            {"engine": "auto", "method": "auto", "device": "auto", "rtol": 1e-4, "atol": "auto", "max_steps": 100_000},
        ),
    ],
)
def test_defaults_in_parts_that_are_given(where: str, short: Any, full: Any) -> None:
    echo = request_of(parse_problem(changed(MINIMAL, {where: short})))
    assert changed(echo, {where: full}) == echo


def test_defaults_of_a_definition() -> None:
    body = changed(
        MINIMAL,
        {
            "/system": changed(
                DEFINITION,
                dict.fromkeys(("/constants", "/definitions", "/observables", "/derived", "/inputs", "/events"), ABSENT),
            )
        },
    )
    body["system"]["equations"]["predator"] = "0"
    body["system"]["parameters"] = []
    body["system"]["equations"]["prey"] = "0"
    body["parameters"] = {}
    echo = request_of(parse_problem(body))["system"]
    assert echo["parameters"] == []
    assert all(echo[field] == {} for field in ("constants", "definitions", "observables", "derived"))
    assert all(echo[field] == [] for field in ("inputs", "events"))


@pytest.mark.parametrize("body", [MINIMAL, FULL], ids=["minimal", "full"])
def test_the_returned_request_is_json_and_the_same_problem(body: dict[str, Any]) -> None:
    problem = parse_problem(body)
    echo = json.loads(json.dumps(request_of(problem), allow_nan=False))
    assert parse_problem(echo) == problem
    assert request_of(parse_problem(echo)) == echo


def test_parsing_does_not_change_the_body() -> None:
    body = changed(FULL, {})
    parse_problem(body)
    assert body == FULL


def test_whole_numbers_are_numbers_and_whole_decimals_are_counts() -> None:
    body = changed(
        FULL, {"/data/times": [0, 1, 1, 2], "/seed": 7.0, "/stages/0/steps": 1e2, "/predictions/0/times": [1, 2]}
    )
    problem = parse_problem(body)
    assert problem.data.times == [0.0, 1.0, 1.0, 2.0]
    assert request_of(problem)["seed"] == 7
    assert type(problem.stages[0].steps) is int
    assert type(problem.data.times[0]) is float


def test_the_largest_numbers_and_counts() -> None:
    most = 1.7976931348623157e308
    body = changed(MINIMAL, {"/parameters/alpha": most, "/seed": 2**53, "/data/values/prey/0": -most})
    problem = parse_problem(body)
    assert problem.parameters["alpha"] == most
    assert problem.seed == 2**53
    assert problem.data.values["prey"][0] == -most


def test_replicates_negative_times_and_omitted_observables() -> None:
    body = changed(MINIMAL, {"/data/times": [-2.0, -2.0, -2.0], "/data/values/prey": ABSENT})
    assert list(parse_problem(body).data.values) == ["predator"]


def test_one_time_is_enough() -> None:
    body = changed(MINIMAL, {"/data": {"times": [3.0], "values": {"prey": [1.0]}}})
    assert parse_problem(body).data.start == 3.0


def test_one_of_several_observables_may_have_no_values() -> None:
    body = changed(MINIMAL, {"/data/values/predator": [None, None, None]})
    assert parse_problem(body).data.values["predator"] == [None, None, None]


@pytest.mark.parametrize(("given", "start"), [(ABSENT, 0.0), (-3.0, -3.0), (0.0, 0.0)])
def test_the_initial_state_holds_at_the_start_time_or_at_the_first_time(given: Any, start: float) -> None:
    body = MINIMAL if given is ABSENT else changed(MINIMAL, {"/data/start_time": given})
    assert parse_problem(body).data.start == start


def test_the_series_replaces_initial_states_name_by_name() -> None:
    body = changed(MINIMAL, {"/data/initial_state": {"prey": "alpha"}, "/initial_state": {"predator": 1.0}})
    assert mistakes(body) == {}


@pytest.mark.parametrize("text", ["2*alpha", "k", "pi*delta**2", "3", "where(alpha > 1, k, -k)", " alpha + 1 "])
def test_an_initial_state_is_an_expression_of_parameters_and_constants(text: str) -> None:
    problem = parse_problem(changed(FULL, {"/initial_state/prey": text}))
    assert problem.initial_state["prey"] == text


def test_everything_may_be_fixed() -> None:
    body = changed(MINIMAL, {})
    for part in ("parameters", "initial_state"):
        body[part] = {name: {"guess": value, "fixed": True} for name, value in body[part].items()}
    assert mistakes(body) == {}


@pytest.mark.parametrize("method", ["auto", "dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun"])
@pytest.mark.parametrize("engine", ["auto", "torchdiffeq"])
@pytest.mark.parametrize("device", ["auto", "cpu", "cuda"])
def test_engines_methods_and_devices(engine: str, method: str, device: str) -> None:
    solver = {"engine": engine, "method": method, "device": device}
    echo = request_of(parse_problem(changed(MINIMAL, {"/solver": solver})))["solver"]
    assert {name: echo[name] for name in solver} == solver


@pytest.mark.parametrize(
    "prediction",
    [
        {"times": [0.0]},
        {"times": [0.0, 0.0, 9.0]},
        {"times": [-9.0, -8.0], "initial_state": {}},
        {"times": [-9.0], "initial_state": {"prey": 1.0}, "parameters": {"alpha": 3.0}},
        {"times": [1.0], "experiment": "data"},
        {"times": [1.0, 2.0], "values": {"prey": [None, 1.0], "predator": [1.0, 2.0]}},
    ],
)
def test_predictions(prediction: dict[str, Any]) -> None:
    body = changed(MINIMAL, {"/predictions": [{"name": "p"} | prediction]})
    (echo,) = request_of(parse_problem(body))["predictions"]
    assert echo == {"name": "p", "parameters": {}} | prediction


def test_a_prediction_without_initial_state_starts_where_the_data_start() -> None:
    body = changed(MINIMAL, {"/data/start_time": -1.0, "/predictions": [{"name": "p", "times": [-1.0]}]})
    assert mistakes(body) == {}


@pytest.mark.parametrize("labels", [{"": ""}, {"~/a": "x" * 10_000}, {"größe": "ж\0🐇"}])
def test_labels_are_any_text(labels: dict[str, str]) -> None:
    assert request_of(parse_problem(changed(MINIMAL, {"/labels": labels})))["labels"] == labels


@pytest.mark.parametrize("system", ["lotka-volterra", "stuart-landau", "lorenz", "kuramoto"])
def test_the_example_of_every_catalogue_system_is_a_request(system: str) -> None:
    example = CATALOGUE[system].example
    assert example is not None
    observed = next(iter(CATALOGUE[system].observables))
    body = {
        "system": system,
        "data": {"times": list(example.times), "values": {observed: [1.0] * len(example.times)}},
        "parameters": dict(example.parameters),
        "initial_state": dict(example.initial_state),
    }
    assert parse_problem(body).resolved_system is CATALOGUE[system]


def test_the_resolved_system_of_a_definition() -> None:
    system = parse_problem(FULL).resolved_system
    assert system.name == "custom"
    assert system.states == ("prey", "predator")
    assert list(system.observables) == ["total", "prey"]
    assert system.definition().model_dump() == DEFINITION


def test_parts_of_a_request_may_be_models() -> None:
    series = Series(times=[1.0, 2.0], values={"prey": [1.0, None]}, initial_state={"prey": 2.0})
    body = changed(MINIMAL, {"/initial_state/prey": ABSENT}) | {"data": series}
    assert parse_problem(body).data == series


def test_parts_that_are_models_are_checked() -> None:
    series = Series(times=[2.0, 1.0], values={"zeta": [1.0]})
    assert list(mistakes(MINIMAL | {"data": series})) == ["/data/times/1", "/data/values/zeta"]


def test_model_validate_reports_the_same_mistakes() -> None:
    with pytest.raises(ValidationError) as caught:
        FitProblem.model_validate(changed(MINIMAL, {"/parameters/gamma": ABSENT, "/data/times/2": 0.05}))
    assert {details["loc"] for details in caught.value.errors()} == {("parameters", "gamma"), ("data", "times", "2")}


def test_a_problem_is_immutable() -> None:
    problem = parse_problem(MINIMAL)
    with pytest.raises(ValidationError, match="frozen"):
        problem.seed = 3  # type: ignore[misc]
