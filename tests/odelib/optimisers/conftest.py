"""Fixtures for the tests of optimisers."""

from __future__ import annotations

import pytest


@pytest.fixture
def checkpoint_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a checkpoint after every step, however short."""
    monkeypatch.setattr("odelib.optimisers.evaluator.CHECKPOINT_SECONDS", 0.0)
