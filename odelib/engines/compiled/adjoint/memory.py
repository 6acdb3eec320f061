"""What the way back is computed in, and the product of a derivative of the loss with the Jacobians of the rates."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from odelib.engines.compiled.adjoint.jit import inline_kernel
from odelib.engines.compiled.primitives import call_kernel
from odelib.engines.compiled.simd import address, store_scalar

# Of a thread. back, jacobian: addresses of the kernels `pull_back` and `jacobian`; column_of, work: of their memory;
# n, size: states, and padded. Then arrays, in which a bar means a derivative of the loss. state_bar, carry (size,): of
# the state at a step's end, and of the rate there as the next step's first stage. total (size,): of the state at its
# start. bars (MOST, size): of the stages. argument, product (size,): where `pull_back` is called, and the derivative by
# a stage's argument. weights, right (n,), matrix (n, n), pivots (n,): of the implicit method.
Memory = namedtuple(
    "Memory",
    "back jacobian column_of work n size state_bar carry total bars argument product weights right matrix pivots",
)
# Of a member. q: address of its values; times, states, outputs_bar: of its outputs (T,), (T, n), (T, n); gradient:
# (size + p,), of which the first numbers are where `pull_back` writes; atol (n,), rtol.
Member = namedtuple("Member", "q times states outputs_bar gradient atol rtol")


@inline_kernel
def pull_back(memory: Any, member: Any, t: float, bar: Any) -> None:
    """bar·∂f/∂y at the `argument`, to the start of `gradient`; adds bar·∂f/∂p to what follows."""
    m = memory
    for i in range(m.n):
        store_scalar(m.work, i, bar[i])
    call_kernel(
        m.back, t, address(m.argument), member.q, 0, m.column_of, m.work, address(member.gradient)
    )  # fmt: skip


@inline_kernel
def is_zero(bar: Any, n: int) -> bool:
    """Whether the first n numbers are all 0."""
    for i in range(n):  # noqa: SIM110  Numba compiles no `all` of a generator
        if bar[i] != 0.0:
            return False
    return True
