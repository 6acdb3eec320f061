"""Panels of profile likelihoods, read from their artists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes

from odelib.plots.figures import MAX_PROFILES, plot_result, save
from tests.odelib.plots.figures import experiments, line, request, result, texts


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


def test_a_profile_shows_increase_limit_ends_and_parabola() -> None:
    figure = plot_result(request(initial_state={"prey": {"guess": 1.0, "scale": "log"}, "predator": 1.0}), profiled())
    assert "Profile likelihoods" in texts(figure)
    alpha, prey = (axes for axes in figure.get_axes() if axes.get_ylabel() == "increase in loss")
    assert (alpha.get_xlabel(), prey.get_xlabel()) == ("alpha", "prey")

    def at(axes: Axes, label: str, value: float) -> float:
        return dict(zip(*line(axes, label), strict=True))[value]

    assert [at(alpha, "profile", value) for value in (1.1, 1.3, 1.5, 1.8)] == pytest.approx([3.0, 1.0, 0.0, 0.5])
    assert at(alpha, "profile", 1.2) == pytest.approx(2.0), "it runs through the interval's end"
    assert at(alpha, "predicted by the covariance", 1.3) == pytest.approx(0.6)
    assert line(alpha, "95 % limit")[1] == [2.0, 2.0]
    assert line(alpha, "ends of the interval") == ([1.2], [2.0])
    assert [text.get_text() for text in alpha.texts] == ["open →"]
    assert alpha.get_xlim() == pytest.approx((1.5 - 1.3 * 0.3, 1.5 + 4 * 0.3)), "the closed side stays in sight"
    assert alpha.get_xscale() == "linear"

    assert line(prey, "ends of the interval") == ([0.5, 2.0], [2.0, 2.0])
    assert not prey.texts
    assert prey.get_xscale() == "log"
    assert all(drawn.get_label() != "predicted by the covariance" for drawn in prey.get_lines())


def test_profiles_of_experiments_use_the_estimates_of_the_same_experiment(tmp_path: Path) -> None:
    asked, found = experiments(2)
    asked["experiments"][1]["initial_state"] = {"prey": {"guess": 3.0, "scale": "log"}}
    own = {"prey": {"value": 3.0, "lower_95": 2.0, "upper_95": 5.0}, "predator": {"value": 2.1}}
    found["trajectories"][1] = found["trajectories"][1] | {"initial_state": own}
    found["profiles"] = {"prey[plot 1]": {"values": [1.9, 3.0, 5.1], "losses": [5.0, 2.0, 5.0], "limit": 4.5}}
    figure = plot_result(asked, found)
    [axes] = [axes for axes in figure.get_axes() if axes.get_ylabel() == "increase in loss"]
    assert line(axes, "ends of the interval") == ([2.0, 5.0], [2.5, 2.5])
    assert axes.get_xscale() == "log"
    save(figure, tmp_path / "profiles.png")


def test_many_profiles_are_cut_and_the_title_says_how_many_are_left_out() -> None:
    found = profiled()
    names = [f"p{i}" for i in range(MAX_PROFILES + 2)]
    found["parameters"] |= {name: {"value": 1.5} for name in names}
    found["profiles"] = dict.fromkeys(names, found["profiles"]["alpha"])
    figure = plot_result(request(), found)
    assert [axes.get_ylabel() for axes in figure.get_axes()].count("increase in loss") == MAX_PROFILES
    assert "2 more are not shown" in texts(figure)
