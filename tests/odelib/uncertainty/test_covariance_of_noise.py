"""Standard errors and intervals with every noise, with priors and for experiments, against closed forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from odelib import fit
from odelib.problem.request import parse_problem
from odelib.result import Estimate, FitResult
from tests.odelib.optimisers.lines import held, lines

TIMES = np.arange(12.0)
SCATTER = np.sin(7 * np.arange(12) + 1)
Z = 10 + 3 * TIMES + 0.5 * SCATTER
W = 5 + 0.4 * TIMES + 0.1 * np.cos(5 * np.arange(12))
DESIGN = np.column_stack([np.ones(12), TIMES])
INVERSE = np.linalg.inv(DESIGN.T @ DESIGN)
NORMAL = stats.norm.ppf(0.975)
CLOSE = 1e-4


def result_of(**changes: Any) -> FitResult:
    request = {
        "uncertainty": "covariance",
        "parameters": {"a": 2.8} | held(b=0.0),
        "initial_state": {"z": 9.5} | held(w=0.0),
    }
    if "experiments" not in changes:
        request["data"] = {"times": TIMES.tolist(), "values": {"z": Z.tolist()}}
    return fit(parse_problem(lines(**(request | changes))))


def expect(entry: Estimate, error: float, quantile: float, *, log: bool = False) -> None:
    assert entry.standard_error == pytest.approx(error, rel=CLOSE)
    reach = quantile * error
    low, high = (math.exp(-reach / entry.value), math.exp(reach / entry.value)) if log else (0.0, 0.0)
    assert entry.lower_95 == pytest.approx(entry.value * low if log else entry.value - reach, rel=CLOSE)
    assert entry.upper_95 == pytest.approx(entry.value * high if log else entry.value + reach, rel=CLOSE)


def squares(observed: np.ndarray) -> float:
    return float(np.linalg.lstsq(DESIGN, observed, rcond=None)[1][0])


class TestOneObservable:
    @pytest.mark.parametrize(
        ("noise", "information"),
        [
            ({"distribution": "normal"}, 1.0),
            ({"distribution": "laplace"}, 1.0),
            ({"distribution": "student-t"}, 5 / 7),
            ({"distribution": "student-t", "degrees_of_freedom": 9.0}, 10 / 12),
        ],
    )
    def test_a_given_scale_is_absolute_and_the_quantile_is_normal(
        self, noise: dict[str, Any], information: float
    ) -> None:
        result = result_of(noise={"z": noise | {"sigma": 0.4}})
        for entry, variance in zip((result.initial_state["z"], result.parameters["a"]), np.diag(INVERSE), strict=True):
            expect(entry, math.sqrt(variance / information) * 0.4, NORMAL)
        assert result.noise is not None
        assert result.noise["z"].sigma == Estimate(value=0.4, fixed=True)

    def test_an_estimated_sigma_gives_the_errors_of_regression_and_students_quantile(self) -> None:
        result = result_of(noise={"z": {"distribution": "normal", "sigma": "estimate"}})
        assert result.noise is not None
        sigma = result.noise["z"].sigma
        assert sigma is not None
        assert sigma.value == pytest.approx(math.sqrt(squares(Z) / 12), rel=1e-6)  # the maximum-likelihood estimate
        quantile, spread = stats.t.ppf(0.975, 10), math.sqrt(squares(Z) / 10)
        for entry, variance in zip((result.initial_state["z"], result.parameters["a"]), np.diag(INVERSE), strict=True):
            expect(entry, math.sqrt(variance) * spread, quantile)
        # it is too small by √(10/12), so the interval is around the estimate of regression
        widened = sigma.model_copy(update={"value": spread})
        expect(widened, spread / math.sqrt(2 * 10), quantile, log=True)

    def test_without_noise_the_errors_are_the_same_as_with_an_estimated_sigma(self) -> None:
        with_noise = result_of(noise={"z": {"distribution": "normal", "sigma": "estimate"}})
        for name in ("standard_error", "lower_95", "upper_95"):
            expected = getattr(with_noise.parameters["a"], name)
            assert getattr(result_of().parameters["a"], name) == pytest.approx(expected, rel=CLOSE)

    def test_lognormal_noise_is_a_regression_of_logarithms(self) -> None:
        times = np.linspace(0, 3, 12)
        values = 8 * np.exp(-0.6 * times + 0.1 * SCATTER)
        request = {
            "system": {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}},
            "data": {"times": times.tolist(), "values": {"x": values.tolist()}},
            "noise": {"x": {"distribution": "lognormal", "sigma": "estimate"}},
            "parameters": {"k": {"guess": 0.5, "scale": "log"}},
            "initial_state": {"x": {"guess": 7.0, "scale": "log"}},
            "stages": [{"kind": "lbfgsb"}],
            "solver": {"rtol": 1e-10, "atol": 1e-12},
            "uncertainty": "covariance",
        }
        result = fit(parse_problem(request))
        design = np.column_stack([np.ones(12), -times])
        found, (rss,), *_ = np.linalg.lstsq(design, np.log(values), rcond=None)
        errors = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * rss / 10)
        start, k = result.initial_state["x"], result.parameters["k"]
        assert (math.log(start.value), k.value) == pytest.approx(found, rel=1e-3)
        expect(start, start.value * errors[0], stats.t.ppf(0.975, 10), log=True)
        expect(k, errors[1], stats.t.ppf(0.975, 10), log=True)

    def test_poisson_noise_has_the_variance_of_its_counts(self) -> None:
        counts = np.round(Z)
        result = result_of(
            data={"times": TIMES.tolist(), "values": {"z": counts.tolist()}}, noise={"z": {"distribution": "poisson"}}
        )
        start, a = result.initial_state["z"], result.parameters["a"]
        information = DESIGN.T @ (DESIGN / (start.value + a.value * TIMES)[:, None])
        for entry, variance in zip((start, a), np.diag(np.linalg.inv(information)), strict=True):
            expect(entry, math.sqrt(variance), NORMAL)

    def test_the_spread_of_proportional_noise_is_information_about_the_model_too(self) -> None:
        result = result_of(noise={"z": {"distribution": "normal", "sigma": 0.3, "proportional": 0.1}})
        start, a = result.initial_state["z"], result.parameters["a"]
        model = start.value + a.value * TIMES
        variance = 0.3**2 + (0.1 * model) ** 2
        weights = 1 / variance + (2 * 0.1**2 * model) ** 2 / (2 * variance**2)
        information = DESIGN.T @ (DESIGN * weights[:, None])
        for entry, square in zip((start, a), np.diag(np.linalg.inv(information)), strict=True):
            expect(entry, math.sqrt(square), NORMAL)


class TestPriors:
    def test_a_normal_prior_gives_the_conjugate_posterior(self) -> None:
        prior = {"distribution": "normal", "mean": 2.5, "standard_deviation": 0.05}
        result = result_of(
            noise={"z": {"distribution": "normal", "sigma": 0.4}},
            parameters={"a": {"guess": 2.8, "prior": prior}} | held(b=0.0),
        )
        precision = DESIGN.T @ DESIGN / 0.4**2 + np.diag([0.0, 0.05**-2])
        posterior = np.linalg.inv(precision)
        mean = posterior @ (DESIGN.T @ Z / 0.4**2 + np.array([0.0, 2.5 / 0.05**2]))
        assert result.covariance is not None
        assert result.covariance.names == ["a", "z"]
        np.testing.assert_allclose(np.array(result.covariance.matrix)[::-1, ::-1], posterior, rtol=1e-4)
        found = [result.initial_state["z"].value, result.parameters["a"].value]
        np.testing.assert_allclose(found, mean, rtol=1e-3)
        expect(result.parameters["a"], math.sqrt(posterior[1, 1]), NORMAL)

    def test_an_unknown_that_only_its_prior_determines_has_the_error_of_the_prior_and_is_not_flat(self) -> None:
        prior = {"distribution": "lognormal", "median": 2.0, "sigma": 0.3}
        result = result_of(
            noise={"z": {"distribution": "normal", "sigma": 0.4}},
            parameters={"a": 2.8, "b": {"guess": 1.0, "scale": "log", "prior": prior}},
            initial_state={"z": 9.5} | held(w=0.0),
        )
        b = result.parameters["b"]
        assert b.value == pytest.approx(2.0 * math.exp(-(0.3**2)), rel=1e-2)  # the mode of the density
        expect(b, 0.3 * b.value, NORMAL, log=True)
        assert result.warnings == []

    def test_a_quadratic_penalty_adds_information(self) -> None:
        result = result_of(
            data={"times": TIMES.tolist(), "values": {"z": Z.tolist()}, "sigma": {"z": 0.4}}, penalty={"l2": 50.0}
        )
        inverse = np.linalg.inv(DESIGN.T @ DESIGN / 0.4**2 + np.diag([0.0, 50.0]))
        expect(result.parameters["a"], math.sqrt(inverse[1, 1]), NORMAL)


class TestSeveralObservables:
    DATA = {"times": TIMES.tolist(), "values": {"z": Z.tolist(), "w": W.tolist()}}
    FREE = {"parameters": {"a": 2.8, "b": 0.3}, "initial_state": {"z": 9.5, "w": 5.5}}

    def test_without_noise_the_scale_is_pooled(self) -> None:
        result = result_of(data=self.DATA, **self.FREE)
        spread = math.sqrt((squares(Z) + squares(W)) / 20)
        for name in ("a", "b"):
            expect(result.parameters[name], spread * math.sqrt(INVERSE[1, 1]), stats.t.ppf(0.975, 20))

    def test_with_noise_each_observable_has_its_own_scale(self) -> None:
        normal = {"distribution": "normal", "sigma": "estimate"}
        result = result_of(data=self.DATA, noise={"z": normal, "w": normal}, **self.FREE)
        for name, observed in (("a", Z), ("b", W)):
            spread = math.sqrt(squares(observed) / 10)
            expect(result.parameters[name], spread * math.sqrt(INVERSE[1, 1]), stats.t.ppf(0.975, 20))

    def test_a_few_values_of_unknown_scale_beside_many_of_known_scale_leave_degrees_of_freedom(self) -> None:
        w = [5.0, 5.5, None, 6.0, *[None] * 8]
        result = result_of(
            data={"times": TIMES.tolist(), "values": {"z": Z.tolist(), "w": w}},
            noise={"z": {"distribution": "normal", "sigma": 0.4}, "w": {"distribution": "normal", "sigma": "estimate"}},
            **self.FREE,
        )
        a, b = result.parameters["a"], result.parameters["b"]
        assert a.standard_error == pytest.approx(0.4 * math.sqrt(INVERSE[1, 1]), rel=CLOSE)
        design = DESIGN[[0, 1, 3]]
        inverse = np.linalg.inv(design.T @ design)
        rss = float(np.linalg.lstsq(design, np.array([5.0, 5.5, 6.0]), rcond=None)[1][0])
        expect(b, math.sqrt(inverse[1, 1] * rss), stats.t.ppf(0.975, 1))
        assert [warning.code for warning in result.warnings] == []


class TestExperiments:
    NAMES = ("one", "two", "three")

    def several(self, **changes: Any) -> FitResult:
        experiments = [
            {
                "name": name,
                "times": TIMES.tolist(),
                "values": {"z": (Z + i * TIMES + i).tolist()},
                "constants": {"c": 1.0 + i},
            }
            for i, name in enumerate(self.NAMES)
        ]
        return result_of(**({"experiments": experiments, "per_experiment": ["a"]} | changes))

    def test_per_experiment_unknowns_have_the_errors_of_separate_regressions(self) -> None:
        result = self.several(noise={"z": {"distribution": "normal", "sigma": 0.4}})
        assert "a" not in result.parameters
        assert result.derived is None
        for i, trajectory in enumerate(result.trajectories):
            assert trajectory.parameters is not None
            assert trajectory.derived is not None
            error = 0.4 * math.sqrt(INVERSE[1, 1])
            expect(trajectory.parameters["a"], error / (1 + i), NORMAL)  # the slope of the line is a·c
            expect(trajectory.derived["double"], 2 * error / (1 + i), NORMAL)
            expect(trajectory.derived["dose"], error, NORMAL)
            expect(trajectory.initial_state["z"], 0.4 * math.sqrt(INVERSE[0, 0]), NORMAL)

    def test_their_covariance_has_a_block_for_each_experiment(self) -> None:
        result = self.several()
        assert result.covariance is not None
        names, matrix = result.covariance.names, np.array(result.covariance.matrix)
        assert set(names) == {f"{unknown}[{name}]" for unknown in ("a", "z") for name in self.NAMES}
        for i, one in enumerate(names):
            for j, other in enumerate(names):
                same = one.partition("[")[2] == other.partition("[")[2]
                assert (abs(matrix[i, j]) > 1e-6 * math.sqrt(matrix[i, i] * matrix[j, j])) == same

    def test_a_shared_parameter_has_the_information_of_all_experiments(self) -> None:
        result = self.several(per_experiment=[], noise={"z": {"distribution": "normal", "sigma": 0.4}})
        centred = TIMES - TIMES.mean()
        assert result.parameters["a"].standard_error == pytest.approx(
            0.4 / math.sqrt((1 + 4 + 9) * float(centred @ centred)), rel=CLOSE
        )

    def test_bands_of_a_prediction_and_of_held_out_data(self) -> None:
        result = self.several(
            noise={"z": {"distribution": "normal", "sigma": 0.4}},
            predictions=[{"name": "p", "times": [20.0], "experiment": "two"}],
            hold_out={"after": 8.0},
        )
        design = DESIGN[:9]
        at = np.array([1.0, 20.0])
        reach = NORMAL * 0.4 * math.sqrt(at @ np.linalg.inv(design.T @ design) @ at)
        assert result.predictions is not None
        (p,) = result.predictions
        assert p.values is not None
        assert p.upper_95 is not None
        assert p.upper_95["z"][0] - p.values["z"][0] == pytest.approx(reach, rel=CLOSE)
        assert result.hold_out is not None
        for held_out in result.hold_out:
            at = np.array([1.0, 11.0])
            reach = NORMAL * 0.4 * math.sqrt(at @ np.linalg.inv(design.T @ design) @ at)
            assert held_out.values is not None
            assert held_out.lower_95 is not None
            assert held_out.values["z"][-1] - held_out.lower_95["z"][-1] == pytest.approx(reach, rel=CLOSE)
