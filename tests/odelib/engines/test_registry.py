"""The names in a request are those of the engines and methods."""

from __future__ import annotations

from typing import get_args

import pytest

from odelib import ODELayer
from odelib.engines.registry import ENGINES, choose
from odelib.engines.tableaus.registry import METHODS as TABLEAUS
from odelib.problem.solver import ABILITIES, METHODS, Solver
from tests.engines import ENGINES as TESTED

DECAY = {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}}


def test_every_engine_is_registered_described_and_tested() -> None:
    assert list(ENGINES) == list(ABILITIES) == TESTED
    assert set(get_args(Solver.model_fields["engine"].annotation)) == {"auto", *ENGINES}
    assert set(get_args(Solver.model_fields["method"].annotation)) == {"auto", *METHODS}
    assert ABILITIES["compiled"].methods == tuple(tableau.name for tableau in TABLEAUS)


@pytest.mark.parametrize(("engine", "method"), [(e, m) for e, ability in ABILITIES.items() for m in ability.methods])
def test_every_pair_in_the_table_exists(engine: str, method: str) -> None:
    layer = ODELayer(DECAY, engine=engine, method=method)
    assert layer.engine.name == engine
    assert layer.options.method == method


def test_auto_prefers_the_compiled_engine_where_it_can() -> None:
    assert choose("auto", "auto")[0].name == "compiled"
    assert choose("auto", "dopri5")[0].name == "compiled"
    assert choose("auto", "dopri8")[0].name == "torchdiffeq"
    assert choose("auto", "auto", "cuda")[0].name == "torchdiffeq"
    assert choose("compiled", "auto", "cuda") == (ENGINES["compiled"], "auto")
    with pytest.raises(ValueError, match="engine='compiled' does not support method='dopri8' on device='cuda'"):
        choose("compiled", "dopri8", "cuda")
