"""What a result says of how far to trust it: problems that earn a warning, and problems beside them that do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from odelib.fitting import fit
from odelib.likelihood.residual_tests import structured
from odelib.problem.request import parse_problem
from odelib.result import FitResult

TIMES = np.linspace(0, 4, 40)


def fitted(values: Any, **request: Any) -> FitResult:
    base = {
        "system": {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}},
        "data": {"times": TIMES.tolist(), "values": {"x": list(values)}},
        "parameters": {"k": 0.5},
        "initial_state": {"x": 1.0},
    }
    return fit(parse_problem(base | request))


def codes(result: FitResult) -> list[str]:
    return [warning.code for warning in result.warnings]


def noise(size: float, seed: int = 0) -> Any:
    return size * np.random.default_rng(seed).standard_normal(len(TIMES))


def test_clean_data_earn_no_warning_and_the_default_plan_ends_early() -> None:
    result = fitted(np.exp(-0.7 * TIMES) + noise(0.02))
    assert codes(result) == []
    assert [(stage.kind, stage.stopped.code) for stage in result.stages] == [
        ("multiple_shooting", "finished"),
        ("least_squares", "converged"),
        ("multi_start", "converged"),
        ("adam", "converged"),
        ("lbfgsb", "converged"),
    ]
    assert [stage.steps for stage in result.stages[2:]] == [0, 0, 0]


def test_residuals_that_swing_are_structured_and_bring_several_starts() -> None:
    result = fitted(np.exp(-0.7 * TIMES) + 0.1 * np.sin(5 * TIMES) + noise(0.02))
    assert "structured_residuals" in codes(result)
    assert [w.names for w in result.warnings if w.code == "structured_residuals"] == [["x"]]
    assert result.stages[2].steps == 5  # of ten: so many that reach the same loss settle the doubt


def test_a_model_that_cannot_follow_is_no_better_than_a_constant() -> None:
    system = {"states": ["x"], "parameters": ["k"], "equations": {"x": "k"}}
    start = {"x": {"guess": 5.0, "fixed": True}}
    bad = fitted(
        np.exp(-0.7 * TIMES), system=system, initial_state=start, parameters={"k": {"guess": 1.0, "lower": 0.5}}
    )
    assert "no_better_than_constant" in codes(bad)
    assert "no_better_than_constant" not in codes(fitted(np.exp(-0.7 * TIMES) + noise(0.02)))


def test_a_best_that_only_one_start_found_is_told() -> None:
    """sin(3a) + a²/50 has a deepest valley among many, and starts elsewhere stay where they are."""
    waves = {
        "system": {"states": ["x"], "parameters": ["a"], "equations": {"x": "0*a"}},
        "parameters": {"a": {"guess": 8.0, "lower": -40.0, "upper": 40.0}},
        "initial_state": {"x": "2 + sin(3*a) + a**2/50"},
    }
    few = fitted(np.ones(40), **waves, stages=[{"kind": "multi_start", "starts": 6}])
    assert few.stages[0].start_losses is not None
    lone = sum(loss < 1.01 * few.loss for loss in few.stages[0].start_losses) == 1
    assert ("best_found_once" in codes(few)) == lone
    narrow = waves | {"parameters": {"a": {"guess": -0.4, "lower": -0.9, "upper": 0.0}}}
    assert "best_found_once" not in codes(fitted(np.ones(40), **narrow, stages=[{"kind": "multi_start", "starts": 6}]))


class TestStructured:
    def test_noise_is_seldom_called_structured(self) -> None:
        rng = np.random.default_rng(1)
        false_alarms = sum(bool(structured([("x", rng.standard_normal(30).tolist())])) for _ in range(1000))
        assert false_alarms <= 5  # a thousandth is meant

    def test_outliers_hide_nothing(self) -> None:
        swing = np.sin(np.linspace(0, 20, 60)) + 0.1 * np.random.default_rng(2).standard_normal(60)
        swing[7] = 50.0
        assert structured([("a", np.random.default_rng(3).standard_normal(60).tolist()), ("b", swing.tolist())]) == [
            "b"
        ]

    def test_residuals_of_one_sign_are_structured(self) -> None:
        assert structured([("x", (0.5 + np.random.default_rng(4).uniform(0, 1, 40)).tolist())]) == ["x"]

    @pytest.mark.parametrize("column", [[], [1.0] * 5, [0.0] * 50, [None] * 50])
    def test_nothing_is_said_where_nothing_can_be_told(self, column: list[float | None]) -> None:
        assert structured([("x", column)]) == []
