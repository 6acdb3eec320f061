"""diffrax, compiled by XLA: gradients by forward and reverse differentiation. Its steps are chosen for the states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optimistix

from bench.peers.equations import right_hand_side
from bench.systems import Problem, Reals

MAX_STEPS = 100_000
FIT_STEPS = 1_000  # many times what a good point takes; under `vmap` all members wait for one that takes more
REVERSE_STEPS = 10_000  # its checkpoints cost more, the more steps there may be
jax.config.update("jax_enable_x64", True)


def gradients(problem: Problem, rtol: float, atol: float) -> dict[str, Callable[[], tuple[float, Reals]]]:
    """Tsit5 or, for a stiff problem, Kvaerno5; forward alone there, as reverse takes minutes to compile and run."""
    method = diffrax.Kvaerno5() if problem.stiff else diffrax.Tsit5()
    data, p = jnp.asarray(problem.data), len(problem.parameters)

    def loss(x: Any, adjoint: Any, steps: int) -> Any:
        states = _states(problem, method, rtol, atol, x[p:], x[:p], adjoint, steps)
        return jnp.sum((states - data) ** 2)

    def forward(x: Any) -> Any:
        tangents = jnp.eye(len(x))
        one = lambda v: jax.jvp(lambda x: loss(x, diffrax.ForwardMode(), MAX_STEPS), (x,), (v,))  # noqa: E731
        value, along = jax.vmap(one)(tangents)
        return value[0], along

    reverse = jax.value_and_grad(lambda x: loss(x, diffrax.RecursiveCheckpointAdjoint(), REVERSE_STEPS))
    point = jnp.asarray(np.concatenate([problem.parameters, problem.initial_state]))
    ways = {"diffrax forward": _called(forward, point)}
    if not problem.stiff:
        ways["diffrax reverse"] = _called(reverse, point)
    return ways


def batched_gradient(problem: Problem, rtol: float, atol: float, points: Reals) -> Callable[[], Any]:
    """The losses and gradients of all points, (B, p + n), by forward differentiation and Tsit5 under `vmap`."""
    data, p = jnp.asarray(problem.data), len(problem.parameters)

    def one(x: Any) -> Any:
        def loss(x: Any) -> Any:
            states = _states(problem, diffrax.Tsit5(), rtol, atol, x[p:], x[:p], diffrax.ForwardMode(), MAX_STEPS)
            return jnp.sum((states - data) ** 2)

        return jax.vmap(lambda v: jax.jvp(loss, (x,), (v,)))(jnp.eye(len(x)))

    run, given = jax.jit(jax.vmap(one)), jnp.asarray(points)
    return lambda: jax.block_until_ready(run(given))


def batched_fits(problem: Problem, rtol: float, atol: float, data: Reals, guesses: Reals) -> Callable[[], Reals]:
    """The losses of fits by optimistix's Levenberg–Marquardt under `vmap`. data: (B, T, n); guesses: (B, p + n)."""
    p = len(problem.parameters)

    def residuals(x: Any, measured: Any) -> Any:
        states = _states(problem, diffrax.Tsit5(), rtol, atol, x[p:], x[:p], diffrax.ForwardMode(), FIT_STEPS)
        return (states - measured).ravel()

    method = optimistix.LevenbergMarquardt(rtol=1e-6, atol=1e-9)

    def one(measured: Any, guess: Any) -> Any:
        found = optimistix.least_squares(residuals, method, guess, measured, {"jac": "fwd"}, max_steps=200, throw=False)
        return jnp.sum(residuals(found.value, measured) ** 2)

    run, given = jax.jit(jax.vmap(one)), (jnp.asarray(data), jnp.asarray(guesses))
    return lambda: np.asarray(run(*given))


def solves(problem: Problem) -> dict[str, Callable[[float], Reals]]:
    """The states alone, at a relative tolerance."""
    methods: dict[str, Any] = {"Tsit5": diffrax.Tsit5(), "Dopri8": diffrax.Dopri8()}
    if problem.stiff:
        methods = {"Kvaerno5": diffrax.Kvaerno5()}
    return {f"diffrax {name}": _solve(problem, method) for name, method in methods.items()}


def _solve(problem: Problem, method: Any) -> Callable[[float], Reals]:
    start, parameters = jnp.asarray(problem.initial_state), jnp.asarray(problem.parameters)

    @jax.jit
    def states(rtol: Any) -> Any:
        atol = rtol * problem.smallest
        return _states(problem, method, rtol, atol, start, parameters, diffrax.ForwardMode(), MAX_STEPS)

    def solve(rtol: float) -> Reals:
        found = np.asarray(states(rtol))
        if not np.isfinite(found).all():  # how diffrax without its own errors says that it could not
            raise RuntimeError("diffrax did not reach the end")
        return found

    return solve


def _states(
    problem: Problem, method: Any, rtol: float, atol: float, start: Any, parameters: Any, adjoint: Any, steps: int
) -> Any:
    f = right_hand_side(problem.system, jnp)
    return diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, q: jnp.stack(f(t, y, q))),
        method,
        problem.times[0],
        problem.times[-1],
        None,
        start,
        args=parameters,
        saveat=diffrax.SaveAt(ts=jnp.asarray(problem.times)),
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
        adjoint=adjoint,
        max_steps=steps,
        throw=False,
    ).ys


def _called(function: Any, point: Any) -> Callable[[], tuple[float, Reals]]:
    compiled = jax.jit(function)

    def gradient() -> tuple[float, Reals]:
        value, along = compiled(point)
        return float(value), np.asarray(along)

    return gradient
