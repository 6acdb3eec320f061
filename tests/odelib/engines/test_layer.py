from __future__ import annotations

import math
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from odelib import ODELayer, ProblemError, SolveError
from odelib.errors import FitError, StopReason, StopRequested
from tests.engines import ENGINES

DECAY = {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}}
BLOW_UP = {"states": ["x"], "parameters": ["k"], "equations": {"x": "k*x**2"}}  # 1/(1/x0 − k·t)
TWO = {"states": ["x", "y"], "parameters": ["a", "b"], "equations": {"x": "-a*x", "y": "a*x - b*y"}}
METHODS = ["dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun"]


def tensor(*values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_solves_an_exponential_to_its_tolerance(method: str) -> None:
    layer = ODELayer(DECAY, engine="torchdiffeq", method=method, rtol=1e-6, atol=1e-9)
    times = torch.linspace(0, 3, 7, dtype=torch.float64)
    states = layer(times, tensor(2.0), tensor(0.7))
    assert states.shape == (7, 1)
    assert states.dtype == torch.float64
    np.testing.assert_allclose(states[:, 0].numpy(), 2 * np.exp(-0.7 * times.numpy()), rtol=3e-4)
    # the low orders' global error is some hundred times the tolerance on the error of a step


def test_dopri8_is_accurate_between_its_long_steps() -> None:
    layer = ODELayer("lotka-volterra", engine="torchdiffeq", method="dopri8", rtol=1e-10, atol=1e-12)
    other = ODELayer("lotka-volterra", engine="torchdiffeq", method="dopri5", rtol=1e-11, atol=1e-13)
    times = torch.linspace(0, 5, 40, dtype=torch.float64)
    arguments = (times, tensor(1.0, 1.0), tensor(1.5, 1.0, 1.0, 3.0))
    np.testing.assert_allclose(layer(*arguments).numpy(), other(*arguments).numpy(), rtol=1e-7)


@pytest.mark.parametrize("engine", ENGINES)
class TestShapes:
    def test_batch_members_are_the_single_solutions(self, engine: str) -> None:
        layer = ODELayer(TWO, engine=engine, rtol=1e-9, atol=1e-11)
        times = tensor(0.0, 0.5, 2.0)
        states, parameters = tensor([1.0, 0.0], [2.0, 1.0], [0.0, 3.0]), tensor([0.5, 0.2], [1.0, 0.1], [2.0, 2.0])
        batch = layer(times, states, parameters)
        assert batch.shape == (3, 3, 2)
        for member in range(3):
            alone = layer(times, states[member], parameters[member])
            np.testing.assert_allclose(batch[member].numpy(), alone.numpy(), rtol=1e-7, atol=1e-9)

    def test_a_single_initial_state_or_parameter_set_serves_the_whole_batch(self, engine: str) -> None:
        layer = ODELayer(TWO, engine=engine)
        times = tensor(0.0, 1.0)
        by_parameters = layer(times, tensor(1.0, 0.0), tensor([0.5, 0.2], [1.0, 0.1]))
        by_states = layer(times, tensor([1.0, 0.0], [2.0, 0.0]), tensor(0.5, 0.2))
        assert by_parameters.shape == by_states.shape == (2, 2, 2)
        np.testing.assert_allclose(by_parameters[0].numpy(), by_states[0].numpy(), rtol=1e-5)
        np.testing.assert_allclose(by_states[1].numpy(), 2 * by_states[0].numpy(), rtol=1e-5)

    def test_equal_times_give_equal_states(self, engine: str) -> None:
        states = ODELayer(DECAY, engine=engine)(tensor(0.0, 0.0, 1.0, 1.0, 1.0), tensor(2.0), tensor(1.0))
        assert states[0].item() == states[1].item() == 2
        assert states[2].item() == states[3].item() == states[4].item() == pytest.approx(2 / math.e, rel=1e-6)

    def test_one_time_is_the_initial_state(self, engine: str) -> None:
        states = ODELayer(TWO, engine=engine)(tensor(3.0), tensor(1.0, 2.0), tensor(1.0, 1.0))
        assert states.tolist() == [[1, 2]]

    def test_single_precision_inputs_become_double(self, engine: str) -> None:
        states = ODELayer(DECAY, engine=engine)(torch.tensor([0.0, 1.0]), torch.tensor([2.0]), torch.tensor([1.0]))
        assert states.dtype == torch.float64

    def test_equations_may_contain_time_or_be_constant(self, engine: str) -> None:
        layer = ODELayer({"states": ["x", "y"], "equations": {"x": "2*t", "y": "1"}}, engine=engine)
        states = layer(tensor(1.0, 3.0), tensor([0.0, 0.0], [1.0, 1.0]), torch.zeros(0, dtype=torch.float64))
        np.testing.assert_allclose(states[:, 1].numpy(), [[8, 2], [9, 3]], rtol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
class TestFailures:
    def test_a_blow_up_is_an_error_with_its_time(self, engine: str) -> None:
        layer = ODELayer(BLOW_UP, engine=engine, max_steps=5000)
        with pytest.raises(SolveError, match=r"t = (0\.99|1)") as caught:
            layer(tensor(0.0, 2.0), tensor(1.0), tensor(1.0))
        assert caught.value.code in ("step_too_small", "not_finite")
        assert caught.value.time == pytest.approx(1.0, abs=0.01)

    def test_max_steps_is_per_trajectory_not_per_interval(self, engine: str) -> None:
        layer = ODELayer("lorenz", engine=engine, max_steps=50)
        with pytest.raises(SolveError, match="used all its 50 steps") as caught:
            layer(torch.linspace(0, 10, 500, dtype=torch.float64), tensor(1.0, 0.0, 0.0), tensor(10.0, 28.0, 8 / 3))
        assert caught.value.code == "max_steps"
        assert 0 < caught.value.time < 10

    def test_an_equation_without_a_value_is_an_error(self, engine: str) -> None:
        layer = ODELayer({"states": ["x"], "equations": {"x": "log(x - 2)"}}, engine=engine)
        with pytest.raises(SolveError, match=r"log\(x - 2\) has no finite value for x = 1") as caught:
            layer(tensor(0.0, 1.0), tensor(1.0), torch.zeros(0))
        assert caught.value.code == "not_finite"

    def test_a_failing_member_leaves_the_others_of_a_batch_untouched(self, engine: str) -> None:
        layer = ODELayer(BLOW_UP, engine=engine, max_steps=5000)
        states = tensor([0.1], [1.0], [0.2]).requires_grad_()
        solution = layer.solve(tensor(0.0, 2.0), states, tensor(1.0))
        assert list(solution.failures) == [1]
        assert solution.states[1].isnan().all()
        np.testing.assert_allclose(solution.states[[0, 2], 1, 0].detach().numpy(), [1 / 8, 1 / 3], rtol=1e-5)
        (gradient,) = torch.autograd.grad(solution.states[[0, 2]].sum(), states, retain_graph=True)
        np.testing.assert_allclose(gradient[[0, 2], 0].numpy(), [1 + 1 / 0.64, 1 + 1 / 0.36], rtol=1e-4)

    def test_a_failing_member_leaves_gradients_of_shared_inputs_untouched(self, engine: str) -> None:
        layer = ODELayer(BLOW_UP, engine=engine, max_steps=5000)
        k = tensor(1.0).requires_grad_()
        solution = layer.solve(tensor(0.0, 2.0), tensor([0.1], [5.0], [0.2]), k)
        solved = [member for member in range(3) if member not in solution.failures]
        (gradient,) = torch.autograd.grad(solution.states[solved].sum(), k)
        # x = 1/(1/x0 - k*t), so that dx/dk = t*x**2
        assert gradient.item() == pytest.approx(2 * (1 / 8) ** 2 + 2 * (1 / 3) ** 2, rel=1e-4)

    def test_floor_is_a_real_number(self, engine: str) -> None:
        layer = ODELayer({"states": ["x"], "parameters": ["a"], "equations": {"x": "floor(a)**2"}}, engine=engine)
        assert layer(tensor(0.0, 1.0), tensor(0.0), tensor(1e10))[1].item() == pytest.approx(1e20)
        layer = ODELayer({"states": ["x"], "parameters": ["a"], "equations": {"x": "floor(sqrt(a))"}}, engine=engine)
        with pytest.raises(SolveError):
            layer(tensor(0.0, 1.0), tensor(0.0), tensor(-1.0))

    def test_a_stop_is_noticed_in_the_solve(self, engine: str) -> None:
        layer = ODELayer("lorenz", engine=engine)
        layer.stop = lambda: "cancelled"
        with pytest.raises(StopRequested):
            layer(tensor(0.0, 3.0), tensor(1.0, 0.0, 0.0), tensor(10.0, 28.0, 8 / 3))


def test_gradients_by_backpropagation_leak_no_memory() -> None:
    layer = ODELayer("lotka-volterra", engine="torchdiffeq")
    process = psutil.Process()

    def gradient() -> None:
        start = tensor(1.0, 1.0).requires_grad_()
        layer(tensor(0.0, 5.0), start, tensor(1.5, 1.0, 1.0, 3.0)).sum().backward()

    for _ in range(3):
        gradient()
    before = process.memory_info().rss
    for _ in range(12):  # a graph that is never freed has some MB
        gradient()
    assert process.memory_info().rss - before < 12 * 2**20


def test_a_stop_is_noticed_in_backpropagation() -> None:
    layer = ODELayer("lorenz", engine="torchdiffeq")
    reasons: list[StopReason] = []
    layer.stop = lambda: reasons[0] if reasons else None
    loss = layer(tensor(0.0, 1.0), tensor(1.0, 0.0, 0.0).requires_grad_(), tensor(10.0, 28.0, 8 / 3)).sum()
    reasons.append("cancelled")
    with pytest.raises(StopRequested):
        loss.backward()


class TestMisuse:
    def test_unknown_engine_method_and_system_are_named(self) -> None:
        with pytest.raises(ValueError, match="engine='abacus' does not exist"):
            ODELayer(DECAY, engine="abacus")
        with pytest.raises(ValueError, match=r"no engine supports method='magic'.*'compiled' has 'dopri5'"):
            ODELayer(DECAY, method="magic")
        with pytest.raises(ProblemError, match="the catalogue has no system 'nobody'"):
            ODELayer("nobody")

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ((tensor(0.0, 1.0), tensor(1.0, 2.0), tensor(1.0)), r"initial_state has shape \(2,\)"),
            ((tensor(0.0, 1.0), tensor(1.0), tensor(1.0, 1.0)), r"parameters has shape \(2,\)"),
            ((tensor(1.0, 0.0), tensor(1.0), tensor(1.0)), "must not decrease"),
            ((tensor(0.0, math.nan), tensor(1.0), tensor(1.0)), "must be finite"),
            ((tensor(), tensor(1.0), tensor(1.0)), "T ≥ 1"),
            ((tensor(0.0, 1.0), tensor([1.0], [1.0]), tensor([1.0], [1.0], [1.0])), "different batch sizes"),
            ((tensor(0.0, 1.0), tensor(1.0), None), "parameters is missing"),
        ],
    )
    def test_wrong_inputs_are_rejected_with_a_clear_message(
        self, arguments: tuple[torch.Tensor, ...], sentence: str
    ) -> None:
        with pytest.raises(ValueError, match=sentence):
            ODELayer(DECAY)(*arguments)

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_cuda_without_a_gpu_never_becomes_cpu(self) -> None:
        with pytest.raises(FitError, match="no GPU that torch can use"):
            ODELayer(DECAY, device="cuda")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_trainable_layer_holds_its_values_and_learns_them(engine: str) -> None:
    times = torch.linspace(0, 2, 9, dtype=torch.float64)
    observed = 2 * torch.exp(-0.7 * times)
    layer = ODELayer(
        DECAY, engine=engine, parameters={"k": 0.3}, initial_state={"x": 1.5}, trainable=True, rtol=1e-8, atol=1e-10
    )
    assert {name for name, _ in layer.named_parameters()} == {"parameter_vector", "initial_state_vector"}
    optimiser = torch.optim.LBFGS(layer.parameters(), max_iter=60, line_search_fn="strong_wolfe", tolerance_grad=1e-10)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = (layer(times)[:, 0] - observed).square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    assert layer.parameter_vector is not None
    assert layer.initial_state_vector is not None
    assert layer.parameter_vector.item() == pytest.approx(0.7, rel=1e-4)
    assert layer.initial_state_vector.item() == pytest.approx(2.0, rel=1e-4)


def test_a_layer_that_is_not_trainable_keeps_its_values_with_its_state() -> None:
    layer = ODELayer(DECAY, parameters={"k": 0.3}, initial_state={"x": 1.5})
    assert list(layer.parameters()) == []
    assert set(layer.state_dict()) == {"parameter_vector", "initial_state_vector"}
    assert layer(tensor(0.0, 1.0))[1].item() == pytest.approx(1.5 * math.exp(-0.3), rel=1e-6)
    with pytest.raises(ValueError, match="parameters lacks b"):
        ODELayer(TWO, parameters={"a": 1.0})
    with pytest.raises(ValueError, match="constants has unknown names: c"):
        ODELayer(TWO, constants={"c": 1.0})


def test_observables_of_single_trajectories_and_batches() -> None:
    layer = ODELayer(DECAY | {"observables": {"double": "2*x + t", "k_again": "k"}})
    times = tensor(0.0, 1.0)
    parameters = tensor([1.0], [2.0])
    states = layer(times, tensor(1.0), parameters)
    batch = layer.observe(times, states, parameters)
    assert batch["double"].shape == batch["k_again"].shape == (2, 2)
    assert batch["k_again"].tolist() == [[1, 1], [2, 2]]
    single = layer.observe(times, states[1], parameters[1])
    assert single["double"].tolist() == batch["double"][1].tolist()
    assert single["double"][1].item() == pytest.approx(2 * math.exp(-2) + 1, rel=1e-6)


SHIFTED = {
    "states": ["x", "y"],
    "parameters": ["a"],
    "constants": {"c": 1.0, "d": 0.5},
    "equations": {"x": "-a*x + c", "y": "d*x - y + t"},
    "observables": {"weighted": "c*x + d*y + a*t"},
}


@pytest.mark.parametrize("engine", ENGINES)
class TestOwnTimesAndConstants:
    """Times and constants that differ between the members of a batch."""

    times = tensor([0.0, 0.5, 2.0, 2.0], [1.0, 1.5, 1.5, 4.0], [0.0, 0.1, 0.1, 0.1])
    states, parameters = tensor([1.0, 0.0], [2.0, 1.0], [0.0, 3.0]), tensor([0.5], [1.0], [0.2])
    constants = tensor([1.0, 0.5], [2.0, 0.0], [-1.0, 3.0])

    def layer(self, engine: str) -> ODELayer:
        return ODELayer(SHIFTED, engine=engine, rtol=1e-9, atol=1e-11)

    def test_states_gradients_and_observables_are_those_of_single_solves(self, engine: str) -> None:
        layer = self.layer(engine)

        def gradients(own: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            times, state, parameter, constants = own
            state, parameter = state.clone().requires_grad_(), parameter.clone().requires_grad_()
            states = layer(times, state, parameter, constants)
            observed = layer.observe(times, states, parameter, constants)["weighted"]
            return states.detach(), observed.detach(), *torch.autograd.grad(observed.sum(), (state, parameter))

        members = (self.times, self.states, self.parameters, self.constants)
        batch = gradients(members)
        assert (batch[0].shape, batch[1].shape) == ((3, 4, 2), (3, 4))
        for member in range(3):
            alone = gradients(tuple(value[member] for value in members))
            for together, single in zip(batch, alone, strict=True):
                np.testing.assert_allclose(together[member].numpy(), single.numpy(), rtol=1e-9, atol=1e-12)

    def test_replicates_and_padded_rows_repeat_the_state_at_their_time(self, engine: str) -> None:
        states = self.layer(engine)(self.times, self.states, self.parameters).tolist()
        assert states[0][2] == states[0][3]
        assert states[1][1] == states[1][2]
        assert states[2][1] == states[2][2] == states[2][3]
        assert states[2][0] == [0.0, 3.0]

    @pytest.mark.parametrize("own", ["times", "constants"])
    def test_times_or_constants_alone_make_a_batch(self, engine: str, own: str) -> None:
        layer = self.layer(engine)
        times = self.times if own == "times" else self.times[0]
        constants = self.constants if own == "constants" else None
        batch = layer(times, self.states[0], self.parameters[0], constants)
        alone = layer(
            times[1] if own == "times" else times,
            self.states[0],
            self.parameters[0],
            None if constants is None else constants[1],
        )
        assert batch.shape == (3, 4, 2)
        np.testing.assert_allclose(batch[1].numpy(), alone.numpy(), rtol=1e-7)

    def test_constants_of_a_call_replace_the_layers(self, engine: str) -> None:
        other = ODELayer(SHIFTED, engine=engine, constants={"c": 2.0, "d": 0.0}, rtol=1e-9, atol=1e-11)
        arguments = self.times[1], self.states[1], self.parameters[1]
        given = self.layer(engine)(*arguments, self.constants[1])
        assert given.tolist() == other(*arguments).tolist()
        observed = self.layer(engine).observe(self.times[1], given, self.parameters[1], self.constants[1])
        assert (
            observed["weighted"].tolist()
            == other.observe(self.times[1], given, self.parameters[1])["weighted"].tolist()
        )

    def test_an_empty_batch_has_empty_results(self, engine: str) -> None:
        layer = self.layer(engine)
        parameters = torch.zeros(0, 1, dtype=torch.float64, requires_grad=True)
        states = layer(self.times[0], torch.zeros(0, 2), parameters)
        assert states.shape == (0, 4, 2)
        (gradient,) = torch.autograd.grad(states.sum(), parameters)
        assert gradient.shape == (0, 1)
        assert layer.observe(self.times[0], states, parameters)["weighted"].shape == (0, 4)
        found = layer.sensitivities(self.times[0], torch.zeros(0, 2), torch.zeros(0, 1))
        assert (found.states.shape, found.by_initial_state.shape, found.by_parameters.shape) == (
            (0, 4, 2),
            (0, 4, 2, 2),
            (0, 4, 2, 1),
        )

    def test_a_member_that_fails_leaves_the_others_untouched(self, engine: str) -> None:
        layer = ODELayer(BLOW_UP, engine=engine, max_steps=5000)
        states, times = tensor([0.1], [1.0], [0.2]), tensor([0.0, 2.0], [0.0, 3.0], [0.0, 1.0])
        solution = layer.solve(times, states, tensor(1.0))
        assert list(solution.failures) == [1]
        assert solution.failures[1].time == pytest.approx(1.0, abs=0.01)
        assert solution.states[1].isnan().all()
        np.testing.assert_allclose(solution.states[[0, 2], 1, 0].numpy(), [1 / 8, 1 / 4], rtol=1e-5)
        found = layer.sensitivities(times, states, tensor(1.0))
        assert list(found.failures) == [1]
        assert found.failures[1].code == solution.failures[1].code
        np.testing.assert_allclose(found.by_initial_state[[0, 2], 1, 0, 0], [1 / 0.64, 1 / 0.64], rtol=1e-4)

    def test_sensitivities_of_a_batch_are_those_of_its_members(self, engine: str) -> None:
        layer = self.layer(engine)
        batch = layer.sensitivities(self.times, self.states, self.parameters, self.constants)
        assert batch.failures == {}
        for i in range(3):
            alone = layer.sensitivities(self.times[i], self.states[i], self.parameters[i], self.constants[i])
            for name in ("states", "by_initial_state", "by_parameters"):
                np.testing.assert_array_equal(getattr(batch, name)[i], getattr(alone, name))

    def test_batches_of_different_sizes_are_rejected_with_a_clear_message(self, engine: str) -> None:
        layer = self.layer(engine)
        with pytest.raises(ValueError, match="times 3, constants 2"):
            layer(self.times, self.states[0], self.parameters[0], self.constants[:2])
        with pytest.raises(ValueError, match=r"constants has shape \(1,\); expected \(2,\) or \(B, 2\)"):
            layer(self.times, self.states[0], self.parameters[0], tensor(1.0))
        with pytest.raises(ValueError, match="must not decrease"):
            layer(self.times.flip(0, 1), self.states[0], self.parameters[0])


def test_methods_of_sensitivities_are_among_the_methods_used() -> None:
    layer = ODELayer(SHIFTED, engine="compiled", method="tsit5")
    assert layer.engine.methods_used == ()
    layer.sensitivities(tensor(0.0, 1.0), tensor(1.0, 0.0), tensor(0.5))
    assert layer.engine.methods_used == ("tsit5",)


def test_a_single_trajectory_without_a_solution_has_no_sensitivities() -> None:
    with pytest.raises(SolveError):
        ODELayer(BLOW_UP, max_steps=5000).sensitivities(tensor(0.0, 2.0), tensor(1.0), tensor(1.0))
