"""What the guidances share: the scale, and the weight of a score."""

from collections.abc import Callable
from typing import TypeAlias

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float

from genjax.diffusion.schedules import Schedule
from genjax.diffusion.schedules.base import LOWEST_LOG_SNR
from genjax.typing import Array

Scale: TypeAlias = ArrayLike | Callable[[Array], ArrayLike]
"""How strongly to guide: a scalar, one for each example [B], or a function of the time that gives either."""


def at(scale: Scale, t: ArrayLike) -> Array:
    """The scale at time t, scalar or [B]: float[] or float[B]."""
    return jnp.asarray(scale(jnp.asarray(t)) if callable(scale) else scale)


def per_score(schedule: Schedule, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
    """sigma^2 / alpha: how far x0_hat moves for what is added to the score. 0 where alpha is.

    There x_t says nothing of the data, so that the score of p(y | x_t) is 0, and 0 * inf would be NaN.

    References:
        Efron, "Tweedie's Formula and Selection Bias" (2011): x0_hat = (x_t + sigma^2 score) / alpha.
    """
    alpha = schedule.alpha(t)
    visible = says_something(schedule, t)
    return jnp.where(visible, schedule.sigma(t) ** 2 / jnp.where(visible, alpha, 1), 0)


def says_something(schedule: Schedule, t: Float[ArrayLike, "*batch"]) -> Array:
    """Whether anything of the data is left in x_t: bool, False where alpha is 0 (or stands for it)."""
    return schedule.log_snr(t) > LOWEST_LOG_SNR + 1


def inner(a: Float[Array, "B *shape"], b: Float[Array, "B *shape"]) -> Float[Array, "B *ones"]:
    """The inner product of the two arrays of each example: [B, 1, ..., 1]."""
    return jnp.sum(a * b, axis=tuple(range(1, a.ndim)), keepdims=True)
