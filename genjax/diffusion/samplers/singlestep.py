"""Exponential Runge-Kutta methods whose inner stages are the grid points: blocks of one, two or three steps.

A step of order 2 or 3 starts anew from the beginning of its block and uses the estimates made in the block, the
one at its own t included. So there is one evaluation a step, as in a multistep method, and no memory from block to
block.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Int

from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.samplers.base import Sampler, count_steps, half_log_snr
from genjax.diffusion.samplers.exponential import (
    NOISE,
    Estimate,
    Variable,
    advance,
    apart,
    estimate,
    integrals,
    moderate,
    moment,
    previous_lambda,
)
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array


class Block(NamedTuple):
    """What a singlestep method remembers.

    Attributes:
        step: int[], the number of steps done.
        times: [K+1].
        first: the estimate at the beginning of the block.
        previous: the estimated data (or noise) of the step before.
    """

    step: Array
    times: Array
    first: Estimate
    previous: Array


def block_order(
    i: Int[Array, "*batch"], num_steps: Array, order: int, lower_order_final: bool
) -> Int[Array, "*batch"]:
    """The order of step i: 1, ..., `order`, again and again; what does not fill a block has a lower order.

    Args:
        i: number of the step, from 0 on.
        num_steps: of the whole grid.
        order: the highest order.
        lower_order_final: the last step has order 1, or, where this leaves whole blocks of three, the last two
            have order 1 and 2.

    References:
        Lu et al., "DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling" (2022), section 3.4
        (`DPM-Solver-fast`), for order 3.
    """
    last = jnp.where((order == 3) & (num_steps % 3 == 2), 2, 1) if lower_order_final else 0
    in_blocks = num_steps - last
    return jnp.where(i < in_blocks, i % order, i - in_blocks) + 1


def singlestep(
    order: int,
    variable: Variable,
    solver_type: str,
    lower_order_final: bool,
    eta: ArrayLike | None = None,
) -> Sampler:
    """See the module's docstring; a step to s = 0 has order 1.

    Args:
        order: 1, 2 or 3.
        variable: `DATA` or `NOISE`.
        solver_type: "midpoint": the end of the block uses its first and its latest estimate only; "heun": it
            uses all.
        lower_order_final: see `block_order`.
        eta: noise of the reverse SDE, for `DATA`, a scalar or one for each example; None for the ODE.

    References:
        Lu et al., "DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling" (2022), algorithms 1 and
        2; Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models" (2022),
        algorithm 1.
    """

    def weights(k: Array, nodes: Sequence[Array], order: Array) -> list[Array]:
        exact = integrals(k, nodes)
        if solver_type == "heun" or not exact:
            return exact
        return [jnp.where(order == 2, 0.5 * moment(0, k), exact[0]), *(0 * w for w in exact[1:])]

    def init(x_T: Array, times: Array) -> Block:
        zeros = jnp.zeros_like(x_T)
        return Block(jnp.zeros((), jnp.int32), jnp.asarray(times), Estimate(zeros, zeros), zeros)

    def step(
        keys: Array, carry: Block, x: Array, t: Array, s: Array, denoise: Denoiser, schedule: Schedule
    ) -> tuple[Block, Array]:
        i, times, first, previous = carry
        now = estimate(x, t, denoise, schedule)
        order_i = block_order(i, count_steps(times), order, lower_order_final)
        lambda_t, lambda_s = half_log_snr(schedule, t), half_log_snr(schedule, s)
        lambda_first = previous_lambda(schedule, times, i - order_i + 1)
        useful = schedule.sigma(s) > 0
        if variable is NOISE:
            useful &= moderate(lambda_s - lambda_first)
        order_i = jnp.where(useful, order_i, 1)

        # A step of order 1 begins a block, also where the list of orders does not say so.
        lambda_first = jnp.where(order_i == 1, lambda_t, lambda_first)
        first = jax.tree.map(lambda old, new: jnp.where(order_i == 1, new, old), first, now)
        h = apart(lambda_s - lambda_first)
        stages = [lambda_first, lambda_t, previous_lambda(schedule, times, i - 1)][:order]
        nodes = [(stage - lambda_first) / h for stage in stages]
        values = (variable.of(first), variable.of(now), previous)[:order]
        x_s = advance(first, h, s, schedule, variable, weights, nodes, values, order_i, eta, keys)
        return Block(i + 1, times, first, variable.of(now)), x_s.astype(x.dtype)

    return Sampler(init, step)
