"""Waterfall plots, read from their artists."""

from __future__ import annotations

from pathlib import Path

import pytest

from odelib.plots.figures import plot_result, save
from tests.odelib.plots.figures import line, request, result, texts


def test_a_waterfall_shows_which_starts_reached_the_best_loss(tmp_path: Path) -> None:
    found = result()
    stage = {"kind": "multi_start", "steps": 9, "gradients": 9, "failed_solves": 0, "loss": 2.0, "gradient_norm": 0.0,
             "seconds": 0.1, "stopped": {"code": "finished", "message": "…"}}  # fmt: skip
    found["loss"] = 2.0
    found["stages"] = [stage, stage | {"start_losses": [2.0, 2.01, 2.5, 1e6]}]
    figure = plot_result(request(), found)
    [axes] = [axes for axes in figure.get_axes() if axes.get_ylabel() == "loss above the best"]
    assert line(axes, "reached the best loss") == ([1, 2], pytest.approx([0.0, 0.01]))
    assert line(axes, "other starts") == ([3, 4], pytest.approx([0.5, 1e6 - 2]))
    assert axes.get_title() == "2 of 4 starts reached the best loss"
    save(figure, tmp_path / "waterfall.png")


def test_starts_that_all_reached_the_same_loss_are_drawn(tmp_path: Path) -> None:
    found = result()
    stage = {"kind": "multi_start", "steps": 9, "gradients": 9, "failed_solves": 0, "loss": 0.0, "gradient_norm": 0.0,
             "seconds": 0.1, "stopped": {"code": "finished", "message": "…"}, "start_losses": [0.0, 0.0]}  # fmt: skip
    figure = plot_result(request(), found | {"loss": 0.0, "stages": [stage]})
    assert "2 of 2 starts reached the best loss" in texts(figure)
    save(figure, tmp_path / "waterfall.png")
