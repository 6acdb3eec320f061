"""docs/how-to-add-a-method.md leaves nothing out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.how_to.following import follow

# x = cos t, and the derivative of its trajectory by w at w = 1 is -t·sin t. More steps come with tighter tolerances.
SOLVE = """
import json
import torch
from odelib import ODELayer

definition = {"states": ["x", "v"], "parameters": ["w"], "equations": {"x": "w*v", "v": "-w*x"}}
times, start = torch.linspace(0, 6, 25), torch.tensor([1.0, 0.0])
found = []
for rtol in (1e-4, 1e-6, 1e-8):
    layer = ODELayer(definition, method="bs32", rtol=rtol, atol=rtol)
    solution = layer.sensitivities(times, start, torch.ones(1))
    found.append([times.tolist(), solution.states[:, 0].tolist(), solution.by_parameters[:, 0, 0].tolist()])
print(json.dumps({"engine": layer.engine.name, "used": layer.engine.methods_used, "found": found}))
"""


def test_adding_a_method_takes_three_files(tmp_path: Path) -> None:
    copy = follow("how-to-add-a-method.md", tmp_path)
    assert copy.code_files == [
        "odelib/engines/tableaus/bs32.py",
        "odelib/engines/tableaus/registry.py",
        "odelib/problem/solver.py",
    ]
    copy.run("-m", "ruff", "check", *copy.code_files)

    answer = json.loads(copy.run_python(SOLVE))
    assert (answer["engine"], answer["used"]) == ("compiled", ["bs32"])
    for tolerance, (times, x, by_w) in zip((1e-4, 1e-6, 1e-8), np.array(answer["found"]), strict=True):
        np.testing.assert_allclose(x, np.cos(times), atol=30 * tolerance)
        np.testing.assert_allclose(by_w, -times * np.sin(times), atol=100 * tolerance)

    # the conditions and the convergence of its order, and how its errors follow the tolerance
    tests = [f"tests/odelib/engines/test_{name}.py" for name in ("tableaus", "registry", "tolerance")]
    copy.run("-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, "-k", "(bs32 and not scipys) or described")
