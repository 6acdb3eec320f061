"""The optimisers that general tests run over. docs/how-to-add-an-optimiser.md adds one."""

from typing import Any

# Settings with which each reaches the optimum of a small problem.
STAGES: list[dict[str, Any]] = [
    {"kind": "adam", "steps": 60, "learning_rate": 0.03},
    {"kind": "lbfgsb", "steps": 60},
    {"kind": "least_squares", "steps": 60},
    {"kind": "multiple_shooting", "steps": 60},
    {"kind": "multi_start", "starts": 5, "steps": 60},
    {"kind": "training", "steps": 60},
]
# For each, how many cycles of the seasons (`tests.failures.requests.seasons`) keep it busy for some seconds and many
# steps, so that it can be killed on the way.
SLOW: dict[str, tuple[float, dict[str, Any]]] = {
    "adam": (700, {"kind": "adam", "steps": 60, "learning_rate": 0.01}),
    "lbfgsb": (1200, {"kind": "lbfgsb"}),
    "least_squares": (3000, {"kind": "least_squares"}),
    "multiple_shooting": (2000, {"kind": "multiple_shooting"}),
    "training": (2000, {"kind": "training"}),
    "multi_start": (100, {"kind": "multi_start", "starts": 6}),
}
