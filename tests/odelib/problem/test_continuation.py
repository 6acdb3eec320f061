"""What a request leaves out is filled in from an earlier fit, and nothing else changes."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from odelib.problem.continuation import continued
from odelib.problem.request import parse_problem
from tests.odelib.problem.requests import EXPERIMENTS, MINIMAL, assert_refused, examples

BEST = {
    "parameters": {"alpha": {"value": 1.5}, "beta": {"value": 1.1}, "gamma": {"value": 0.9}, "delta": {"value": 3.0}},
    "initial_state": {"prey": {"value": 1.01}, "predator": {"value": 0.99}},
    "trajectories": [
        {"name": "b", "initial_state": {"prey": {"value": 5.0}, "predator": {"value": 6.0}}},
    ],
}  # fmt: skip
EARLIER = {"parameters": {"alpha": {"guess": 1.0, "scale": "log"}, "beta": 1.0}}


def test_guesses_and_scales_are_filled_in() -> None:
    raw = MINIMAL | {"parameters": {"beta": {"lower": 0.5, "upper": 2.0}, "gamma": 7.0}, "initial_state": {"prey": 2.0}}
    filled = continued(raw | {"continue_from": "x"}, EARLIER, BEST)

    assert "continue_from" not in filled
    assert filled["parameters"] == {
        "alpha": {"guess": 1.5, "scale": "log"},
        "beta": {"lower": 0.5, "upper": 2.0, "guess": 1.1},
        "gamma": 7.0,
        "delta": 3.0,
    }
    assert filled["initial_state"] == {"prey": 2.0, "predator": 0.99}
    parse_problem(filled)


def test_experiments_continue_by_name() -> None:
    raw = {**EXPERIMENTS, "parameters": {}, "initial_state": {"predator": 1.0}, "continue_from": "x"}
    filled = continued(raw, EARLIER, BEST)

    assert filled["experiments"][1]["initial_state"] == {"prey": 5.0}
    assert "initial_state" not in filled["experiments"][0]
    assert filled["initial_state"] == {"prey": 1.01, "predator": 1.0}
    parse_problem(filled)


def test_outside_a_service_it_is_refused() -> None:
    assert_refused({"/continue_from": "x"}, "/continue_from", body=MINIMAL, detail="only a service")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.sampled_from(["a", "lorenz", "prey"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["name", "guess", "prey", "states", "parameters", "initial_state"]), inner)
    ),
    max_leaves=6,
)
FIELDS = ["system", "parameters", "initial_state", "experiments", "networks", "data", "continue_from"]


@examples(100)
@given(st.dictionaries(st.sampled_from(FIELDS), ANYTHING))
def test_anything_malformed_is_left_to_validation(raw: dict[str, Any]) -> None:
    continued(raw, EARLIER, BEST | {"networks": {"a": {}}})
