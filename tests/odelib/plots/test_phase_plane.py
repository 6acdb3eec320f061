"""Phase planes: which ones a system has, and what they show."""

from __future__ import annotations

import math

import pytest

from odelib.plots.figures import plot_trajectories
from odelib.plots.phase_plane import planes_of
from odelib.problem.catalogue import CATALOGUE
from odelib.problem.system import System
from tests.odelib.plots.figures import curve_of, custom


def test_phase_planes_suit_the_system() -> None:
    def kinds(system: System) -> list[tuple[str, tuple[str, ...]]]:
        return [(plane.kind, plane.names) for plane in planes_of(system)]

    assert kinds(CATALOGUE["lotka-volterra"]) == [("plane", ("prey", "predator"))]
    assert kinds(CATALOGUE["stuart-landau"]) == [("polar", ("psi", "R"))]
    assert kinds(CATALOGUE["lorenz"]) == [("space", ("x", "y", "z"))]
    assert kinds(CATALOGUE["kuramoto"]) == [("polar", ("psi", "R")), ("plane", ("re", "im"))]
    assert kinds(custom(1)) == []
    assert kinds(custom(4)) == [("plane", (f"x{i}", f"x{i + 1}")) for i in range(3)]


def test_negative_radii_are_drawn_on_the_opposite_side() -> None:
    figure = plot_trajectories(CATALOGUE["stuart-landau"], [curve_of(CATALOGUE["stuart-landau"])])
    [polar] = [axes for axes in figure.get_axes() if axes.name == "polar"]
    orbit = polar.get_lines()[0]
    drawn = list(zip(orbit.get_xdata(), orbit.get_ydata(), strict=True))
    assert [drawn[i] for i in (0, 6, 12)] == [(0.1, 0.1), (-0.2 + math.pi, 0.2), (0.3, 0.3)]
    assert drawn[5] == pytest.approx((-0.15 + math.pi, 0.15)), "finer steps in between make arcs"
