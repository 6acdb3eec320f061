"""diffrax's Dopri5 for the cases of `bench.neural`, compiled by XLA, with its recursive checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from bench.peers.neural_torchdiffeq import _scaling
from bench.systems import Reals

STEPS = 1024  # its checkpoints cost more, the more steps there may be
jax.config.update("jax_enable_x64", True)


def _spiral(case: Any) -> Callable[..., Any]:
    network = case.system.perceptrons[0]
    pairs = [_scaling(case.system.definitions[name].text) for name in network.inputs]
    offset, scale = (jnp.array(each) for each in zip(*pairs, strict=True))
    matrix, out = jnp.array([[-0.1, 2.0], [-2.0, -0.1]]), jnp.array(network.scale)
    widths = list(pairwise(network.widths))

    def f(t: Any, x: Any, q: Any) -> Any:
        h, first = (x - offset) / scale, 0
        for number, (before, units) in enumerate(widths):
            size = before * units
            h = q[first : first + size].reshape(units, before) @ h + q[first + size : first + size + units]
            h = jnp.tanh(h) if number < len(widths) - 1 else h
            first += size + units
        return matrix @ x + out * h

    return f


def _species(case: Any) -> Callable[..., Any]:
    n = len(case.state)
    return lambda t, x, q: x * (q[:n] + q[n:].reshape(n, n) @ x)


def gradients(case: Any, times: Reals, rtol: float, atol: float) -> dict[str, Callable[[], Reals]]:
    """By initial values, then by parameters."""
    term = diffrax.ODETerm(_spiral(case) if case.hidden else _species(case))
    data, saved, n = jnp.asarray(case.data), diffrax.SaveAt(ts=jnp.asarray(times)), len(case.state)

    def loss(unknowns: Any) -> Any:
        solution = diffrax.diffeqsolve(
            term, diffrax.Dopri5(), times[0], times[-1], None, unknowns[:n], unknowns[n:], saveat=saved,
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol), max_steps=STEPS,
            adjoint=diffrax.RecursiveCheckpointAdjoint(),
        )  # fmt: skip
        return jnp.mean((solution.ys - data) ** 2)

    run, point = jax.jit(jax.grad(loss)), jnp.asarray(np.concatenate([case.state, case.parameters]))
    return {"diffrax": lambda: np.asarray(run(point))}
