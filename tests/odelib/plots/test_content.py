"""Sections, labels and colours of predictions, experiments and held-out data."""

from __future__ import annotations

from pathlib import Path

import pytest

from odelib.plots.figures import plot_result, save
from odelib.plots.time_series import COLOURS, DATA_COLOUR
from tests.odelib.plots.figures import TIMES, experiments, line, panel, prediction, request, result, texts


def test_a_prediction_that_continues_the_data_shares_their_panels() -> None:
    asked = request(predictions=[{"name": "later", "times": [1.0, 2.0], "values": {"prey": [None, 4.0]}}])
    figure = plot_result(asked, result(prediction("later", [1.0, 2.0])))
    prey = panel(figure, "prey")
    assert line(prey, "prediction 'later'") == ([1.0, 2.0], [1.0, 2.0])
    assert line(prey, "given values")[1][1] == 4.0
    assert len([axes for axes in figure.get_axes() if axes.get_ylabel() == "prey"]) == 1


def test_a_prediction_with_its_own_initial_state_has_its_own_section() -> None:
    start = {"prey": 6.0, "predator": 6.0}
    asked = request(predictions=[{"name": "elsewhere", "times": [0.0, 2.0], "initial_state": start}])
    figure = plot_result(asked, result(prediction("elsewhere", [0.0, 2.0])))
    assert "Prediction 'elsewhere' from prey = 6, predator = 6" in texts(figure)
    assert line(panel(figure, "prey", nth=1), "prediction") == ([0.0, 2.0], [1.0, 2.0])


def test_a_prediction_that_failed_is_left_out() -> None:
    asked = request(predictions=[{"name": "bad", "times": [0.0, 2.0], "initial_state": {"prey": 1e9}}])
    failed = {"name": "bad", "times": [0.0, 2.0], "error": {"code": "max_steps", "detail": "…"}}
    figure = plot_result(asked, result(failed))
    assert "'bad'" not in texts(figure)
    assert len([axes for axes in figure.get_axes() if axes.get_ylabel() == "prey"]) == 1


def test_experiments_share_panels_each_in_its_own_colour() -> None:
    asked, found = experiments(3)
    asked["predictions"] = [{"name": "later", "times": [1.0, 2.0], "experiment": "plot 1"}]
    found["predictions"] = [prediction("later", [1.0, 2.0])]
    figure = plot_result(asked, found)
    assert "3 experiments" in texts(figure)
    prey = panel(figure, "prey")
    colours = {str(drawn.get_label()): drawn.get_color() for drawn in prey.get_lines()}
    assert [colours[f"plot {i}"] for i in range(3)] == list(COLOURS[:3])
    assert colours["prediction 'later'"] == COLOURS[1], "a prediction has the colour of its experiment"
    dots = [drawn for drawn in prey.get_lines() if drawn.get_label() == "_data"]
    assert [(drawn.get_ydata()[2], drawn.get_markerfacecolor()) for drawn in dots] == [
        (1.0, COLOURS[0]), (2.0, COLOURS[1]), (3.0, COLOURS[2]),
    ]  # fmt: skip
    residuals = [drawn for drawn in panel(figure, "residual").get_lines() if drawn.get_label() == "_data"]
    assert [drawn.get_ydata()[0] for drawn in residuals] == pytest.approx([0.0, 0.1, 0.2])
    [legend] = figure.subfigs[1].subfigs[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["plot 0", "plot 1", "plot 2", "prediction 'later'"]


def test_many_experiments_have_different_colours_and_a_short_legend(tmp_path: Path) -> None:
    figure = plot_result(*experiments(20))
    curves = [drawn for drawn in panel(figure, "prey").get_lines() if "plot" in str(drawn.get_label())]
    assert len({drawn.get_color() for drawn in curves}) == 20
    [legend] = figure.subfigs[1].subfigs[0].legends
    assert [text.get_text() for text in legend.get_texts()] == [f"plot {i}" for i in range(12)]
    save(figure, tmp_path / "many.png")


def test_held_out_data_are_rings_with_a_dashed_curve() -> None:
    asked, found = request(hold_out={"after": 0.7}), result()
    [trajectory] = found["trajectories"]
    trajectory["times"] = TIMES[:2]
    trajectory["residuals"] = {name: column[:2] for name, column in trajectory["residuals"].items()}
    found["hold_out"] = [prediction("hares", [1.0])]
    prey = panel(plot_result(asked, found), "prey")
    assert line(prey, "data")[0] == [0.0, 0.5]
    assert line(prey, "held-out data") == ([1.0], [1.5])
    [rings] = [drawn for drawn in prey.get_lines() if drawn.get_label() == "held-out data"]
    assert (rings.get_markerfacecolor(), rings.get_markeredgecolor()) == ("white", DATA_COLOUR)
    assert line(prey, "held out") == ([1.0], [1.0])


def test_scattered_held_out_data_are_rings_at_their_times() -> None:
    asked, found = request(hold_out={"every": 3}), result()
    [trajectory] = found["trajectories"]
    trajectory["times"] = [TIMES[0], TIMES[2]]
    trajectory["residuals"] = {name: [column[0], column[2]] for name, column in trajectory["residuals"].items()}
    found["hold_out"] = [prediction("hares", [TIMES[1]])]
    prey = panel(plot_result(asked, found), "prey")
    assert line(prey, "data")[0] == [TIMES[0], TIMES[2]]
    assert line(prey, "held-out data")[0] == [TIMES[1]]


def test_a_held_out_experiment_shares_the_panels_of_the_others() -> None:
    asked, found = experiments(2)
    asked["hold_out"] = {"experiments": ["plot 1"]}
    del found["trajectories"][1]
    found["hold_out"] = [prediction("plot 1", TIMES)]
    prey = panel(plot_result(asked, found), "prey")
    [curve] = [drawn for drawn in prey.get_lines() if drawn.get_label() == "plot 1"]
    assert (curve.get_color(), curve.get_linestyle()) == (COLOURS[1], "--")
    [rings] = [drawn for drawn in prey.get_lines() if drawn.get_label() == "_held-out data"]
    assert (rings.get_ydata()[0], rings.get_markerfacecolor()) == (1.0, "white")
