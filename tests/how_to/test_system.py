"""docs/how-to-add-a-system.md, followed to the letter."""

from __future__ import annotations

from pathlib import Path

from tests.how_to.following import follow

GENERAL_TESTS = (
    "tests/odelib/engines/test_gradients.py",
    "tests/odelib/engines/test_accuracy.py",
    "tests/odelib/simulation/test_simulated_data.py",
    "tests/docs/test_pages.py",
    "tests/test_project.py",
)


def test_the_how_to_adds_a_system_with_one_file_of_code(tmp_path: Path) -> None:
    copy = follow("how-to-add-a-system.md", tmp_path)

    assert copy.code_files == ["odelib/problem/catalogue/sir.py"]
    listed = copy.run_python("from odelib.problem.catalogue import CATALOGUE; print(*CATALOGUE)")
    assert listed.split() == ["lotka-volterra", "stuart-landau", "lorenz", "kuramoto", "sir"]
    assert "SIR: the course of an epidemic" in copy.run("-m", "service", "systems")
    copy.run("-m", "pytest", "-q", "tests/odelib/problem/catalogue")
    copy.run("-m", "pytest", "-q", *GENERAL_TESTS, "-k", "sir or expression_language")
