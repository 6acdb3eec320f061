"""The picture of a batch, read from its artists."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from odelib import fit_batch
from odelib.batches.pictures import draw_batch
from odelib.result import BatchRow
from tests.odelib.plots.figures import line

REQUEST: dict[str, Any] = {
    "system": {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}, "derived": {"twice": "2*k"}},
    "parameters": {"k": {"guess": 1.0, "lower": 0.01, "scale": "log"}},
    "initial_state": {"x": {"guess": 2.0, "fixed": True}},
}
RATES = (0.1, 0.5, 8.0)


def drawn() -> tuple[dict[str, Any], list[str]]:
    """Panels by their label or title, and the rows' names with the worst fit first."""
    times = np.linspace(0.0, 2.0, 6)
    series: list[dict[str, Any]] = [
        {"name": f"w{i}", "times": times.tolist(), "values": {"x": (2 * np.exp(-rate * times)).tolist()}}
        for i, rate in enumerate(RATES)
    ]
    series[1]["values"]["x"][3:5] = [None, 1.4]  # far from the curve, and not measured
    series.append({"name": "bad", "times": [0.0], "values": {"x": []}})
    rows: dict[int, BatchRow] = dict(fit_batch(REQUEST, series))
    figure = draw_batch(REQUEST, series, [rows[i] for i in range(len(series))])
    axes = figure.get_axes()
    titles = [each.get_title() for each in axes if each.get_title()]
    panels = {each.get_xlabel() or each.get_title().partition(":")[0]: each for each in axes}
    texts = [text.get_text() for part in figure.subfigs for text in part.texts if text.get_text()]
    assert any("3 series (1 without a fit" in part.get_suptitle() for part in figure.subfigs), texts
    return panels, titles


def test_distributions_and_the_worst_fit_first() -> None:
    panels, titles = drawn()

    assert {"k", "twice", "w0", "w1", "w2"} == set(panels)
    assert titles[0].startswith("w1: ")
    assert panels["k"].get_xscale() == "log"
    assert sum(bar.get_height() for bar in panels["k"].patches) == len(RATES)
    assert line(panels["k"], "median")[0][0] == pytest.approx(np.median(RATES), rel=0.5)
    times, values = line(panels["w0"], "x")
    assert values == pytest.approx(2 * np.exp(-RATES[0] * np.array(times)), rel=1e-3)


def test_a_batch_without_any_fit_cannot_be_drawn() -> None:
    series = [{"name": "bad", "times": [0.0], "values": {"x": []}}]

    with pytest.raises(ValueError, match="no series of the batch was fitted"):
        draw_batch(REQUEST, series, [row for _, row in fit_batch(REQUEST, series)])
