"""The stages that general tests run over, each with settings that reach the optimum of a small problem."""

from typing import Any

STAGES: list[dict[str, Any]] = [
    {"kind": "adam", "steps": 60, "learning_rate": 0.03},
    {"kind": "lbfgsb", "steps": 60},
    {"kind": "least_squares", "steps": 60},
    {"kind": "multiple_shooting", "steps": 60},
    {"kind": "multi_start", "starts": 5, "steps": 60},
]
