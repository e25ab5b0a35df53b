"""Diffusion posterior sampling (DPS)."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float

from genjax.diffusion.guidance.base import Scale, at, inner, per_score
from genjax.diffusion.guidance.operators import Operator, residual
from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.process import expand
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array


def dps(
    denoise: Denoiser,
    schedule: Schedule,
    operator: Operator,
    measurement: Float[ArrayLike, "..."],
    scale: Scale = 1.0,
) -> Denoiser:
    """Down the distance to the measurement: the score of p(y | x_t) is ``-scale grad |y - A x0_hat(x_t)|``.

    The gradient goes through the denoiser, at about three times its cost. The paper subtracts zeta times this
    gradient from the state after each DDPM step (zeta is twice its zeta'). Here it is a score, so that any
    sampler can follow it: a DDPM step subtracts ``scale sigma_t^2 noise_added(t, s) alpha_s / alpha_t`` times
    the gradient, which is ``scale beta / sqrt(1 - beta)`` for a step of a discrete schedule. Hence a scale
    far above the paper's, which a scale that is a function of the time can reproduce.

    Args:
        operator: A, any differentiable function of a batch, linear or not, that treats each example by
            itself.
        measurement: y, broadcasts to the shape of A x_t.
        scale: 0 is `denoise`.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import guidance, schedules
        >>> guided = guidance.dps(lambda x_t, t: x_t, schedules.flow(), lambda x: x, measurement=0.0)
        >>> print(*(f"{x:.2f}" for x in guided(jnp.array([[3.0, 4.0]]), jnp.array(0.5))[0]))  # 0.5 nearer
        2.70 3.60

    References:
        Chung et al., "Diffusion Posterior Sampling for General Noisy Inverse Problems" (2023), theorem 1 and
        algorithm 1.
    """

    def guided(x_t: Float[Array, "B *shape"], t: Array) -> Float[Array, "B *shape"]:
        def distances(x: Array) -> tuple[Array, Array]:
            estimate = denoise(x, t)
            rest = residual(operator, measurement, estimate)
            square = inner(rest, rest)
            distance = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
            return jnp.sum(distance), estimate

        gradient, estimate = jax.grad(distances, has_aux=True)(x_t)
        step = expand(at(scale, t) * per_score(schedule, t), x_t)
        return (estimate - step * gradient).astype(estimate.dtype)

    return guided
