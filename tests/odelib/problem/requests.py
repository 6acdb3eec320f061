"""Requests that the tests start from, and how they are changed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from hypothesis import HealthCheck, settings

from odelib.errors import ProblemError
from odelib.problem.limits import Limits
from odelib.problem.pointers import split
from odelib.problem.request import parse_problem

ABSENT = object()  # in place of a value: the field is removed

# The smallest request.
MINIMAL: dict[str, Any] = {
    "system": "lotka-volterra",
    "data": {
        "times": [0.0, 0.1, 0.2],
        "values": {"prey": [1.02, 1.05, 1.11], "predator": [0.97, None, 0.71]},
    },
    "parameters": {"alpha": 1.2, "beta": 1.0, "gamma": 1.1, "delta": 2.9},
    "initial_state": {"prey": 0.8, "predator": 1.2},
}

# A definition with every field.
DEFINITION: dict[str, Any] = {
    "states": ["prey", "predator"],
    "parameters": ["alpha", "beta", "gamma", "delta"],
    "constants": {"k": 1.0},
    "definitions": {"growth": "alpha*prey", "eaten": "beta*prey*predator"},
    "inputs": ["food"],
    "equations": {
        "prey": "growth*food - eaten",
        "predator": "gamma*prey*predator - k*delta*predator",
    },
    "observables": {"total": "prey + predator", "prey": "prey"},
    "derived": {"ratio": "alpha/delta"},
    "events": [
        {
            "name": "cull",
            "when": "predator > 50 and prey < 2",
            "set": {"predator": "predator/2"},
            "add": {"prey": 1.0},
            "at_start": True,
            "stop": True,
            "most": 5,
        }
    ],
    "networks": {"guess": {"inputs": ["prey", "t"], "outputs": ["unused"], "hidden": [2], "activation": "relu"}},
}

# A request with every field, none at its default.
FULL: dict[str, Any] = {
    "system": DEFINITION,
    "networks": {"guess": {"l2": 0.1, "learning_rate": 0.02}},
    "data": {
        "name": "field",
        "times": [0.0, 0.1, 0.1, 0.2],
        "values": {"prey": [1.02, 1.05, 1.04, None], "total": [2.0, None, 1.9, 1.8]},
        "start_time": -1.0,
        "sigma": {"prey": 0.1, "total": [0.1, 0.2, 0.2, 0.3]},
        "initial_state": {"predator": {"guess": 1.3, "lower": 1.0, "upper": 2.0, "scale": "linear", "fixed": False}},
        "constants": {"k": "2*alpha"},
        "inputs": {
            "food": {"times": [-1.0, 0.2], "values": [1.0, "alpha"], "interpolation": "previous", "outside": "hold"}
        },
        "doses": [
            {
                "into": "prey",
                "amount": "0.1*k",
                "at": [0.05, "0.1*alpha"],
                "duration": 0.01,
                "lag": "0.01*beta",
                "fraction": 0.9,
                "steady": False,
            },
            {"into": "predator", "amount": 1.0, "at": 0.0, "every": 0.05, "count": 2, "rate": 100.0, "steady": False},
        ],
        "changes": [
            {
                "at": 0.15,
                "set": {"prey": "prey/2"},
                "add": {"predator": 0.1},
                "constants": {"k": "3*alpha"},
                "inputs": {"food": 2.0},
            }
        ],
        "steady_state": {"constants": {"k": 1.0}, "inputs": {"food": 1.0}, "set": {"prey": "1 + prey"}},
        "observed": "before",
    },
    "parameters": {
        "alpha": {"guess": 1.2, "lower": 0.1, "upper": 5.0, "scale": "log", "fixed": False},
        "beta": {"guess": 1.0, "scale": "linear", "fixed": True},
        "gamma": {
            "lower": 0.5,
            "upper": 1.5,
            "scale": "linear",
            "fixed": False,
            "prior": {
                "distribution": "normal",
                "mean": 1.0,
                "standard_deviation": 0.5,
                "of": "value",
                "normalised": False,
            },
        },
        "delta": 2.9,
    },
    "initial_state": {"prey": "0.5*alpha + k", "predator": 1.2},
    "inputs": {"food": "1 + t"},
    "constants": {"k": 1.5},
    "per_experiment": [],
    "noise": {
        "prey": {"distribution": "laplace"},
        "total": {
            "distribution": "normal",
            "proportional": "estimate",
            "prior": {"distribution": "half-normal", "scale": 0.2, "of": "log", "normalised": True},
        },
    },
    "penalty": {"l1": 0.1, "l2": 0.2, "names": ["gamma"], "toward": "guess"},
    "starts": 3,
    "stages": [
        {"kind": "adam", "steps": 100, "learning_rate": 0.01},
        {"kind": "lbfgsb", "steps": 50, "initial_step_norm": 1e-3},
    ],
    "solver": {
        "engine": "torchdiffeq",
        "method": "dopri8",
        "device": "cpu",
        "rtol": 1e-8,
        "atol": 1e-10,
        "max_steps": 5000,
    },
    "predictions": [
        {
            "name": "later",
            "times": [1.0, 2.0],
            "experiment": "field",
            "initial_state": {"prey": 2.0},
            "parameters": {"alpha": 1.0},
            "inputs": {"food": 1.0},
            "doses": [{"into": "prey", "amount": 1.0, "at": 1.5, "steady": False}],
            "changes": [],
            "steady_state": False,
            "observed": "after",
            "values": {"total": [None, 3.0]},
        }
    ],
    "uncertainty": "covariance",
    "hold_out": {"after": 0.1},
    "seed": 7,
    "time_limit_seconds": 60.0,
    "labels": {"who": "me"},
    "webhook": {"url": "https://example.org/fits", "secret": "whsec_c2VjcmV0"},
}

# As FULL, with the fields that only several series can have.
SEVERAL: dict[str, Any] = {
    **{name: value for name, value in FULL.items() if name != "data"},
    "experiments": [FULL["data"], FULL["data"] | {"name": "plot", "constants": {"k": 3.0}}],
    "per_experiment": ["beta", "delta"],
    "hold_out": {"experiments": ["plot"]},
}

NORMAL_NOISE: dict[str, Any] = {"distribution": "normal", "sigma": 0.1}
NOISY: dict[str, Any] = MINIMAL | {"noise": {"prey": dict(NORMAL_NOISE), "predator": dict(NORMAL_NOISE)}}
EXPERIMENTS: dict[str, Any] = {
    **{name: value for name, value in MINIMAL.items() if name != "data"},
    "experiments": [
        {"name": "a", **MINIMAL["data"]},
        {"name": "b", "times": [1.0, 2.0], "values": {"prey": [1.0, 2.0]}},
    ],
}


def examples(count: int) -> settings:
    """Settings for `count` examples of a property, without a deadline: a busy machine is not a failure."""
    return settings(max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def changed(body: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the body with another value at each pointer, or none for `ABSENT`."""
    other = copy.deepcopy(dict(body))
    for pointer, value in changes.items():
        *way, last = split(pointer)
        place: Any = other
        for part in way:
            place = place[int(part)] if isinstance(place, list) else place[part]
        key = int(last) if isinstance(place, list) else last
        if value is ABSENT:
            del place[key]
        else:
            place[key] = value
    return other


def mistakes(body: Any, limits: Limits | None = None) -> dict[str, str]:
    """The mistakes in the body by pointer; none if it is accepted."""
    try:
        parse_problem(body, limits)
    except ProblemError as error:
        found: dict[str, str] = {}
        for one in error.errors:
            found[one.pointer] = f"{found[one.pointer]}\n{one.detail}" if one.pointer in found else one.detail
        return found
    return {}


def assert_refused(changes: Mapping[str, Any], pointer: str, *, body: Any = None, detail: str = "") -> None:
    """The changes make a valid body invalid, with one mistake at the pointer."""
    body = MINIMAL if body is None else body
    assert mistakes(body) == {}
    found = mistakes(changed(body, changes))
    assert list(found) == [pointer]
    assert detail in found[pointer]


def assert_accepted(changes: Mapping[str, Any], *, body: Any = None) -> None:
    """The body is still valid after the changes."""
    assert mistakes(changed(MINIMAL if body is None else body, changes)) == {}


def custom(**parts: Any) -> dict[str, Any]:
    """A request for a system of one state x and one parameter a, with some fields of its definition replaced."""
    definition = {"states": ["x"], "parameters": ["a"], "equations": {"x": "-a*x"}} | parts
    observables = definition.get("observables") or dict.fromkeys(definition["states"])
    return {
        "system": definition,
        "data": {"times": [0.0, 1.0], "values": {name: [1.0, 0.5] for name in observables}},
        "parameters": dict.fromkeys(definition["parameters"], 1.0),
        "initial_state": dict.fromkeys(definition["states"], 1.0),
    }
