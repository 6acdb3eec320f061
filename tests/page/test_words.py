"""The page has words for every code that a result can have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from odelib.problem.stages import AnyStage
from odelib.result import OutcomeCode, WarningCode

WORDS = (Path(__file__).parents[2] / "page" / "src" / "fits" / "words.ts").read_text(encoding="utf-8")
STAGES = [get_args(model.model_fields["kind"].annotation)[0] for model in get_args(AnyStage)]
KINDS = {"WARNINGS": get_args(WarningCode), "OUTCOMES": get_args(OutcomeCode), "STAGES": STAGES}


@pytest.mark.parametrize("kind", KINDS)
def test_every_code_has_words(kind: str) -> None:
    table = re.search(rf"const {kind}.*?^}};", WORDS, re.DOTALL | re.MULTILINE)
    assert table is not None

    assert set(KINDS[kind]) <= set(re.findall(r"^  (\w+): ", table[0], re.MULTILINE))
