"""UniPC: a multistep predictor, corrected once the next evaluation is there."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp

from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.samplers.base import Sampler, count_steps, half_log_snr
from genjax.diffusion.samplers.exponential import (
    DATA,
    NOISE,
    Estimate,
    Variable,
    apart,
    check_choice,
    estimate,
    first_order,
    higher_order,
    integrals,
    moderate,
    moment,
    previous_lambda,
)
from genjax.diffusion.samplers.multistep import order_of_step
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array

_VARIABLES: dict[str, Variable] = {"data": DATA, "noise": NOISE}


class Corrected(NamedTuple):
    """What UniPC remembers.

    Attributes:
        step: int[], the number of steps done.
        times: [K+1].
        last: the estimate at the time before, for the corrected state.
        values: the estimated data (or noise) at the times before that, the latest first.
    """

    step: Array
    times: Array
    last: Estimate
    values: tuple[Array, ...]


def unipc(
    order: int = 3,
    variant: str = "bh2",
    predict: str = "data",
    corrector: bool = True,
    lower_order_final: bool = True,
) -> Sampler:
    """UniP-p and UniC-p, p = `order`, with one evaluation a step. Order p + 1, without the corrector p.

    The evaluation at t corrects the step that led to t, and then serves in the step from t, so that the states of the
    trajectory are uncorrected ones, the last one included.

    Args:
        order: 1, 2 or 3.
        variant: "bh1" (B(h) = h) or "bh2" (B(h) = e^h - 1). It matters only where the polynomial is a line: in UniP-2
            and UniC-1.
        predict: "data" or "noise": what is a polynomial. For the noise, and with "bh1", steps of more than 4.5 in
            lambda, as from where alpha is 0, are not corrected.
        corrector: False for UniP alone.
        lower_order_final: whether the order falls to 1 in the last steps; a step to s = 0 always has order 1.

    Raises:
        UserError: if `order`, `variant` or `predict` is not one of these.

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, sample, samplers, schedules
        >>> keys, x_T, schedule = jax.random.key(0)[None], jax.numpy.ones((1, 1)), schedules.shifted_cosine()
        >>> denoise = lambda x_t, t: schedule.alpha(t) * x_t  # of data from N(0, 1), for which x_0 is x_T
        >>> for sampler in (samplers.unipc(order=2), samplers.unipc(order=2, corrector=False)):
        ...     print(f"{sample(keys, x_T, grids.linspace(8), denoise, sampler, schedule).item():.3f}")
        1.001
        0.961

    References:
        Zhao et al., "UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion Models" (2023),
        theorem 3.1, algorithms 5 to 8, and appendix F (the line's coefficient of 1/2).
    """
    check_choice("order", order, (1, 2, 3))
    check_choice("variant", variant, ("bh1", "bh2"))
    check_choice("predict", predict, tuple(_VARIABLES))
    variable = _VARIABLES[predict]

    def weights(k: Array, nodes: Sequence[Array], order: Array) -> list[Array]:
        exact = integrals(k, nodes)
        half = 0.5 * (k if variant == "bh1" else moment(0, k))
        return [jnp.where(order == 2, half, w) if n == 0 else w for n, w in enumerate(exact)]

    def init(x_T: Array, times: Array) -> Corrected:
        zeros = jnp.zeros_like(x_T)
        step = jnp.zeros((), jnp.int32)
        return Corrected(step, jnp.asarray(times), Estimate(zeros, zeros), (zeros,) * (order - 1))

    def advance(
        start: Estimate,
        values: tuple[Array, ...],
        lambdas: list[Array],
        s: Array,
        order_i: Array,
        schedule: Schedule,
    ) -> Array:
        """To s, by the polynomial through the values at the lambdas, the first one at the start."""
        h = apart(half_log_snr(schedule, s) - lambdas[0])
        nodes = [(lambda_ - lambdas[0]) / h for lambda_ in lambdas]
        added = higher_order(weights, variable.sign * h, nodes, values, order_i)
        return first_order(start, s, schedule) + variable.scale(schedule, s) * added

    def step(
        keys: Array, carry: Corrected, x: Array, t: Array, s: Array, denoise: Denoiser, schedule: Schedule
    ) -> tuple[Corrected, Array]:
        del keys
        i, times, last, values = carry
        now, num_steps = estimate(x, t, denoise, schedule), count_steps(times)
        lambdas = [half_log_snr(schedule, t)]
        lambdas += [previous_lambda(schedule, times, i - j) for j in range(1, order + 1)]
        before = variable.of(last)
        if corrector:
            # The new node comes second: so UniC-p uses the first p + 1 of these.
            order_before = order_of_step(i - 1, num_steps, order, lower_order_final)
            x_corrected = advance(
                last,
                (before, variable.of(now), *values),
                [lambdas[1], lambdas[0], *lambdas[2:]],
                t,
                order_before + 1,
                schedule,
            )
            useful = i > 0
            if variable is NOISE or variant == "bh1":
                useful &= moderate(lambdas[0] - lambdas[1])
            now = _replace_state(
                now, jnp.where(useful, x_corrected - x, 0).astype(x.dtype), t, variable, schedule
            )

        order_i = order_of_step(i, num_steps, order, lower_order_final)
        order_i = jnp.where(schedule.sigma(s) > 0, order_i, 1)
        x_s = advance(now, (variable.of(now), before, *values)[:order], lambdas[:order], s, order_i, schedule)
        carry = Corrected(i + 1, times, now, (before, *values)[: order - 1])
        return carry, x_s.astype(x.dtype)

    return Sampler(init, step)


def _replace_state(
    now: Estimate, change: Array, t: Array, variable: Variable, schedule: Schedule
) -> Estimate:
    """The estimate for x + change of which the variable is as it was, and the other follows."""
    if variable is DATA:
        return Estimate(now.x0, (now.noise + change / schedule.sigma(t)).astype(change.dtype))
    alpha = schedule.alpha(t)
    return Estimate((now.x0 + change / jnp.where(alpha > 0, alpha, 1)).astype(change.dtype), now.noise)
