"""The layer inside a network: the example that the documentation shows."""

import pytest

from examples.covariate_network import TRUE_INTERCEPT, TRUE_SLOPE, train
from tests.engines import ENGINES


@pytest.mark.parametrize("engine", ENGINES)
def test_a_rate_that_depends_on_a_covariate_is_recovered(engine: str) -> None:
    recovered = train(engine=engine)
    assert recovered.intercept == pytest.approx(TRUE_INTERCEPT, rel=0.1)
    assert recovered.slope == pytest.approx(TRUE_SLOPE, rel=0.1)
