"""Classifier guidance."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float

from genjax.diffusion.guidance.base import Scale, at, per_score
from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.process import expand
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array


def classifier(
    denoise: Denoiser,
    log_probability: Callable[[Array, Array], Array],
    schedule: Schedule,
    scale: Scale = 1.0,
) -> Denoiser:
    """Towards y, by a classifier of noisy examples: ``x0_hat + scale sigma^2 / alpha grad log p(y | x_t)``.

    The noise is then ``eps_hat - scale sigma grad log p(y | x_t)``. With exact denoiser and classifier, scale
    1 is the exact denoiser of p(x_0 | y). Where alpha is 0 there is no guidance; where it is nearly 0, the
    classifier's errors are magnified: `clip` bounds what comes of it.

    Args:
        log_probability: ``(x_t [B, ...], t scalar or [B]) -> log p(y | x_t) [B]``, with y closed over. A
            constant may be missing. No example may depend on another.
        scale: 0 is `denoise`.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import guidance, schedules
        >>> log_probability = lambda x_t, t: 2 * x_t.sum(1)  # its gradient is 2
        >>> guided = guidance.classifier(lambda x_t, t: x_t, log_probability, schedules.flow(), scale=3.0)
        >>> guided(jnp.zeros((1, 2)), jnp.array(0.5))  # sigma^2 / alpha = 0.5
        Array([[3., 3.]], dtype=float32)

    References:
        Dhariwal and Nichol, "Diffusion Models Beat GANs on Image Synthesis" (2021), equation 14 and
        algorithm 2.
    """

    def guided(x_t: Float[Array, "B *shape"], t: Array) -> Float[Array, "B *shape"]:
        estimate = denoise(x_t, t)
        gradient = jax.grad(lambda x: jnp.sum(log_probability(x, t)))(x_t)
        step = expand(at(scale, t) * per_score(schedule, t), x_t)
        return (estimate + step * gradient).astype(estimate.dtype)

    return guided
