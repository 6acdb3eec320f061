"""Panels over time: residuals, bands and error bars, read from their artists."""

from __future__ import annotations

import math

import numpy as np

from odelib.plots.figures import plot_result
from tests.odelib.plots.figures import TIMES, line, panel, prediction, request, result


def test_residuals_are_below_their_observable_around_a_line_at_zero() -> None:
    figure = plot_result(request(), result())
    below = [axes for axes in figure.get_axes() if axes.get_ylabel() == "residual"]
    assert len(below) == 2
    times, residuals = line(below[0], "data")
    assert times == TIMES
    np.testing.assert_array_equal(residuals, [-0.1, math.nan, 0.1])
    assert line(below[1], "data")[1] == [-0.1, 0.1, -0.1]
    assert any(list(drawn.get_ydata()) == [0.0, 0.0] for drawn in below[0].get_lines())
    assert below[0].get_position().y1 <= panel(figure, "prey").get_position().y0


def test_an_unmeasured_observable_has_no_residual_panel() -> None:
    found = result()
    found["trajectories"][0]["residuals"] = {"prey": [-0.1, None, 0.1], "predator": [None, None, None]}
    figure = plot_result(request(), found)
    assert [axes.get_ylabel() for axes in figure.get_axes()].count("residual") == 1


def test_predictions_have_bands() -> None:
    asked = request(predictions=[{"name": "later", "times": [1.0, 2.0]}])
    banded = {**prediction("later", [1.0, 2.0]), "lower_95": {"prey": [0.5, 1.0]}, "upper_95": {"prey": [1.5, 3.0]}}
    figure = plot_result(asked, result(banded))
    [band] = panel(figure, "prey").collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.tolist()}
    assert {(1.0, 0.5), (1.0, 1.5), (2.0, 1.0), (2.0, 3.0)} <= corners
    assert not panel(figure, "predator").collections


def test_sigmas_are_drawn_as_error_bars() -> None:
    asked = request()
    asked["data"]["sigma"] = {"prey": 0.25}
    axes = panel(plot_result(asked, result()), "prey")
    [bars] = axes.containers
    segments = bars.lines[2][0].get_segments()
    assert segments[0][:, 1].tolist() == [0.75, 1.25]


def test_a_trajectory_with_inputs_is_drawn_at_the_times_of_the_data_too() -> None:
    found = result()
    ends = {"prey": [1.1, 1.4], "predator": [2.1, 3.1]}
    found["trajectories"][0]["dense"] = {
        "times": [TIMES[0], TIMES[-1]],
        "states": ends,
        "values": ends,
        "inputs": {"heat": [1.0, 1.0]},
    }
    assert line(panel(plot_result(request(), found), "prey"), "fit") == (TIMES, [1.1, 1.2, 1.4])


def test_doses_are_marked_and_inputs_are_below() -> None:
    found = result()
    dense = found["trajectories"][0]["dense"]
    dense["times"] = [0.0, 0.5, 0.5]
    dense["inputs"] = {"heat": [1.0, 2.0, 2.0]}
    asked = request()
    asked["data"] |= {"doses": [{"into": "prey", "amount": 1, "at": 0.5}]}
    figure = plot_result(asked, found)
    marks = [drawn for drawn in panel(figure, "prey").get_lines() if drawn.get_label() == "dose"]
    assert [list(drawn.get_xdata()) for drawn in marks] == [[0.5, 0.5]]
    heat = panel(figure, "heat")
    assert line(heat, "fit") == ([0.0, 0.5, 0.5], [1.0, 2.0, 2.0])
    assert heat.get_position().y1 <= panel(figure, "predator").get_position().y0
