"""The full Kuramoto model against closed forms, the sum over all pairs and the reference draws."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from odelib.errors import SolveError
from odelib.simulation.kuramoto_network import Oscillators, order_parameter

ARTICLE = Path(__file__).parents[3] / "data" / "article-problems.json"
TIMES = np.linspace(0.0, 5.0, 26)


def test_two_equal_oscillators_follow_the_closed_form() -> None:
    # Their difference d obeys d' = -K sin(d), so tan(d/2) decays as exp(-K t); z = exp(i omega0 t) cos(d/2).
    K, omega0, d0 = 0.7, 3.0, 2.5
    pair = Oscillators(detunings=np.zeros(2), phases=np.array([d0 / 2, -d0 / 2]))
    z = order_parameter(pair, TIMES, omega0=omega0, gamma=1.0, K=K, beta=0.0)
    d = 2 * np.arctan(np.tan(d0 / 2) * np.exp(-K * TIMES))
    np.testing.assert_allclose(z, np.exp(1j * omega0 * TIMES) * np.cos(d / 2), atol=1e-7)


def test_uncoupled_oscillators_turn_at_their_own_rates() -> None:
    network = Oscillators.draw(50, seed=1)
    z = order_parameter(network, TIMES, omega0=2.0, gamma=0.3, K=0.0, beta=0.4)
    phases = network.phases + np.outer(TIMES, 2.0 + 0.3 * network.detunings)
    np.testing.assert_allclose(z, np.exp(1j * phases).mean(axis=1), atol=1e-7)


def test_mean_field_form_is_the_sum_over_all_pairs() -> None:
    network = Oscillators.draw(12, seed=2)
    omega0, gamma, K, beta = 1.5, 0.4, 1.2, 0.3

    def velocity(_t: float, phases: np.ndarray) -> np.ndarray:
        pairs = np.sin(phases[None, :] - phases[:, None] + beta)
        return omega0 + gamma * network.detunings + K * pairs.mean(axis=1)

    pairwise = solve_ivp(velocity, (0.0, 5.0), network.phases, t_eval=TIMES, rtol=1e-10, atol=1e-12)
    z = order_parameter(network, TIMES, omega0=omega0, gamma=gamma, K=K, beta=beta)
    np.testing.assert_allclose(z, np.exp(1j * pairwise.y).mean(axis=0), atol=1e-7)


def test_reference_draws_give_the_published_losses() -> None:
    article = json.loads(ARTICLE.read_text())["problems"]["kuramoto"]
    network = Oscillators.draw(10_000, seed=123)
    full = article["full_model_parameters"]
    times = np.arange(401) * 0.05
    z = order_parameter(network, times, **full)

    def reduced_loss(values: dict[str, float]) -> float:
        rotation = values["K"] / 2 * math.sin(values["beta"])
        pull = values["K"] / 2 * math.cos(values["beta"])

        def equations(_t: float, y: np.ndarray) -> list[float]:
            psi_rate = values["omega0"] + rotation * (1 + y[1] ** 4)
            return [psi_rate, -values["gamma"] * y[1] + pull * y[1] * (1 - y[1] ** 4)]

        start = network.order_parameter
        solved = solve_ivp(equations, (0, 20), [np.angle(start), abs(start)], t_eval=times, rtol=1e-9, atol=1e-11)
        return float((abs(solved.y[1] * np.exp(1j * solved.y[0]) - z) ** 2).sum())

    expected = article["reference"]["squared_loss"]
    assert reduced_loss(article["guess"]["parameters"]) == pytest.approx(expected["guess"], abs=0.05)
    assert reduced_loss(full) == pytest.approx(expected["full_model_parameters"], abs=0.05)
    # The published optimum is rounded to four digits, and so its loss is a little above the optimum's.
    assert reduced_loss(article["reference"]["optimum"]) == pytest.approx(expected["optimum"], abs=2e-4)


def test_draws_repeat_and_depend_on_the_seed() -> None:
    first, again, other = (Oscillators.draw(5, seed=seed) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first.phases, again.phases)
    np.testing.assert_array_equal(first.detunings, again.detunings)
    assert not np.array_equal(first.phases, other.phases)
    assert Oscillators.draw(1000, seed=3, largest_phase=1.0).phases.max() <= 1.0


def test_equal_times_and_a_single_time_are_allowed() -> None:
    network = Oscillators.draw(4, seed=5)
    values = {"omega0": 1.0, "gamma": 0.1, "K": 0.5, "beta": 0.0}
    z = order_parameter(network, [1.0, 1.0, 2.0, 2.0], **values)
    assert z[0] == z[1] == network.order_parameter
    assert z[2] == z[3] != z[0]
    assert order_parameter(network, [3.0], **values).tolist() == [network.order_parameter]


@pytest.mark.parametrize("times", [[], [0.0, 2.0, 1.0]])
def test_bad_times_are_refused(times: list[float]) -> None:
    with pytest.raises(ValueError, match="times must not be empty"):
        order_parameter(Oscillators.draw(3, seed=0), times, omega0=1.0, gamma=0.1, K=0.5, beta=0.0)


def test_invalid_values_are_refused() -> None:
    with pytest.raises(ValueError, match="must be finite"):
        order_parameter(Oscillators.draw(3, seed=0), [0.0, 1.0], omega0=1.0, gamma=math.nan, K=0.5, beta=0.0)
    with pytest.raises(ValueError, match="at least one oscillator"):
        Oscillators.draw(0, seed=0)


def test_running_out_of_steps_reports_the_time() -> None:
    with pytest.raises(SolveError, match="used all its 3 steps by t =") as caught:
        order_parameter(Oscillators.draw(3, seed=0), [0.0, 1e4], omega0=0.0, gamma=5.0, K=3.0, beta=0.0, max_steps=3)
    assert caught.value.code == "max_steps"
