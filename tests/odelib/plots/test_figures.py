"""Figures of fits and simulations, read from their artists; no picture is compared by its pixels."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from odelib.plots.content import MAX_PANELS, Section
from odelib.plots.figures import (
    MAX_SECTIONS,
    check_picture_path,
    plot_result,
    plot_sections,
    plot_simulation,
    plot_simulations,
    plot_trajectories,
    save,
)
from odelib.plots.time_series import COLOURS, Points
from odelib.problem.catalogue import CATALOGUE
from odelib.simulation.simulated_data import run_simulation, run_simulations
from tests.odelib.plots.figures import TIMES, curve_of, custom, experiments, line, panel, request, result, texts


def test_a_fit_shows_data_trajectory_and_phase_plane() -> None:
    figure = plot_result(request(), result())
    prey = panel(figure, "prey")
    assert line(prey, "fit") == (TIMES, [1.1, 1.2, 1.4])
    times, values = line(prey, "data")
    assert times == TIMES
    np.testing.assert_array_equal(values, [1.0, math.nan, 1.5])
    plane = panel(figure, "predator", nth=1)
    assert plane.get_xlabel() == "prey"
    drawn = [(list(found.get_xdata()), list(found.get_ydata())) for found in plane.get_lines()]
    assert ([1.1, 1.2, 1.4], [2.1, 2.4, 3.1]) in drawn
    assert ([1.1], [2.1]) in drawn, "a ring marks the start"
    assert any(y == [2.0, 2.5, 3.0] for _, y in drawn), "measured pairs are in the plane"


def test_the_head_names_system_loss_outcome_and_estimates() -> None:
    shown = texts(plot_result(request(), result()))
    assert "Lotka–Volterra: predator and prey" in shown
    assert "loss 2.125, 5 observations, step limit" in shown
    assert "alpha = 1.507,   beta = 1" in shown
    assert "Series 'hares'" in shown


def test_a_result_without_profiles_and_starts_has_no_panels_for_them() -> None:
    figure = plot_result(request(), result())
    assert not {"increase in loss", "loss above the best"} & {axes.get_ylabel() for axes in figure.get_axes()}


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_catalogue_system_can_be_drawn(name: str, tmp_path: Path) -> None:
    system = CATALOGUE[name]
    simulation = run_simulation(name, noise=0.1)
    figure = plot_simulation(simulation, subtitle="seed 0")
    save(figure, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert system.title in texts(figure)
    assert "seed 0" in texts(figure)
    for observable in system.observables:
        axes = panel(figure, observable)
        assert line(axes, "without noise")[1] == simulation.dense.values[observable]
        assert line(axes, "simulated data")[1] == simulation.data["values"][observable]


def test_simulated_experiments_share_panels() -> None:
    asked, _ = experiments(2)
    simulations = run_simulations(asked)
    prey = panel(plot_simulations(simulations), "prey")
    assert line(prey, "plot 1")[1] == simulations[1].dense.values["prey"]
    dots = [drawn for drawn in prey.get_lines() if drawn.get_label() == "_simulated data"]
    assert [drawn.get_markerfacecolor() for drawn in dots] == list(COLOURS[:2])


def test_trajectories_of_one_system_share_panels() -> None:
    system = CATALOGUE["lorenz"]
    figure = plot_trajectories(system, [curve_of(system, "first"), curve_of(system, "second")])
    [x] = [axes for axes in figure.get_axes() if axes.get_ylabel() == "x" and axes.name == "rectilinear"]
    first, second = x.get_lines()
    assert [first.get_label(), second.get_label()] == ["first", "second"]
    assert first.get_color() != second.get_color()


def test_large_figures_are_cut_and_say_how_much_is_left_out(tmp_path: Path) -> None:
    wide = custom(40)
    measured = Points("data", TIMES, {"x39": [1.0, 2.0, 3.0]})
    figure = plot_sections(wide, [Section("", [curve_of(wide)], [measured])])
    series = [axes for axes in figure.get_axes() if not axes.get_xlabel().startswith("x")]
    assert len(series) == MAX_PANELS
    assert series[0].get_ylabel() == "x39", "what was measured comes first"
    one = custom(1)
    many = plot_sections(one, [Section(f"section {i}", [curve_of(one)]) for i in range(MAX_SECTIONS + 3)])
    assert "3 more are not shown" in texts(many)
    save(many, tmp_path / "many.svg")


def test_a_bad_picture_name_is_refused_before_the_fit(tmp_path: Path) -> None:
    check_picture_path(tmp_path / "picture.pdf")
    with pytest.raises(ValueError, match=r"must end in one of .*\.png"):
        check_picture_path("picture.doc")
    with pytest.raises(ValueError, match="must end in one of"):
        save(Figure(), tmp_path / "picture")
    with pytest.raises(ValueError, match="there is no folder"):
        check_picture_path(tmp_path / "nowhere" / "picture.png")
