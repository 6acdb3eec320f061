"""What the pictures show, read from their artists; no picture is compared by its pixels."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from odelib.plots.content import MAX_PANELS, Block
from odelib.plots.figures import (
    MAX_BLOCKS,
    MAX_PROFILES,
    check_picture_path,
    plot_blocks,
    plot_result,
    plot_simulation,
    plot_simulations,
    plot_trajectories,
    save,
)
from odelib.plots.phase_plane import planes_of
from odelib.plots.time_series import COLOURS, DATA_COLOUR, Curve, Points
from odelib.problem.catalogue import CATALOGUE
from odelib.problem.checks.system import build_system
from odelib.problem.system import System, SystemDefinition
from odelib.simulation.simulated_data import run_simulation, run_simulations

TIMES = [0.0, 0.5, 1.0]
PREY, PREDATOR = [1.0, None, 1.5], [2.0, 2.5, 3.0]


def request(**changes: Any) -> dict[str, Any]:
    return {
        "system": "lotka-volterra",
        "data": {"name": "hares", "times": TIMES, "values": {"prey": PREY, "predator": PREDATOR}},
        "parameters": {"alpha": 1.5, "beta": 1.0, "gamma": 1.0, "delta": 3.0},
        "initial_state": {"prey": 1.0, "predator": 1.0},
    } | changes


def result(*predictions: dict[str, Any]) -> dict[str, Any]:
    states = {"prey": [1.1, 1.2, 1.4], "predator": [2.1, 2.4, 3.1]}
    return {
        "loss": 2.125,
        "loss_parts": {"data": 2.125, "penalty": 0.0, "prior": 0.0},
        "observations": 5,
        "outcome": {"code": "step_limit", "message": "…"},
        "parameters": {"alpha": {"value": 1.507}, "beta": {"value": 1.0, "fixed": True}},
        "initial_state": {"prey": {"value": 1.1}, "predator": {"value": 2.1}},
        "stages": [],
        "trajectories": [
            {
                "name": "hares",
                "initial_state": {"prey": {"value": 1.1}, "predator": {"value": 2.1}},
                "times": TIMES,
                "states": states,
                "values": states,
                "residuals": {"prey": [-0.1, None, 0.1], "predator": [-0.1, 0.1, -0.1]},
                "dense": {"times": TIMES, "states": states, "values": states},
            }
        ],
        "predictions": list(predictions),
        "warnings": [],
        "statistics": {"r_squared": {}},
        "solver": {"engine": "torchdiffeq", "method": "dopri5", "device": "cpu"},
    }


def prediction(name: str, times: list[float]) -> dict[str, Any]:
    columns = {"prey": [float(i + 1) for i in range(len(times))], "predator": [2.0] * len(times)}
    start = {"prey": 6.0, "predator": 6.0}
    return {"name": name, "times": times, "initial_state": start, "states": columns, "values": columns}


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def panel(figure: Figure, label: str, *, nth: int = 0) -> Axes:
    return [axes for axes in figure.get_axes() if axes.get_ylabel() == label and axes.name == "rectilinear"][nth]


def line(axes: Axes, label: str) -> tuple[list[float], list[float]]:
    [found] = [line for line in axes.get_lines() if line.get_label() == label]
    return list(found.get_xdata()), list(found.get_ydata())


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
    assert any(y == [2.0, 2.5, 3.0] for _, y in drawn), "measured pairs stand in the plane"


def test_the_head_names_system_loss_outcome_and_estimates() -> None:
    shown = texts(plot_result(request(), result()))
    assert "Lotka–Volterra: predator and prey" in shown
    assert "loss 2.125 over 5 values, step limit" in shown
    assert "alpha = 1.507,   beta = 1" in shown
    assert "Series 'hares'" in shown


def test_a_prediction_that_continues_the_data_stands_beside_them() -> None:
    asked = request(predictions=[{"name": "later", "times": [1.0, 2.0], "values": {"prey": [None, 4.0]}}])
    figure = plot_result(asked, result(prediction("later", [1.0, 2.0])))
    prey = panel(figure, "prey")
    assert line(prey, "prediction 'later'") == ([1.0, 2.0], [1.0, 2.0])
    assert line(prey, "given values")[1][1] == 4.0
    assert len([axes for axes in figure.get_axes() if axes.get_ylabel() == "prey"]) == 1


def test_a_prediction_from_its_own_state_has_its_own_block() -> None:
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


def test_residuals_stand_below_their_observable_about_a_line_at_zero() -> None:
    figure = plot_result(request(), result())
    below = [axes for axes in figure.get_axes() if axes.get_ylabel() == "residual"]
    assert len(below) == 2
    times, residuals = line(below[0], "data")
    assert times == TIMES
    np.testing.assert_array_equal(residuals, [-0.1, math.nan, 0.1])
    assert line(below[1], "data")[1] == [-0.1, 0.1, -0.1]
    assert any(list(drawn.get_ydata()) == [0.0, 0.0] for drawn in below[0].get_lines())
    assert below[0].get_position().y1 <= panel(figure, "prey").get_position().y0


def test_an_observable_that_was_not_measured_has_no_residuals() -> None:
    found = result()
    found["trajectories"][0]["residuals"] = {"prey": [-0.1, None, 0.1], "predator": [None, None, None]}
    figure = plot_result(request(), found)
    assert [axes.get_ylabel() for axes in figure.get_axes()].count("residual") == 1


def test_predictions_have_their_bands() -> None:
    asked = request(predictions=[{"name": "later", "times": [1.0, 2.0]}])
    banded = {**prediction("later", [1.0, 2.0]), "lower_95": {"prey": [0.5, 1.0]}, "upper_95": {"prey": [1.5, 3.0]}}
    figure = plot_result(asked, result(banded))
    [band] = panel(figure, "prey").collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.tolist()}
    assert {(1.0, 0.5), (1.0, 1.5), (2.0, 1.0), (2.0, 3.0)} <= corners
    assert not panel(figure, "predator").collections


def experiments(count: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A request and a result with experiments `plot 0`, …, each a step above the one before."""
    asked, found = request(), result()
    del asked["data"]
    [trajectory] = found["trajectories"]
    names = [f"plot {i}" for i in range(count)]
    asked["experiments"] = [
        {"name": name, "times": TIMES, "values": {"prey": [float(i), None, i + 1.0]}} for i, name in enumerate(names)
    ]
    found["trajectories"] = [
        {**trajectory, "name": name, "residuals": {"prey": [0.1 * i, None, 0.0]}} for i, name in enumerate(names)
    ]
    return asked, found


def test_experiments_share_the_panels_each_in_its_colour() -> None:
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


def test_what_was_held_out_is_drawn_as_rings_with_a_dashed_curve() -> None:
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


def test_a_held_out_experiment_is_drawn_beside_the_others() -> None:
    asked, found = experiments(2)
    asked["hold_out"] = {"experiments": ["plot 1"]}
    del found["trajectories"][1]
    found["hold_out"] = [prediction("plot 1", TIMES)]
    prey = panel(plot_result(asked, found), "prey")
    [curve] = [drawn for drawn in prey.get_lines() if drawn.get_label() == "plot 1"]
    assert (curve.get_color(), curve.get_linestyle()) == (COLOURS[1], "--")
    [rings] = [drawn for drawn in prey.get_lines() if drawn.get_label() == "_held-out data"]
    assert (rings.get_ydata()[0], rings.get_markerfacecolor()) == (1.0, "white")


def test_sigmas_are_error_bars() -> None:
    asked = request()
    asked["data"]["sigma"] = {"prey": 0.25}
    axes = panel(plot_result(asked, result()), "prey")
    [bars] = axes.containers
    segments = bars.lines[2][0].get_segments()
    assert segments[0][:, 1].tolist() == [0.75, 1.25]


def profiled() -> dict[str, Any]:
    """A result with profiles: alpha's open above, prey's closed; alpha's interval reaches further than the profile."""
    found = result()
    found["loss"] = 2.0
    found["parameters"]["alpha"] |= {"value": 1.5, "lower_95": 1.2}
    found["initial_state"]["prey"] = {"value": 1.0, "lower_95": 0.5, "upper_95": 2.0}
    found["trajectories"][0]["initial_state"] = found["initial_state"]
    found["profiles"] = {
        "alpha": {
            "values": [1.1, 1.3, 1.5, 1.8, 9.0], "losses": [5.0, 3.0, 2.0, 2.5, 3.0],
            "limit": 4.0, "parabola": [4.5, 2.6, 2.0, 3.4, 900.0],
        },
        "prey": {"values": [0.4, 1.0, 2.5], "losses": [5.0, 2.0, 5.0], "limit": 4.0},
    }  # fmt: skip
    return found


def test_profiles_show_rise_limit_ends_and_the_parabola() -> None:
    figure = plot_result(request(initial_state={"prey": {"guess": 1.0, "scale": "log"}, "predator": 1.0}), profiled())
    assert "Profile likelihoods" in texts(figure)
    alpha, prey = (axes for axes in figure.get_axes() if axes.get_ylabel() == "rise of loss")
    assert (alpha.get_xlabel(), prey.get_xlabel()) == ("alpha", "prey")

    def at(axes: Axes, label: str, value: float) -> float:
        return dict(zip(*line(axes, label), strict=True))[value]

    assert [at(alpha, "profile", value) for value in (1.1, 1.3, 1.5, 1.8)] == pytest.approx([3.0, 1.0, 0.0, 0.5])
    assert at(alpha, "profile", 1.2) == pytest.approx(2.0), "it runs through the interval's end"
    assert at(alpha, "covariance's parabola", 1.3) == pytest.approx(0.6)
    assert line(alpha, "limit of 95 %")[1] == [2.0, 2.0]
    assert line(alpha, "interval's ends") == ([1.2], [2.0])
    assert [text.get_text() for text in alpha.texts] == ["open →"]
    assert alpha.get_xlim() == pytest.approx((1.5 - 1.3 * 0.3, 1.5 + 4 * 0.3)), "the closed side stays in sight"
    assert alpha.get_xscale() == "linear"

    assert line(prey, "interval's ends") == ([0.5, 2.0], [2.0, 2.0])
    assert not prey.texts
    assert prey.get_xscale() == "log"
    assert all(drawn.get_label() != "covariance's parabola" for drawn in prey.get_lines())


def test_a_result_without_profiles_and_starts_has_no_panels_of_them() -> None:
    figure = plot_result(request(), result())
    assert not {"rise of loss", "loss above the best"} & {axes.get_ylabel() for axes in figure.get_axes()}


def test_profiles_of_experiments_find_their_own_estimates(tmp_path: Path) -> None:
    asked, found = experiments(2)
    asked["experiments"][1]["initial_state"] = {"prey": {"guess": 3.0, "scale": "log"}}
    own = {"prey": {"value": 3.0, "lower_95": 2.0, "upper_95": 5.0}, "predator": {"value": 2.1}}
    found["trajectories"][1] = found["trajectories"][1] | {"initial_state": own}
    found["profiles"] = {"prey[plot 1]": {"values": [1.9, 3.0, 5.1], "losses": [5.0, 2.0, 5.0], "limit": 4.5}}
    figure = plot_result(asked, found)
    [axes] = [axes for axes in figure.get_axes() if axes.get_ylabel() == "rise of loss"]
    assert line(axes, "interval's ends") == ([2.0, 5.0], [2.5, 2.5])
    assert axes.get_xscale() == "log"
    save(figure, tmp_path / "profiles.png")


def test_many_profiles_are_cut_and_say_so() -> None:
    found = profiled()
    names = [f"p{i}" for i in range(MAX_PROFILES + 2)]
    found["parameters"] |= {name: {"value": 1.5} for name in names}
    found["profiles"] = dict.fromkeys(names, found["profiles"]["alpha"])
    figure = plot_result(request(), found)
    assert [axes.get_ylabel() for axes in figure.get_axes()].count("rise of loss") == MAX_PROFILES
    assert "2 more are not drawn" in texts(figure)


def test_a_waterfall_tells_which_starts_reached_the_best(tmp_path: Path) -> None:
    found = result()
    stage = {"kind": "multi_start", "steps": 9, "gradients": 9, "failed_solves": 0, "loss": 2.0, "gradient_norm": 0.0,
             "seconds": 0.1, "stopped": {"code": "finished", "message": "…"}}  # fmt: skip
    found["loss"] = 2.0
    found["stages"] = [stage, stage | {"start_losses": [2.0, 2.01, 2.5, 1e6]}]
    figure = plot_result(request(), found)
    [axes] = [axes for axes in figure.get_axes() if axes.get_ylabel() == "loss above the best"]
    assert line(axes, "reached the best") == ([1, 2], pytest.approx([0.0, 0.01]))
    assert line(axes, "ended elsewhere") == ([3, 4], pytest.approx([0.5, 1e6 - 2]))
    assert axes.get_title() == "2 of 4 starts reached the best"
    save(figure, tmp_path / "starts.png")


def test_starts_that_all_ended_in_one_place_are_drawn(tmp_path: Path) -> None:
    found = result()
    stage = {"kind": "multi_start", "steps": 9, "gradients": 9, "failed_solves": 0, "loss": 0.0, "gradient_norm": 0.0,
             "seconds": 0.1, "stopped": {"code": "finished", "message": "…"}, "start_losses": [0.0, 0.0]}  # fmt: skip
    figure = plot_result(request(), found | {"loss": 0.0, "stages": [stage]})
    assert "2 of 2 starts reached the best" in texts(figure)
    save(figure, tmp_path / "starts.png")


def test_planes_suit_the_system() -> None:
    def kinds(system: System) -> list[tuple[str, tuple[str, ...]]]:
        return [(plane.kind, plane.names) for plane in planes_of(system)]

    assert kinds(CATALOGUE["lotka-volterra"]) == [("plane", ("prey", "predator"))]
    assert kinds(CATALOGUE["stuart-landau"]) == [("polar", ("psi", "R"))]
    assert kinds(CATALOGUE["lorenz"]) == [("space", ("x", "y", "z"))]
    assert kinds(CATALOGUE["kuramoto"]) == [("polar", ("psi", "R")), ("plane", ("re", "im"))]
    assert kinds(custom(1)) == []
    assert kinds(custom(4)) == [("plane", (f"x{i}", f"x{i + 1}")) for i in range(3)]


def custom(states: int) -> System:
    names = [f"x{i}" for i in range(states)]
    return build_system(SystemDefinition(states=names, equations=dict.fromkeys(names, "1")))


def curve_of(system: System, label: str = "true") -> Curve:
    states = {name: [0.1, -0.2, 0.3] for name in system.states}
    return Curve(label, TIMES, states, {name: [1.0, 2.0, 3.0] for name in system.observables})


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


def test_simulated_experiments_share_the_panels() -> None:
    asked, _ = experiments(2)
    simulations = run_simulations(asked)
    prey = panel(plot_simulations(simulations), "prey")
    assert line(prey, "plot 1")[1] == simulations[1].dense.values["prey"]
    dots = [drawn for drawn in prey.get_lines() if drawn.get_label() == "_simulated data"]
    assert [drawn.get_markerfacecolor() for drawn in dots] == list(COLOURS[:2])


def test_negative_radii_lie_opposite() -> None:
    figure = plot_trajectories(CATALOGUE["stuart-landau"], [curve_of(CATALOGUE["stuart-landau"])])
    [polar] = [axes for axes in figure.get_axes() if axes.name == "polar"]
    orbit = polar.get_lines()[0]
    drawn = list(zip(orbit.get_xdata(), orbit.get_ydata(), strict=True))
    assert [drawn[i] for i in (0, 6, 12)] == [(0.1, 0.1), (-0.2 + math.pi, 0.2), (0.3, 0.3)]
    assert drawn[5] == pytest.approx((-0.15 + math.pi, 0.15)), "finer steps in between make arcs"


def test_orbits_lie_over_each_other() -> None:
    system = CATALOGUE["lorenz"]
    figure = plot_trajectories(system, [curve_of(system, "first"), curve_of(system, "second")])
    [x] = [axes for axes in figure.get_axes() if axes.get_ylabel() == "x" and axes.name == "rectilinear"]
    first, second = x.get_lines()
    assert [first.get_label(), second.get_label()] == ["first", "second"]
    assert first.get_color() != second.get_color()


def test_large_problems_are_cut_and_say_so(tmp_path: Path) -> None:
    wide = custom(40)
    measured = Points("data", TIMES, {"x39": [1.0, 2.0, 3.0]})
    figure = plot_blocks(wide, [Block("", [curve_of(wide)], [measured])])
    series = [axes for axes in figure.get_axes() if not axes.get_xlabel().startswith("x")]
    assert len(series) == MAX_PANELS
    assert series[0].get_ylabel() == "x39", "what was measured comes first"
    one = custom(1)
    many = plot_blocks(one, [Block(f"block {i}", [curve_of(one)]) for i in range(MAX_BLOCKS + 3)])
    assert "3 more are not drawn" in texts(many)
    save(many, tmp_path / "many.svg")


def test_a_bad_picture_name_is_known_before_the_fit(tmp_path: Path) -> None:
    check_picture_path(tmp_path / "picture.pdf")
    with pytest.raises(ValueError, match=r"must end in one of .*\.png"):
        check_picture_path("picture.doc")
    with pytest.raises(ValueError, match="must end in one of"):
        save(Figure(), tmp_path / "picture")
    with pytest.raises(ValueError, match="there is no folder"):
        check_picture_path(tmp_path / "nowhere" / "picture.png")
