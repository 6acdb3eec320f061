"""The adjoint: gradients by going back through the steps, against forward sensitivities and torch's backpropagation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from odelib import ODELayer
from odelib.engines.base import DifferentiateBy, SolverOptions, never
from odelib.engines.compiled import engine as compiled_engine
from odelib.engines.compiled.adjoint import kernels as adjoint_kernels
from odelib.engines.compiled.adjoint import source
from odelib.engines.compiled.adjoint.kernels import AdjointKernels, adjoint_of
from odelib.engines.compiled.adjoint.transposed import solve_transposed
from odelib.engines.compiled.engine import CompiledEngine
from odelib.engines.compiled.kernels import Kernels, kernels_of
from odelib.engines.compiled.lu import factorise
from odelib.engines.compiled.scheduled import Given
from odelib.engines.layer import _system
from odelib.engines.schedules.schedule import Protocols
from odelib.objective.objective import Objective
from odelib.problem.request import parse_problem
from odelib.problem.resolved import resolve
from odelib.problem.system import System
from tests.odelib.engines.protocols import protocol, settings
from tests.odelib.engines.protocols import system as system_of
from tests.odelib.engines.test_scheduled_gradients import KINDS, PARAMETERS, STEADY, Kind
from tests.systems import STIFF, SYSTEMS

Array = NDArray[np.float64]
TIMES = 9
CASES = {
    "predator-prey with saturation": ("dopri5", "dop853"),
    "HIV": ("tsit5", "kvaerno5"),
    "Robertson": ("kvaerno5", "auto"),
    "van der Pol, mu = 1000": ("auto",),
}


def tensor(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def outputs_bar(*shape: int) -> Array:
    return np.random.default_rng(1).uniform(0.5, 1.5, shape)


def both(
    system: System, times: Array, state: Array, values: Array, options: SolverOptions, bar: Array
) -> tuple[Array, Array]:
    """The gradients of one trajectory by initial state and parameters: of the adjoint, and by forward sensitivities."""
    n, p = len(system.states), len(system.parameters)
    by = DifferentiateBy(tuple(range(n)), tuple(range(p)))
    given = times[None], state[None], values[None]
    found = adjoint_of(system).solve(*given, options, never).gradient(bar[None])
    solved = kernels_of(system).solve(*given, by, options, never)
    return np.concatenate(found, axis=1)[0], np.einsum("ti,tij->j", bar, solved.sensitivities[0])


@pytest.mark.parametrize(("name", "method"), [(name, method) for name, methods in CASES.items() for method in methods])
def test_the_gradient_is_that_of_forward_sensitivities(name: str, method: str) -> None:
    example = (SYSTEMS | STIFF)[name]
    system = _system(example.definition)
    times = np.linspace(0.0, example.end, TIMES)
    options = SolverOptions(method, 1e-10, 1e-14, 200_000)
    state, values = np.array(example.state_values), np.array(example.parameter_values)
    # each state in units of its size: some are millionfold as large as others
    sizes = np.abs(
        kernels_of(system).solve(times[None], state[None], values[None], DifferentiateBy(), options, never)[0]
    )
    bar = outputs_bar(TIMES, len(state)) / sizes[0].max(axis=0)
    found, expected = both(system, times, state, values, options, bar)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def network_system(hidden: list[int], activation: str) -> tuple[System, Array, Array]:
    """Two states and two networks, one of which the other feeds; the state and random values."""
    times = [0.25 * i for i in range(9)]
    request = {
        "system": {
            "states": ["x", "y"],
            "parameters": ["k"],
            "equations": {"x": "k*y + 0.1*u", "y": "-x + v*tanh(y) + 0.1*w"},
            "networks": {
                "fed": {"inputs": ["u + x", "t"], "outputs": ["w"], "hidden": [3], "activation": activation},
                "feeding": {
                    "inputs": ["x", "k*y", "y"], "outputs": ["u", "v"], "hidden": hidden, "activation": activation,
                },
            },
        },
        "data": {"times": times, "values": {"x": [2 * np.cos(t) for t in times], "y": [-2 * np.sin(t) for t in times]}},
        "parameters": {"k": 1.2},
        "initial_state": {"x": 2.0, "y": 0.1},
        "solver": {"rtol": 1e-9},
    }  # fmt: skip
    problem = resolve(parse_problem(request))
    objective = Objective(problem, torch.device("cpu"))
    values, states = (each.numpy() for each in objective.unknowns.values(objective.unknowns.start))
    moved = values[0] + np.random.default_rng(2).normal(scale=0.2, size=values[0].shape)
    return problem.solved_system, states[0], moved


@pytest.mark.parametrize(
    ("hidden", "activation"), [([5, 4], "tanh"), ([3], "softplus"), ([4, 3], "relu"), ([], "tanh")]
)
def test_networks_as_loops_are_networks_as_expressions(hidden: list[int], activation: str) -> None:
    system, state, values = network_system(hidden, activation)
    times = np.linspace(0.0, 2.0, TIMES)
    options = SolverOptions("auto", 1e-10, 1e-13, 10_000)
    bar = outputs_bar(TIMES, 2)
    found, by_sensitivities = both(system, times, state, values, options, bar)
    layer = ODELayer(replace(system, perceptrons=()), engine="torchdiffeq", method="dopri8", rtol=1e-10, atol=1e-13)
    inputs = [tensor(state).requires_grad_(), tensor(values).requires_grad_()]
    loss = (layer(tensor(times), *inputs) * tensor(bar)).sum()
    expected = torch.cat(torch.autograd.grad(loss, inputs)).numpy()
    scale = 1e-3 * np.abs(expected).max() + np.abs(expected)
    # steps are chosen for the states: where a unit switches on, the derivatives are as good as √rtol, torch's too
    tolerance = 1e-2 if activation == "relu" else 1e-6
    assert (np.abs(found - expected) <= tolerance * scale).all()
    assert (np.abs(by_sensitivities - expected) <= tolerance * scale).all()


@pytest.mark.parametrize("method", ["dopri5", "kvaerno5"])
def test_what_does_not_fit_on_the_tape_is_solved_again(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    system, count = _system(SYSTEMS["predator-prey with saturation"].definition), 5
    example = SYSTEMS["predator-prey with saturation"]
    times = np.linspace(0.0, example.end, TIMES)[None]
    state = np.array(example.state_values) * np.linspace(0.8, 1.2, count)[:, None]
    values = np.tile(example.parameter_values, (count, 1))
    state[2] = np.nan  # fails
    bar = outputs_bar(count, TIMES, state.shape[1])
    options = SolverOptions(method, 1e-8, 1e-10, 10_000)
    whole = adjoint_of(system).solve(times, state, values, options, never)
    expected = whole.gradient(bar)
    monkeypatch.setattr(adjoint_kernels, "FIRST_ROWS", 3)
    monkeypatch.setattr(adjoint_kernels, "MAX_NUMBERS", 0)
    small = adjoint_of(system).solve(times, state, values, options, never)
    assert whole.most_steps > 30
    assert set(small.failures) == set(whole.failures) == {2}
    np.testing.assert_array_equal(small.states, whole.states)
    for _ in range(2):
        for found, wanted in zip(small.gradient(bar), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
            assert (found[2] == 0).all()


def chain(length: int) -> dict[str, Any]:
    states = [f"x{i}" for i in range(length)]
    fed = ["0", *(f"k{i}*x{i}/(1 + m{i}*x{i})" for i in range(length - 1))]
    return {
        "states": states,
        "parameters": [f"{kind}{i}" for i in range(length) for kind in "km"],
        "equations": {x: f"{fed[i]} - k{i}*x{i}/(1 + m{i}*x{i})" for i, x in enumerate(states)},
    }


def test_a_layer_with_many_unknowns_goes_back_through_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = ODELayer(chain(12), rtol=1e-9, atol=1e-12)
    times, unknowns = tensor([0.0, 0.5, 2.0]), torch.linspace(0.5, 1.5, 36, dtype=torch.float64)
    calls: list[int] = []
    gradient = adjoint_kernels.Recording.gradient

    def counted(self: Any, bar: Array) -> Any:
        calls.append(1)
        return gradient(self, bar)

    monkeypatch.setattr(adjoint_kernels.Recording, "gradient", counted)

    def found(members: int) -> Array:
        state = torch.stack([unknowns[:12]] * members).requires_grad_()
        values = (torch.linspace(1, 2, members, dtype=torch.float64)[:, None] * unknowns[12:]).requires_grad_()
        if members == 1:
            state, values = state[0].detach().requires_grad_(), values[0].detach().requires_grad_()
        states = layer(times, state, values)
        gradients = torch.autograd.grad((states * torch.arange(1, 13)).sum(), [state, values])
        return torch.cat(gradients, -1).numpy()

    by_adjoint = [found(1), found(3)]
    assert len(calls) == 2
    monkeypatch.setattr(compiled_engine, "is_cheaper", lambda unknowns: False)
    for gradients, members in zip(by_adjoint, (1, 3), strict=True):
        np.testing.assert_allclose(gradients, found(members), rtol=1e-6, atol=1e-9)
    assert len(calls) == 2


def test_large_kernels_are_written_in_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    system = _system(chain(4))
    options = SolverOptions("dopri5", 1e-9, 1e-12, 1000)
    given = np.array([[0.0, 1.0]]), np.ones((1, 4)), np.linspace(0.5, 1.5, 8)[None]
    expected = adjoint_of(system).solve(*given, options, never).gradient(np.ones((1, 2, 4)))
    monkeypatch.setattr(source, "PIECE_OPERATIONS", 20)
    in_pieces = AdjointKernels(system).solve(*given, options, never).gradient(np.ones((1, 2, 4)))
    for found, wanted in zip(in_pieces, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-13)


def test_where_a_slope_is_infinite_forward_sensitivities_step_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The root is at 0 for all times whatever the unknowns are; ∞·v has no value on the way back."""
    monkeypatch.setattr(compiled_engine, "is_cheaper", lambda unknowns: True)
    definition = {"states": ["x", "y"], "parameters": ["k"], "equations": {"x": "0*x", "y": "k + sqrt(x)"}}
    layer = ODELayer(definition)
    values = tensor([2.0]).requires_grad_()
    states = layer(tensor([0.0, 1.0]), tensor([0.0, 1.0]), values)
    (gradient,) = torch.autograd.grad(states[-1].sum(), values)
    assert gradient.tolist() == pytest.approx([1.0])


def test_events_are_left_to_forward_sensitivities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_engine, "is_cheaper", lambda unknowns: True)
    monkeypatch.setattr(adjoint_kernels.AdjointKernels, "solve", None)
    layer = ODELayer({"states": ["x"], "parameters": ["k", "s"], "equations": {"x": "-k*x + where(x > s, 0, 1)"}})
    values = tensor([0.5, 0.5]).requires_grad_()
    states = layer(tensor([0.0, 1.0]), tensor([0.0]), values)
    (gradient,) = torch.autograd.grad(states[-1].sum(), values)
    assert gradient.isfinite().all()


def test_a_time_that_is_a_parameter_is_gone_back_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_engine, "is_cheaper", lambda unknowns: True)
    monkeypatch.setattr(Kernels, "solve", None)
    layer = ODELayer({"states": ["x"], "parameters": ["k", "s"], "equations": {"x": "-k*x + where(t < s, 1, 0)"}})
    values = tensor([1.0, 0.5]).requires_grad_()
    states = layer(tensor([0.0, 1.0]), tensor([0.0]), values)
    (gradient,) = torch.autograd.grad(states[-1].sum(), values)
    # x(1) = (e^(s - 1) - e^-1)/k at k = 1, so that dx/ds = e^(s - 1)
    assert gradient[1].item() == pytest.approx(np.exp(-0.5), rel=1e-5)


SCHEDULED = system_of(
    {"a": "-ka*a + 0.2*w*u", "c": "ka*a/v - k*c - kept", "w": "q - k*w*(1 + a*c)/2 + where(t < 2*d, 0, 0.1*f)"},
    list(PARAMETERS),
    {"v": 2.0, "q": 0.3},
    inputs=["u"],
    definitions={"kept": "0.05*f*c*w*(1 + u)"},
)
GIVEN_TIMES = [name for name, kind in KINDS.items() if not kind.constants and name not in STEADY]


@pytest.mark.parametrize("method", ["dopri5", "kvaerno5"])
@pytest.mark.parametrize("has_small_tape", [False, True])
def test_what_happens_at_given_times_is_gone_back_through(
    method: str, has_small_tape: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kind of input, dose and change, alone and beside another one, with outputs at the instants themselves."""
    if has_small_tape:
        monkeypatch.setattr(adjoint_kernels, "FIRST_ROWS", 3)
        monkeypatch.setattr(adjoint_kernels, "MAX_NUMBERS", 0)
    count = len(GIVEN_TIMES)
    kinds = [KINDS[name].with_other(KINDS[GIVEN_TIMES[(i + 9) % count]]) for i, name in enumerate(GIVEN_TIMES)]
    protocols = tuple(kind.with_other(Kind(protocol({"u": 0.8}))).done for kind in kinds)
    times = [0.0, 0.0, 0.8, 0.8, 1.2, 1.3, 1.63, 2.6, 3.3, 5.0, 6.23, 6.23]
    by = DifferentiateBy(tuple(range(3)), tuple(range(len(PARAMETERS))))
    what = settings(
        np.tile(times, (count, 1)), np.tile([2.0, 0.3], (count, 1)), Protocols(protocols, tuple(range(count))), by,
        rtol=1e-10, method=method, before=torch.tensor([[i % 2 == 0 for i in range(len(times))]] * count),
    )  # fmt: skip
    engine = CompiledEngine(SCHEDULED)
    states, values = np.tile([1.1, 0.6, 0.4], (count, 1)), np.tile(list(PARAMETERS.values()), (count, 1))
    expected = engine.sensitivities(states, values, what)
    assert not expected.failures
    assert engine._scheduled.has_adjoint(what)
    given = Given(np.tile(times, (count, 1)), states, np.concatenate([values, np.tile([2.0, 0.3], (count, 1))], 1))
    recording = engine._scheduled.solve_on_tape(given, what)
    np.testing.assert_allclose(recording.states, expected.states, rtol=1e-7, atol=1e-9)
    bar = outputs_bar(count, len(times), 3)
    wanted = [np.einsum("bti,btij->bj", bar, each) for each in (expected.by_initial_state, expected.by_parameters)]
    for _ in range(2):
        found = np.concatenate(recording.gradient(bar), axis=1)
        errors = np.abs(found - np.concatenate(wanted, axis=1))
        assert not {name: error for name, error in zip(GIVEN_TIMES, errors.tolist(), strict=True) if max(error) > 1e-6}


@pytest.mark.parametrize("size", [1, 2, 7])
def test_transposed_systems_are_solved(size: int) -> None:
    rng = np.random.default_rng(size)
    matrix, right = rng.normal(size=(size, size)), rng.normal(size=size)
    matrix[0, 0] = 0.0 if size > 1 else 2.0  # exchanges rows
    expected = np.linalg.solve(matrix.T, right)
    pivots = np.zeros(size, dtype=np.int64)
    assert factorise(matrix, pivots, np.ones(size))
    solve_transposed(matrix, pivots, right)
    np.testing.assert_allclose(right, expected, rtol=1e-10)


def test_networks_have_no_operation_for_each_weight() -> None:
    system, _, _ = network_system([64, 64], "tanh")
    kernels = Kernels(system)
    assert kernels.module.__file__ is not None
    assert Path(kernels.module.__file__).stat().st_size < 40_000
