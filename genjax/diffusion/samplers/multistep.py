"""Exponential Adams-Bashforth methods: a polynomial through the estimates of the last steps."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike

from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.samplers.base import Sampler, count_steps, half_log_snr
from genjax.diffusion.samplers.exponential import (
    Variable,
    Weights,
    advance,
    apart,
    estimate,
    integrals,
    moment,
    previous_lambda,
)
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array

_FEW_STEPS = 15  # with fewer, `lower_order_final` has an effect


class History(NamedTuple):
    """What a multistep method remembers.

    Attributes:
        step: int[], the number of steps done.
        times: [K+1].
        values: the estimates at the times before, the latest first; zeros where there is none yet.
    """

    step: Array
    times: Array
    values: tuple[Array, ...]


def dpm_weights(solver_type: str) -> Weights:
    """The weights of DPM-Solver's multistep methods.

    The second difference counts half of what the quadratic polynomial asks for in its u^2, as in the authors' code and
    in the codes that follow it. So order 3 is not reached (see `dpm_solver_multistep`).

    Returns:
        ``(k, nodes, order int[]) -> weights``, each of the shape of k.

    References:
        Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models" (2022), reference
        code.
    """

    def weights(k: Array, nodes: Sequence[Array], order: Array) -> list[Array]:
        exact = integrals(k, nodes)
        if solver_type == "midpoint" and exact:
            exact[0] = jnp.where(order == 2, 0.5 * moment(0, k), exact[0])
        return [w - 0.5 * moment(2, k) if n == 1 else w for n, w in enumerate(exact)]

    return weights


def order_of_step(i: Array, num_steps: Array, order: int, lower_order_final: Array | bool) -> Array:
    """Of step i, int[]: as many as there are estimates and, if so asked, 2 and 1 in the last two steps."""
    order_i = jnp.minimum(order, i + 1)
    return jnp.where(lower_order_final, jnp.minimum(order_i, num_steps - i), order_i)


def multistep(
    order: int,
    variable: Variable,
    weights: Weights,
    lower_order_final: bool,
    eta: ArrayLike | None = None,
    euler_at_final: bool = False,
) -> Sampler:
    """One evaluation a step; the first steps are of order 1, 2, ..., the step to s = 0 of order 1.

    Args:
        order: the highest order.
        variable: `DATA` or `NOISE`.
        weights: the factors of the divided differences.
        lower_order_final: whether, if there are fewer than 15 steps, the last two are of order 2 and 1.
        eta: noise of the reverse SDE, a scalar or one for each example; None for the ODE.
        euler_at_final: whether the last step is of order 1, wherever it ends.
    """

    def init(x_T: Array, times: Array) -> History:
        return History(jnp.zeros((), jnp.int32), jnp.asarray(times), (jnp.zeros_like(x_T),) * (order - 1))

    def step(
        keys: Array, carry: History, x: Array, t: Array, s: Array, denoise: Denoiser, schedule: Schedule
    ) -> tuple[History, Array]:
        i, times, previous = carry
        now = estimate(x, t, denoise, schedule)
        values = (variable.of(now), *previous)
        lambda_t, num_steps = half_log_snr(schedule, t), count_steps(times)
        h = apart(half_log_snr(schedule, s) - lambda_t)
        nodes = [(previous_lambda(schedule, times, i - j) - lambda_t) / h for j in range(order)]
        order_i = order_of_step(i, num_steps, order, lower_order_final & (num_steps < _FEW_STEPS))
        is_euler = (schedule.sigma(s) == 0) | (euler_at_final & (i == num_steps - 1))
        order_i = jnp.where(is_euler, 1, order_i)
        x_s = advance(now, h, s, schedule, variable, weights, nodes, values, order_i, eta, keys)
        return History(i + 1, times, values[: order - 1]), x_s.astype(x.dtype)

    return Sampler(init, step)
