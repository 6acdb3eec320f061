"""Plots of one kind each, and names that matplotlib would typeset."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import pytest

from odelib.fitting import fit
from odelib.plots.kinds import NothingToDraw, plot_kind, to_svg
from odelib.problem.request import FitProblem, parse_problem
from odelib.result import FitResult

NAME = r"</svg><script>$\frac$ & $x"


@pytest.fixture(scope="module")
def fitted() -> tuple[FitProblem, FitResult]:
    problem = parse_problem(
        {
            "system": {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}},
            "data": {"name": NAME, "times": [0.0, 1.0, 2.0], "values": {"x": [2.0, 1.1, 0.6]}},
            "parameters": {"k": 0.5},
            "initial_state": {"x": {"guess": 2.0, "fixed": True}},
            "stages": [{"kind": "lbfgsb"}],
        }
    )
    return problem, fit(problem)


def test_names_are_shown_as_they_are(fitted: tuple[FitProblem, FitResult]) -> None:
    picture = to_svg(plot_kind(*fitted, "time"))

    assert repr(NAME) in "".join(ElementTree.fromstring(picture).itertext())
    assert picture == to_svg(plot_kind(*fitted, "time"))


def test_residuals_are_drawn_under_the_name_of_their_observable(fitted: tuple[FitProblem, FitResult]) -> None:
    figure = plot_kind(*fitted, "residuals")

    [axes] = [axes for part in figure.subfigs for axes in part.axes]
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == ("x", "time", "residual")
    assert axes.get_window_extent().width > 0.75 * figure.bbox.width  # alone, it needs the width


def test_a_long_title_does_not_meet_the_legend(fitted: tuple[FitProblem, FitResult]) -> None:
    problem, result = fitted
    assert problem.data is not None
    long = problem.model_copy(update={"data": problem.data.model_copy(update={"name": "n" * 60})})
    trajectory = result.trajectories[0].model_copy(update={"name": "n" * 60})
    figure = plot_kind(long, result.model_copy(update={"trajectories": [trajectory]}), "time")
    figure.savefig(io.BytesIO())  # lays it out

    [part] = figure.subfigs
    [panels] = part.subfigs
    title = next(text for text in part.texts if "nnn" in text.get_text())
    [legend] = panels.legends
    assert not title.get_window_extent().overlaps(legend.get_window_extent())


@pytest.mark.parametrize("kind", ["phase", "polar", "starts", "profiles"])
def test_what_is_not_there_is_not_drawn(fitted: tuple[FitProblem, FitResult], kind: str) -> None:
    with pytest.raises(NothingToDraw):
        plot_kind(*fitted, kind)  # type: ignore[arg-type]
