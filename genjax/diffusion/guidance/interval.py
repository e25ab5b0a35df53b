"""Guidance at some noise levels only."""

from collections.abc import Callable

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float

from genjax.diffusion.guidance.base import Scale, at
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array


def interval(
    schedule: Schedule,
    scale: Scale,
    low: Float[ArrayLike, ""] | Float[ArrayLike, "B"] = 0.0,
    high: Float[ArrayLike, ""] | Float[ArrayLike, "B"] = jnp.inf,
    outside: Scale = 1.0,
) -> Callable[[Array], Array]:
    """A scale that applies where the noise level sigma / alpha is in (low, high].

    At high noise guidance costs variety, at low noise it costs time and changes nothing: outside of the interval
    `classifier_free` does not evaluate the unconditional denoiser.

    Args:
        schedule: turns times into noise levels.
        scale: inside of the interval.
        low: noise level in the units of data with alpha = 1 (the sigma of EDM), at least 0.
        high: the same, inf for no bound.
        outside: the scale elsewhere. 1 leaves the conditional denoiser; guidances that add a gradient need 0.

    Returns:
        A function of the time, scalar or [B], for any argument `scale`.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import guidance, grids, schedules
        >>> schedule = schedules.edm()
        >>> times = grids.of_sigmas(jnp.array([10.0, 1.0, 0.1]), schedule)[:3]
        >>> scale = guidance.interval(schedule, scale=4.0, low=0.2, high=5.0)
        >>> [float(scale(t)) for t in times]
        [1.0, 4.0, 1.0]

    References:
        Kynkäänniemi et al., "Applying Guidance in a Limited Interval Improves Sample and Distribution
        Quality in Diffusion Models" (2024), section 3.
    """

    def scale_at(t: Float[ArrayLike, ""] | Float[ArrayLike, "B"]) -> Array:
        # In log-SNR, since the noise level may be infinite.
        log_snr = schedule.log_snr(t)
        inside = (log_snr < -2 * jnp.log(low)) & (log_snr >= -2 * jnp.log(high))
        return jnp.where(inside, at(scale, t), at(outside, t))

    return scale_at
