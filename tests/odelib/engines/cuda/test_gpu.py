"""On a machine with a GPU: the launched kernels against the compiled engine, for every system of the general tests."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from odelib import FitProblem, fit
from odelib.engines.base import DifferentiateBy, SolverOptions, never
from odelib.engines.compiled.kernels import kernels_of
from odelib.engines.cuda.program import gpu_kernels_of
from odelib.errors import FitError
from odelib.problem.catalogue import CATALOGUE
from tests.odelib.engines.cuda.test_kernels import assert_same, options, spread, system_of
from tests.problems import decay_request
from tests.systems import STIFF, SYSTEMS

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU that torch can use")
ALL = {**SYSTEMS, **STIFF}


@pytest.mark.parametrize("method", ["auto", "kvaerno5"])
@pytest.mark.parametrize("name", ALL)
def test_solutions_are_those_of_the_compiled_engine(name: str, method: str) -> None:
    example = ALL[name]
    system = system_of(example.definition)
    try:
        kernels = gpu_kernels_of(system)
    except FitError as error:
        pytest.skip(error.detail)
    states, values = spread(example.state_values, 300), spread(example.parameter_values, 300)
    by = DifferentiateBy(tuple(range(states.shape[1])), tuple(range(values.shape[1])))
    times = np.linspace(0.0, example.end, 7)[None]
    expected = kernels_of(system).solve(times, states, values, by, options(method), never)
    assert_same(expected, kernels.solve(times, states, values, by, options(method), never), 1e-5)


def test_a_fit_on_the_gpu_ends_where_one_on_the_cpu_does() -> None:
    on_gpu = {"engine": "compiled", "device": "cuda"}
    found = fit(FitProblem.model_validate(decay_request(solver=on_gpu)))
    expected = fit(FitProblem.model_validate(decay_request()))
    assert (found.solver.engine, found.solver.device) == ("compiled", "cuda")
    assert found.loss == pytest.approx(expected.loss, rel=1e-6)


def test_a_batch_that_does_not_fit_the_memory_says_so() -> None:
    kernels, device = gpu_kernels_of(CATALOGUE["lotka-volterra"]), torch.device("cuda")
    count = 1 + torch.cuda.get_device_properties(device).total_memory // (8 * 14 * 100)
    states, values = torch.ones((count, 2), device=device).double(), torch.ones((count, 4), device=device).double()
    times = torch.linspace(0.0, 1.0, 101, dtype=torch.float64, device=device)[None]
    with pytest.raises(FitError) as refused:
        kernels.solve_on_device(
            times, states, values, DifferentiateBy((0, 1), (0, 1, 2, 3)), SolverOptions("auto", 1e-6, "auto", 1000)
        )
    assert refused.value.code == "out_of_gpu_memory"
