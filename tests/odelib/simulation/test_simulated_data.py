"""Simulated data agree with closed forms and can be fitted; mistakes are reported with pointers."""

import math
from typing import Any

import numpy as np
import pytest

from odelib.errors import ProblemError, SolveError
from odelib.problem.catalogue import CATALOGUE
from odelib.problem.noise import DISTRIBUTIONS
from odelib.problem.request import parse_problem
from odelib.simulation.simulated_data import run_simulation, run_simulations, simulate

DECAY = {
    "states": ["x"],
    "parameters": ["k"],
    "constants": {"scale": 1.0},
    "equations": {"x": "-k*x"},
    "observables": {"x": "x", "scaled": "scale*x"},
}
WITHOUT_DATA = {"system": DECAY, "parameters": {"k": 1.0}, "initial_state": {"x": 1.0}}


def decay(**data: Any) -> dict[str, Any]:
    return {
        "system": DECAY,
        "parameters": {"k": 0.5},
        "initial_state": {"x": 2.0},
        "data": {"times": [0.0, 1.0, 1.0, 3.0]} | data,
    }


def exact(times: list[float], *, start: float = 0.0) -> list[float]:
    return [2 * math.exp(-0.5 * (t - start)) for t in times]


def test_observables_follow_the_solution() -> None:
    data = simulate(decay())
    assert data["times"] == [0.0, 1.0, 1.0, 3.0]
    assert list(data["values"]) == ["x", "scaled"]
    np.testing.assert_allclose(data["values"]["x"], exact(data["times"]), rtol=1e-9)


def test_times_can_take_the_place_of_data() -> None:
    request = {key: value for key, value in decay().items() if key != "data"}
    assert simulate(request | {"times": [0.0, 1.0, 1.0, 3.0]}) == simulate(decay())


def test_the_other_fields_of_the_series_are_kept() -> None:
    series = {
        "name": "left flask",
        "start_time": -1.0,
        "constants": {"scale": 10.0},
        "values": {"scaled": [1.0, None, 1.0, 1.0]},
        "sigma": {"scaled": 0.1},
    }
    data = simulate(decay(**series))
    assert (data["name"], data["start_time"], data["constants"]) == ("left flask", -1.0, {"scale": 10.0})
    assert "sigma" not in data
    assert list(data["values"]) == ["scaled"]
    simulated = data["values"]["scaled"]
    assert simulated[1] is None
    expected = [10 * value for value in exact([0.0, 1.0, 3.0], start=-1.0)]
    np.testing.assert_allclose([simulated[0], *simulated[2:]], expected, rtol=1e-9)


def test_initial_values_can_be_expressions() -> None:
    request = decay(initial_state={"x": "8*k"}, times=[0.0])
    assert simulate(request)["values"]["x"] == [4.0]


def test_noise_has_its_standard_deviation_and_its_seed() -> None:
    request = decay(times=list(np.linspace(0.0, 1.0, 2000)))
    clean, first = simulate(request)["values"], simulate(request, noise=0.3, seed=1)["values"]
    assert simulate(request, noise=0.3, seed=1)["values"] == first
    assert simulate(request, noise=0.3, seed=2)["values"] != first
    for name in ("x", "scaled"):
        errors = np.array(first[name]) - np.array(clean[name])
        assert errors.std() == pytest.approx(0.3, rel=0.1)
        assert abs(errors.mean()) < 0.03
    assert np.corrcoef(np.subtract(first["x"], clean["x"]), np.subtract(first["scaled"], clean["scaled"]))[0, 1] < 0.1


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_requests_own_noise_needs_no_values(name: str) -> None:
    scale = {"sigma": "a + 0.1*x"} if DISTRIBUTIONS[name].scales else {}
    system = {"states": ["x"], "parameters": ["k", "a"], "equations": {"x": "-k*x"}}
    body = {"system": system, "data": {"times": [0.0, 1.0]}, "parameters": {"k": 1.0, "a": 0.1}}
    noisy = body | {"initial_state": {"x": 2.0}, "noise": {"x": {"distribution": name, **scale}}}
    assert simulate(noisy)["values"]["x"] == pytest.approx([2.0, 2 / math.e])


def test_experiments_are_simulated_from_their_own_initial_states() -> None:
    """Each has its own initial state, constants and missing values; one stream of noise runs through all."""
    request = decay()
    del request["data"]
    request["experiments"] = [
        {"name": "low", "times": [0.0, 1.0], "values": {"x": [0, 0]}},
        {
            "name": "high",
            "times": [0.0, 3.0],
            "values": {"x": [0, None], "scaled": [0, 0]},
            "initial_state": {"x": 9.0},
            "constants": {"scale": 10.0},
        },
    ]
    low, high = (simulation.data for simulation in run_simulations(request))
    start = exact([0.0])[0]
    np.testing.assert_allclose(low["values"]["x"], exact([0.0, 1.0]), rtol=1e-9)
    assert low["name"] == "low"
    assert high["values"]["x"] == [9.0, None]
    expected = [10 * 9.0 / start * value for value in exact([0.0, 3.0])]
    np.testing.assert_allclose(high["values"]["scaled"], expected, rtol=1e-9)
    noisy = [simulation.data["values"]["x"][0] for simulation in run_simulations(request, noise=0.1, seed=1)]
    assert noisy[0] - start != pytest.approx(noisy[1] - 9.0)
    with pytest.raises(ProblemError, match="/experiments"):
        run_simulation(request)


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_catalogue_example_is_ready_to_be_fitted(name: str) -> None:
    simulation = run_simulation(name, noise=0.01, seed=4)
    example = simulation.system.example
    assert example
    assert simulation.data["times"] == list(example.times)
    assert list(simulation.data["values"]) == list(CATALOGUE[name].observables)
    start = {state: column[0] for state, column in simulation.dense.states.items()}
    assert start == example.initial_state
    parse_problem(
        {
            "system": name,
            "data": simulation.data,
            "parameters": dict(example.parameters),
            "initial_state": dict(example.initial_state),
        }
    )


def test_the_dense_solution_spans_the_data() -> None:
    dense = run_simulation(decay(start_time=-1.0), noise=0.5).dense
    assert (dense.times[0], dense.times[-1]) == (-1.0, 3.0)
    np.testing.assert_allclose(dense.states["x"], exact(dense.times, start=-1.0), rtol=1e-8)


@pytest.mark.parametrize(
    ("request_", "pointers"),
    [
        ("nothing", [""]),
        ({"system": "nothing", "times": [0.0]}, ["/system"]),
        (WITHOUT_DATA, ["/data/times"]),
        (WITHOUT_DATA | {"data": {}}, ["/data/times"]),
        (decay(times=[0.0, 2.0, 1.0]), ["/data/times/2"]),
        (decay(values={"y": [1.0] * 4}), ["/data/values/y"]),
        ({**decay(), "times": [0.0]}, ["/times"]),
        ({"system": DECAY, "initial_state": {"x": 1}, "times": [1, 0]}, ["/parameters/k", "/times/1"]),
        ({"system": {"states": 3}, "times": [0.0]}, ["/system/equations", "/system/states"]),
    ],
)
def test_mistakes_have_pointers(request_: Any, pointers: list[str]) -> None:
    with pytest.raises(ProblemError) as caught:
        simulate(request_)
    assert sorted(error.pointer for error in caught.value.errors) == pointers


@pytest.mark.parametrize(("entry", "pointer"), [({"name": "a"}, "/experiments/0/times"), (3, "/experiments/0")])
def test_an_experiment_without_times_has_a_pointer(entry: Any, pointer: str) -> None:
    with pytest.raises(ProblemError) as caught:
        run_simulations(WITHOUT_DATA | {"experiments": [entry]})
    assert [error.pointer for error in caught.value.errors] == [pointer]


def test_a_trajectory_that_cannot_be_solved_or_observed_reports_the_time() -> None:
    explosion = {"states": ["x"], "equations": {"x": "x**2"}}
    with pytest.raises(SolveError, match="at t = 1"):
        simulate({"system": explosion, "initial_state": {"x": 1.0}, "times": [0.0, 2.0]})
    logarithm = {"states": ["x"], "equations": {"x": "-1"}, "observables": {"y": "log(x)"}}
    with pytest.raises(SolveError) as caught:
        simulate({"system": logarithm, "initial_state": {"x": 1.0}, "times": [0.0, 2.0]})
    assert caught.value.code == "not_finite"
    assert caught.value.time == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("noise", [-1.0, math.nan, math.inf])
def test_invalid_noise_is_refused(noise: float) -> None:
    with pytest.raises(ValueError, match="standard deviation"):
        simulate("lorenz", noise=noise)
