"""Networks in systems: what they compute, their derivatives, how they are trained, and what the result has of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from odelib.engines.layer import ODELayer
from odelib.engines.symbolic.graph import Graph
from odelib.errors import ProblemError
from odelib.fitting import fit
from odelib.objective.objective import Objective
from odelib.problem.request import FitProblem, parse_problem
from odelib.problem.resolved import resolve
from odelib.result import FitResult, TrainedNetwork

TIMES = [0.25 * i for i in range(13)]
# Logistic growth, of which the request knows only the growth: x' = k·x + u, and u is −x² in truth.
TRUTH = [0.1 * math.exp(t) / (1 + 0.1 * (math.exp(t) - 1)) for t in TIMES]
NETWORK: dict[str, Any] = {"inputs": ["x"], "outputs": ["u"], "hidden": [3]}
REQUEST: dict[str, Any] = {
    "system": {"states": ["x"], "parameters": ["k"], "equations": {"x": "k*x + u"}, "networks": {"crowding": NETWORK}},
    "data": {"times": TIMES, "values": {"x": [x + 0.002 * (-1) ** i for i, x in enumerate(TRUTH)]}},
    "parameters": {"k": {"guess": 1.0, "fixed": True}},
    "initial_state": {"x": 0.1},
    "networks": {"crowding": {"l2": 1e-5}},
    "stages": [{"kind": "least_squares", "steps": 60}],
}


def problem(**changes: Any) -> FitProblem:
    return parse_problem(REQUEST | changes)


@pytest.fixture(scope="module")
def result() -> FitResult:
    return fit(problem(uncertainty="covariance", predictions=[{"name": "later", "times": [3.5, 4.0]}]))


def computed(network: TrainedNetwork, inputs: list[float]) -> list[float]:
    """The outputs, as somebody else would compute them from the result."""
    into, out = network.input_scaling, network.output_scaling
    units = (np.array(inputs) - into.offset) / into.scale
    for layer in network.layers[:-1]:
        units = np.tanh(np.array(layer.weight) @ units + layer.bias)
    last = network.layers[-1]
    values = np.array(out.offset) + np.array(out.scale) * (np.array(last.weight) @ units + last.bias)
    return [float(value) for value in values]


def test_a_network_learns_the_missing_term(result: FitResult) -> None:
    assert result.networks is not None
    network = result.networks["crowding"]
    assert network.sampled is not None
    size = max(x * x for x in TRUTH)
    for (x,), u in zip(network.sampled.inputs, network.sampled.outputs["u"], strict=True):
        assert u == pytest.approx(-x * x, abs=0.15 * size)
        assert computed(network, [x]) == pytest.approx([u], rel=1e-9, abs=1e-12)


def test_weights_stand_in_no_other_list(result: FitResult) -> None:
    assert list(result.parameters) == ["k"]
    assert result.loss_parts.penalty > 0
    assert result.covariance is None or set(result.covariance.names) <= {"k", "x"}
    assert result.predictions is not None
    assert set(result.predictions[0].parameters or {}) <= {"k"}
    assert "net_" not in result.to_json()
    assert FitResult.model_validate_json(result.to_json()) == result


def test_the_same_request_gives_the_same_weights_and_a_seed_others() -> None:
    quick = problem(stages=[{"kind": "adam", "steps": 2}])
    first, second = fit(quick), fit(quick)
    assert first.networks == second.networks
    assert fit(problem(stages=[{"kind": "adam", "steps": 2}], seed=1)).networks != first.networks


def test_a_result_is_a_start(result: FitResult) -> None:
    start = result.model_dump(mode="json", exclude_none=True)["networks"]["crowding"]
    settings = {"crowding": {"l2": 1e-5, "start": start}}
    again = fit(problem(networks=settings, initial_state={"x": {"guess": result.initial_state["x"].value}}))
    assert again.loss <= result.loss * (1 + 1e-9)
    assert again.loss == pytest.approx(result.loss, rel=0.02)


def test_a_universal_equation_starts_as_its_known_part() -> None:
    fixed = {"x": {"guess": 0.1, "fixed": True}}
    untrained = fit(problem(stages=[{"kind": "adam", "steps": 1, "learning_rate": 1e-12}], initial_state=fixed,
                            networks={"crowding": {"learning_rate": 1e-12}}))  # fmt: skip
    values = [x for x in untrained.trajectories[0].values["x"] if x is not None]
    assert values == pytest.approx([0.1 * math.exp(t) for t in TIMES], rel=0.2)


@pytest.mark.parametrize("activation", ["tanh", "softplus", "relu"])
def test_gradients_agree_with_finite_differences_on_both_engines(activation: str) -> None:
    network = NETWORK | {"activation": activation, "inputs": ["x", "t"], "hidden": [2, 2]}
    system = REQUEST["system"] | {"networks": {"crowding": network}}
    for engine in ("compiled", "torchdiffeq"):
        solver = {"engine": engine, "rtol": 1e-10, "atol": 1e-12}
        objective = Objective(resolve(problem(system=system, solver=solver)), torch.device("cpu"))
        at = objective.unknowns.start + 0.3
        gradient = objective.evaluate(at).gradient
        for i in range(0, len(at), 5):
            step = np.zeros(len(at))
            step[i] = 1e-5
            slope = (objective.evaluate(at + step).loss - objective.evaluate(at - step).loss) / 2e-5
            assert gradient[i] == pytest.approx(slope, rel=2e-5, abs=1e-5 * np.abs(gradient).max())


def test_derivatives_by_many_names_are_those_by_each() -> None:
    system = REQUEST["system"] | {"networks": {"crowding": NETWORK | {"hidden": [20, 20], "inputs": ["x", "k", "t"]}}}
    expanded = resolve(problem(system=system)).solved_system
    graph = Graph(expanded.definitions, expanded.states)
    outputs = [graph.add(expression) for expression in expanded.equations.values()]
    names = list(expanded.parameters)
    assert graph._is_cheaper_backwards(outputs, names)
    backwards = graph.derivatives_by_many(outputs, names)
    forwards = [graph.derivatives(outputs, name) for name in names]
    rng = np.random.default_rng(0)
    values = {name: float(rng.normal()) for name in (*names, *expanded.states, "t")}
    computed: list[float] = []
    for entry in graph.entries:  # each after its operands
        operands = [computed[operand] for operand in entry.operands]
        match entry.operator:
            case "number":
                computed.append(float(entry.value or 0.0))
            case "name":
                computed.append(values[str(entry.value)])
            case "+" | "-" | "*" | "/":
                computed.append(float(eval(f"a {entry.operator} b", {"a": operands[0], "b": operands[1]})))
            case "neg":
                computed.append(-operands[0])
            case "tanh":
                computed.append(math.tanh(operands[0]))
            case other:
                raise AssertionError(other)
    for one, other in zip(backwards, forwards, strict=True):
        assert one.keys() == other.keys()
        for row, node in one.items():
            assert computed[node] == pytest.approx(computed[other[row]], rel=1e-9, abs=1e-12)


def test_known_terms_that_the_network_imitates_are_told() -> None:
    free = problem(parameters={"k": 1.0}, uncertainty="covariance")
    found = {warning.code: warning for warning in fit(free).warnings}
    assert {"penalty_determines", "flat_direction", "no_uncertainty"} & found.keys()


def test_a_network_of_a_constant_makes_a_parameter_of_it() -> None:
    """A hybrid model: the rate is a function of a covariate over several subjects."""
    covariates = [0.5, 1.0, 1.5, 2.0]
    system = {
        "states": ["c"],
        "constants": {"weight": 1.0},
        "equations": {"c": "-exp(rate)*c"},
        "networks": {"clearance": {"inputs": ["weight"], "outputs": ["rate"], "hidden": []}},
    }
    experiments = [
        {
            "name": f"subject {i}",
            "times": [0.0, 0.5, 1.0],
            "constants": {"weight": weight},
            "values": {"c": [math.exp(-math.exp(0.3 * weight - 0.5) * t) for t in (0.0, 0.5, 1.0)]},
        }
        for i, weight in enumerate(covariates)
    ]
    request = {
        "system": system,
        "experiments": experiments,
        "initial_state": {"c": {"guess": 1.0, "fixed": True}},
        "stages": [{"kind": "least_squares"}],
    }
    result = fit(parse_problem(request))
    assert result.networks is not None
    for weight in covariates:
        assert computed(result.networks["clearance"], [weight]) == pytest.approx([0.3 * weight - 0.5], abs=1e-3)


def places(**changes: Any) -> list[str]:
    with pytest.raises(ProblemError) as raised:
        problem(**changes)
    return sorted(mistake.pointer for mistake in raised.value.errors)


def test_mistakes_have_pointers() -> None:
    def system(**network: Any) -> dict[str, Any]:
        return REQUEST["system"] | {"networks": {"crowding": NETWORK | network}}

    assert places(networks={"other": {}}) == ["/networks/other"]
    assert places(networks={"crowding": {"l2": -1.0, "rate": 1}}) == [
        "/networks/crowding/l2",
        "/networks/crowding/rate",
    ]
    assert places(system=system(inputs=["u"])) == ["/system/networks/crowding"]
    assert places(system=system(inputs=["q"])) == ["/system/networks/crowding/inputs/0"]
    assert places(system=system(outputs=["u", "k"])) == ["/system/networks/crowding/outputs/1"]
    assert places(system=system(hidden=[300, 300])) == ["/system/networks"]
    assert places(system=system(activation="sin")) == ["/system/networks/crowding/activation"]
    assert places(initial_state={"x": "u"}) == ["/initial_state/x"]


def test_a_layer_has_no_networks() -> None:
    with pytest.raises(ValueError, match="networks"):
        ODELayer(REQUEST["system"])
