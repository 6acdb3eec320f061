"""What networks learned, read from the artists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from odelib.plots.figures import plot_result, save
from tests.odelib.plots.figures import request, result


def network(inputs: list[str], points: list[list[float]], outputs: dict[str, list[float]]) -> dict[str, Any]:
    scaling = {"offset": [0.0] * len(inputs), "scale": [1.0] * len(inputs)}
    layer = {"weight": [[1.0] * len(inputs)] * len(outputs), "bias": [0.0] * len(outputs)}
    return {
        "inputs": inputs,
        "outputs": list(outputs),
        "activation": "tanh",
        "layers": [layer],
        "input_scaling": scaling,
        "output_scaling": {"offset": [0.0] * len(outputs), "scale": [1.0] * len(outputs)},
        "sampled": {"inputs": points, "outputs": outputs},
    }


def test_a_term_of_one_input_is_a_line_and_one_of_two_a_map(tmp_path: Path) -> None:
    found = result()
    found["networks"] = {
        "friction": network(["prey"], [[3.0], [1.0], [2.0]], {"drag": [9.0, 1.0, 4.0]}),
        "meeting": network(["prey", "predator"], [[1.0, 2.0], [2.0, 3.0]], {"eaten": [-2.0, -6.0]}),
    }
    figure = plot_result(request(), found)
    panels = {axes.get_title(): axes for axes in figure.get_axes()}
    curve = panels["drag"].get_lines()[0]
    assert (list(curve.get_xdata()), list(curve.get_ydata())) == ([1.0, 2.0, 3.0], [1.0, 4.0, 9.0])
    [points] = panels["eaten"].collections
    assert np.asarray(points.get_offsets()).tolist() == [[1.0, 2.0], [2.0, 3.0]]
    assert list(points.get_array()) == [-2.0, -6.0]
    assert (panels["eaten"].get_xlabel(), panels["eaten"].get_ylabel()) == ("prey", "predator")
    save(figure, tmp_path / "learned.png")


def test_without_networks_there_is_no_such_panel() -> None:
    figure = plot_result(request(), result())
    assert "Learned terms" not in {part.get_suptitle() for part in figure.subfigs}
