"""The work of differentiating a system and writing its kernels is bounded, whatever its expressions are."""

from __future__ import annotations

import pytest

from odelib.engines.compiled.codegen import KernelSource
from odelib.errors import FitError
from odelib.problem.checks.system import build_system
from odelib.problem.system import System, SystemDefinition


def system(equations: dict[str, str], parameters: list[str]) -> System:
    return build_system(SystemDefinition(states=list(equations), parameters=parameters, equations=equations))


def product(factors: int) -> System:
    """By each of n factors a derivative of n operations."""
    names = [f"k{i}" for i in range(factors)]
    return system({"y": "*".join([*names, "y"])}, names)


def shared_core(rows: int) -> System:
    """One long expression that every row has, and every derivative of every row needs."""
    core = "*".join(f"sin(x{i % rows}+{i})" for i in range(220))
    return system({f"x{i}": f"{i}*({core})" for i in range(rows)}, [])


def tower(levels: int) -> System:
    return system({"x": "(" * levels + "x" + "**9)" * levels}, [])


@pytest.mark.parametrize("too_large", [product(1400), shared_core(150)], ids=["product", "shared core"])
def test_a_system_that_is_too_large_is_rejected_with_a_way_out(too_large: System) -> None:
    with pytest.raises(FitError) as caught:
        KernelSource(too_large).text()

    assert caught.value.code == "system_too_large"
    assert "torchdiffeq" in caught.value.detail


@pytest.mark.parametrize("fits", [product(200), shared_core(5), tower(90)], ids=["product", "shared core", "tower"])
def test_a_long_system_within_the_limit_is_written(fits: System) -> None:
    text = KernelSource(fits).text()

    assert "def rates_with_sensitivities" in text
    assert len(text) < 20_000_000
