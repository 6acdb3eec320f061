"""The compiled engine by itself: `differentiate_by`, batches, threads, and that a solve does not block Python."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest
import torch

from odelib import ODELayer
from odelib.engines.base import DifferentiateBy
from odelib.engines.compiled import kernels
from odelib.errors import StopReason, StopRequested
from tests.engines import COMPILED_METHODS
from tests.systems import SYSTEMS

TWO = {"states": ["x", "y"], "parameters": ["a", "b", "c"], "equations": {"x": "-a*x", "y": "a*x - b*y + c"}}
OSCILLATOR = {"states": ["x", "v"], "parameters": ["w"], "equations": {"x": "v", "v": "-w**2*x"}}
WIDE = 30.0  # seconds that a busy machine may take for what takes a fraction of one


def tensor(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def layer_of(definition: Any, **options: Any) -> ODELayer:
    return ODELayer(definition, engine="compiled", **options)


class TestDifferentiateBy:
    times, initial, parameters = tensor([0.0, 0.7, 2.0]), tensor([1.0, 0.5]), tensor([0.9, 0.4, 0.2])

    def test_only_these_unknowns_are_computed_and_they_are_the_same(self) -> None:
        layer = layer_of(TWO, rtol=1e-10, atol=1e-12)
        everything = layer.sensitivities(self.times, self.initial, self.parameters)
        layer.differentiate_by = DifferentiateBy(states=(1,), parameters=(2, 0))
        part = layer.sensitivities(self.times, self.initial, self.parameters)
        assert (part.by_initial_state.shape, part.by_parameters.shape) == ((3, 2, 1), (3, 2, 2))
        np.testing.assert_allclose(part.by_initial_state, everything.by_initial_state[:, :, [1]], rtol=1e-7, atol=1e-10)
        np.testing.assert_allclose(part.by_parameters, everything.by_parameters[:, :, [2, 0]], rtol=1e-7, atol=1e-10)

    def test_gradients_by_other_unknowns_are_zero(self) -> None:
        layer = layer_of(TWO, rtol=1e-10, atol=1e-12)
        layer.differentiate_by = DifferentiateBy(states=(0,), parameters=(1,))
        initial, parameters = self.initial.clone().requires_grad_(), self.parameters.clone().requires_grad_()
        by_state, by_parameter = torch.autograd.grad(
            layer(self.times, initial, parameters).sum(), (initial, parameters)
        )
        layer.differentiate_by = DifferentiateBy((0, 1), (0, 1, 2))
        whole = torch.autograd.grad(layer(self.times, initial, parameters).sum(), (initial, parameters))
        np.testing.assert_allclose(by_state, whole[0] * tensor([1, 0]), rtol=1e-7)
        np.testing.assert_allclose(by_parameter, whole[1] * tensor([0, 1, 0]), rtol=1e-7)

    def test_unknowns_that_need_no_gradient_are_left_out(self) -> None:
        layer = layer_of(TWO)
        states = layer(self.times, self.initial, self.parameters)
        assert not states.requires_grad
        alone = self.parameters.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(layer(self.times, self.initial, alone).sum(), alone)
        assert gradient.shape == (3,)

    def test_it_may_be_empty(self) -> None:
        layer = layer_of(TWO)
        layer.differentiate_by = DifferentiateBy()
        found = layer.sensitivities(self.times, self.initial, self.parameters)
        assert (found.by_initial_state.shape, found.by_parameters.shape) == ((3, 2, 0), (3, 2, 0))


def test_second_derivatives_are_rejected_rather_than_zero() -> None:
    layer, parameters = layer_of(TWO), tensor([0.9, 0.4, 0.2]).requires_grad_()
    loss = layer(tensor([0.0, 1.0]), tensor([1.0, 0.5]), parameters).square().sum()
    (gradient,) = torch.autograd.grad(loss, parameters, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


class TestBatches:
    @pytest.mark.parametrize("name", ["toggle switch", "Duffing, driven", "Brusselator"])
    def test_states_and_gradients_of_a_batch_are_those_of_its_members(self, name: str) -> None:
        example = SYSTEMS[name]
        layer = layer_of(example.definition, rtol=1e-8, atol=1e-10)
        random = np.random.default_rng(3)
        states = tensor(example.state_values) + tensor(random.uniform(0, 0.5, (5, len(example.state_values))))
        parameters = tensor(example.parameter_values) * tensor(random.uniform(0.8, 1.2, (5, len(example.parameters))))
        times = torch.linspace(0, example.end, 4, dtype=torch.float64)
        weights = tensor(random.uniform(0.5, 1.5, (4, len(example.state_values))))

        def solve(initial: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, ...]:
            initial, values = initial.clone().requires_grad_(), values.clone().requires_grad_()
            solved = layer(times, initial, values)
            return solved.detach(), *torch.autograd.grad((weights * solved).sum(), (initial, values))

        batch = solve(states, parameters)
        for member in range(5):
            for together, alone in zip(batch, solve(states[member], parameters[member]), strict=True):
                assert together[member].tolist() == alone.tolist()  # each with the steps that it has alone

    def test_a_shared_initial_state_collects_the_gradients_of_all(self) -> None:
        layer = layer_of(TWO, rtol=1e-9, atol=1e-11)
        shared = tensor([1.0, 0.5]).requires_grad_()
        parameters = tensor([[0.9, 0.4, 0.2], [0.1, 0.2, 0.3]])
        (gradient,) = torch.autograd.grad(layer(tensor([0.0, 1.0]), shared, parameters).sum(), shared)
        single = [torch.autograd.grad(layer(tensor([0.0, 1.0]), shared, p).sum(), shared)[0] for p in parameters]
        np.testing.assert_allclose(gradient, single[0] + single[1], rtol=1e-9)

    def test_a_batch_that_takes_long_goes_on_on_threads_where_one_has_stopped(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        layer, times = layer_of(TWO, rtol=1e-9), torch.linspace(0, 300, 50, dtype=torch.float64)
        starts, parameters = tensor([[1.0, 0.5]]) * torch.arange(1, 6)[:, None], tensor([0.9, 0.4, 0.2])
        threads = torch.get_num_threads()
        found = []
        for count, worth in ((1, 0), (3, 0), (3, 2_000), (3, 10**9)):
            monkeypatch.setattr(kernels, "WORTH_THREADS", worth)
            try:
                torch.set_num_threads(count)
                wanted = parameters.clone().requires_grad_()
                states = layer(times, starts, wanted)
                found.append([states.detach(), *torch.autograd.grad(states.sum(), wanted)])
            finally:
                torch.set_num_threads(threads)
        for states, gradient in found[1:]:
            assert torch.equal(states, found[0][0])
            assert torch.equal(gradient, found[0][1])

    def test_a_large_batch_is_solved_in_blocks_on_several_threads(self) -> None:
        layer = layer_of(OSCILLATOR)
        rates = torch.linspace(0.5, 2.0, 3000, dtype=torch.float64)[:, None]
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(3)
            states = layer(torch.linspace(0, 1, 200, dtype=torch.float64), tensor([1.0, 0.0]), rates)
        finally:
            torch.set_num_threads(threads)
        np.testing.assert_allclose(states[:, -1, 0], torch.cos(rates[:, 0]), atol=1e-5)


@pytest.mark.parametrize("method", ["auto", "dop853", "kvaerno5"])
def test_equal_times_have_equal_rows_and_gradients(method: str) -> None:
    layer = layer_of(TWO, method=method)
    parameters = tensor([0.9, 0.4, 0.2]).requires_grad_()
    states = layer(tensor([0.0, 0.0, 1.0, 1.0, 1.0, 2.0, 2.0]), tensor([1.0, 0.5]), parameters)
    assert states[0].tolist() == states[1].tolist() == [1.0, 0.5]
    assert states[2].tolist() == states[3].tolist() == states[4].tolist()
    assert states[5].tolist() == states[6].tolist()
    gradients = [torch.autograd.grad(states[i, 1], parameters, retain_graph=True)[0].tolist() for i in (2, 3, 4)]
    assert gradients[0] == gradients[1] == gradients[2]


def test_many_outputs_within_one_step_are_on_the_curve() -> None:
    times = torch.linspace(0, 3, 5001, dtype=torch.float64)
    for method in COMPILED_METHODS:
        layer = layer_of(OSCILLATOR, method=method, rtol=1e-9, atol=1e-9)
        states = layer(times, tensor([1.0, 0.0]), tensor([2.0]))
        np.testing.assert_allclose(states[:, 0], torch.cos(2 * times), atol=1e-6)
        assert states[0].tolist() == [1.0, 0.0]


# ----------------------------------------------------------------------------------------------------- threads


def in_threads(work: list[Callable[[], Any]]) -> list[Any]:
    results: list[Any] = [None] * len(work)

    def run(index: int) -> None:
        results[index] = work[index]()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10 * WIDE)
    return results


def test_threads_may_share_a_layer() -> None:
    times = torch.linspace(0, 5, 40, dtype=torch.float64)
    shared, other = layer_of("lorenz"), layer_of("lotka-volterra")

    def gradient(layer: ODELayer, parameters: list[float], initial: list[float]) -> list[Any]:
        values = tensor(parameters).requires_grad_()
        states = layer(times, tensor(initial), values)
        return [states.tolist(), torch.autograd.grad(states.sum(), values)[0].tolist()]

    work: list[Callable[[], Any]] = [
        lambda: [gradient(shared, [10.0, 28.0, 8 / 3], [1.0, 0.0, 0.0]) for _ in range(20)],
        lambda: [gradient(shared, [10.0, 20.0, 2.0], [1.0, 2.0, 0.0]) for _ in range(20)],
        lambda: [gradient(other, [1.5, 1.0, 1.0, 3.0], [1.0, 1.0]) for _ in range(20)],
    ]
    alone = [task() for task in work]
    assert in_threads(work) == alone


def test_two_threads_may_compile_the_same_new_system() -> None:
    definition = {"states": ["x"], "parameters": ["k"], "equations": {"x": f"-k*x + {time.time_ns()}*0"}}

    def solve() -> float:
        return float(layer_of(definition)(tensor([0.0, 1.0]), tensor([1.0]), tensor([1.0]))[1])

    assert in_threads([solve] * 3) == [pytest.approx(np.exp(-1), rel=1e-6)] * 3


@contextmanager
def ticking() -> Iterator[list[float]]:
    """The times at which a thread beside this one could run, in hundredths of a second or more."""
    ticks: list[float] = []
    over = threading.Event()

    def tick() -> None:
        while not over.wait(0.01):
            ticks.append(time.monotonic())

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        yield ticks
    finally:
        over.set()
        thread.join(WIDE)


def test_a_long_solve_lets_other_threads_run_and_can_be_stopped() -> None:
    layer = layer_of(OSCILLATOR, max_steps=2_000_000_000)
    reasons: list[StopReason] = []
    layer.stop = lambda: reasons[0] if reasons else None
    layer(tensor([0.0, 0.1]), tensor([1.0, 0.0]), tensor([1.0]))  # compiled
    asked: list[float] = []

    def ask() -> None:
        asked.append(time.monotonic())
        reasons.append("cancelled")

    timer = threading.Timer(1.5, ask)
    with ticking() as ticks:
        timer.start()
        with pytest.raises(StopRequested):
            layer(tensor([0.0, 1e6]), tensor([1.0, 0.0]), tensor([1e4]))  # by itself it would take hours
        stopped = time.monotonic()
    assert stopped - asked[0] < WIDE / 10
    assert len([tick for tick in ticks if tick < asked[0]]) > 20  # 150 on a machine that is not busy


def large(size: int, rate: str) -> dict[str, Any]:
    """A ring of this many states, with diffusion between neighbours."""
    ring = {f"x{i}": f"{rate}*(x{i - 1} - 2*x{i} + x{(i + 1) % size}) - k*x{i}**3" for i in range(1, size)}
    return {
        "states": [f"x{i}" for i in range(size)],
        "parameters": ["k"],
        "equations": {"x0": f"{rate}*(x{size - 1} - 2*x0 + x1) - k*x0**3", **ring},
    }


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("members", [1, 20])
def test_a_large_stiff_system_checks_often_enough_for_a_stop(members: int, gradients: bool) -> None:
    size = 80
    layer = layer_of(large(size, "1e4"), method="kvaerno5", rtol=1e-8, atol=1e-10)
    layer.differentiate_by = DifferentiateBy(tuple(range(size)), (0,))
    initial = tensor(np.random.default_rng(1).uniform(0, 1, (members, size))).requires_grad_(gradients)
    layer(tensor([0.0, 1e-9]), initial[0], tensor([0.1]))  # compiled
    looks = [time.monotonic()]

    def stop() -> StopReason | None:
        looks.append(time.monotonic())
        return "cancelled" if looks[-1] - looks[0] > 2.0 else None

    layer.stop = stop
    with suppress(StopRequested):
        layer(tensor([0.0, 1e3]), initial, tensor([0.1]))
    second_longest = np.sort([0.0, 0.0, *np.diff(looks)])[-2]  # the machine itself may stand still once
    assert second_longest < 2.0
