"""What a noise schedule is, and what the kinds share."""

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float

from genjax.typing import Array

LOWEST_LOG_SNR = -60.0
"""Stands for -inf, towards which nothing can be interpolated: alpha = exp(-30) is zero for every purpose, and its
reciprocal is still finite."""

_JUST_ABOVE_ZERO = 1e-30


@runtime_checkable
class Schedule(Protocol):
    """What predictions, samplers and losses know of a noise schedule.

    All four are elementwise in a time (or log-SNR) of any shape. ``log_snr = 2 log(alpha / sigma)`` falls
    strictly from inf at t = 0, where sigma is 0, and may reach -inf at t = 1, where alpha may be 0.
    """

    def log_snr(self, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """log(alpha(t)^2 / sigma(t)^2)."""
        ...

    def time(self, log_snr: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """The inverse of `log_snr`: the t in [0, 1] at which it has this value."""
        ...

    def alpha(self, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """The factor of the clean data."""
        ...

    def sigma(self, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """The standard deviation of the noise."""
        ...


class VariancePreserving:
    """alpha and sigma of the schedules with alpha^2 + sigma^2 = 1, which follow from the log-SNR alone.

    References:
        Kingma et al., "Variational Diffusion Models" (2021), equations 3 and 4.
    """

    def log_snr(self, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """See `Schedule.log_snr`."""
        raise NotImplementedError

    # Not sqrt(sigmoid(.)): the derivative of sqrt at 0 is inf, and inf * 0 is NaN where sigma or alpha
    # vanishes.
    def alpha(self, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """sqrt(sigmoid(log_snr)); exactly 1 at t = 0."""
        return jnp.exp(0.5 * jax.nn.log_sigmoid(self.log_snr(t)))

    def sigma(self, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """sqrt(sigmoid(-log_snr)); exactly 0 at t = 0."""
        return jnp.exp(0.5 * jax.nn.log_sigmoid(-self.log_snr(t)))


def safe_log(x: Array) -> Array:
    """log(x) for x >= 0 of any shape.

    Its derivative at 0 is 0 rather than inf, which the chain rule would turn into NaN.
    """
    positive = x > 0
    return jnp.where(positive, jnp.log(jnp.where(positive, x, 1)), -jnp.inf)


def after_jump(t: Array, log_snr: Array) -> Array:
    """The inverse of a log-SNR that jumps to inf at t = 0: a time above 0 for every finite log-SNR, in (0, 1].

    Rounding to 0 would take the least noise for none.

    Args:
        t: float[...], the inverse by its formula.
        log_snr: float[...], of the shape of t.
    """
    return jnp.where(log_snr < jnp.inf, jnp.clip(t, _JUST_ABOVE_ZERO, 1), 0)
