"""The forward process of a schedule: q(x_t | x_0), and its reversal q(x_s | x_t, x_0) for s < t.

Everything holds for any alpha and sigma (variance preserving or exploding, flow paths), from t = 1 down to
s = 0. Nothing subtracts nearly equal numbers: what would be lost in ``sigma_t^2 - alpha_{t|s}^2 sigma_s^2``
is kept by expm1 of a difference of log-SNRs.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float

from genjax.diffusion.schedules import Schedule
from genjax.typing import Array


class Gaussian(NamedTuple):
    """A normal distribution with independent components.

    Attributes:
        mean: float[B, ...].
        variance: broadcasts against `mean`.
    """

    mean: Array
    variance: Array


def expand(coefficient: ArrayLike, x: Float[Array, "*shape"]) -> Array:
    """Appends axes to a coefficient (scalar, [B], or as many axes as x) so that it broadcasts against x.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import process
        >>> images = jnp.ones((2, 1, 3, 1))
        >>> (process.expand(jnp.array([1.0, 0.5]), images) * images).squeeze()  # one factor for each image
        Array([[1. , 1. , 1. ],
               [0.5, 0.5, 0.5]], dtype=float32)
    """
    coefficient = jnp.asarray(coefficient)
    return coefficient.reshape(coefficient.shape + (1,) * (x.ndim - coefficient.ndim))


def add_noise(
    schedule: Schedule,
    x_0: Float[Array, "B *shape"],
    noise: Float[Array, "B *shape"],
    t: Float[ArrayLike, ""] | Float[ArrayLike, "B"],
) -> Float[Array, "B *shape"]:
    """A draw of q(x_t | x_0), given a standard normal `noise`: ``alpha(t) x_0 + sigma(t) noise``.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import add_noise, schedules
        >>> x_0, noise = jnp.ones((2, 3)), -jnp.ones((2, 3))
        >>> add_noise(schedules.flow(), x_0, noise, jnp.array([0.25, 1.0]))  # a time for each example
        Array([[ 0.5,  0.5,  0.5],
               [-1. , -1. , -1. ]], dtype=float32)

    References:
        Ho et al., "Denoising Diffusion Probabilistic Models" (2020), equation 4.
    """
    return expand(schedule.alpha(t), x_0) * x_0 + expand(schedule.sigma(t), x_0) * noise


def noise_added(
    schedule: Schedule, t: Float[ArrayLike, "*batch"], s: Float[ArrayLike, "*batch"]
) -> Float[Array, "*batch"]:
    """The fraction, in [0, 1], of the noise variance of x_t that was added between s and t.

    It is ``sigma_{t|s}^2 / sigma_t^2 = 1 - SNR(t) / SNR(s)``, and 1 at s = 0.

    Example:
        >>> from genjax.diffusion import process, schedules
        >>> added = process.noise_added(schedules.flow(), 0.75, 0.5)  # SNR(0.75) = 1/9, SNR(0.5) = 1
        >>> print(f"{added:.3f}")
        0.889

    References:
        Kingma et al., "Variational Diffusion Models" (2021), appendix A.4.
    """
    return -jnp.expm1(schedule.log_snr(t) - schedule.log_snr(s))


def posterior(
    schedule: Schedule,
    x_t: Float[Array, "B *shape"],
    x_0: Float[Array, "B *shape"],
    t: Float[ArrayLike, ""] | Float[ArrayLike, "B"],
    s: Float[ArrayLike, ""] | Float[ArrayLike, "B"],
) -> Gaussian:
    """q(x_s | x_t, x_0) for s < t: where x_t came from, were the clean x_0 known.

    Returns:
        Its mean, float[B, ...], and its variance, the same for all components of an example. At s = 0 it is
        all at x_0.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import posterior, schedules
        >>> x_t, x_0 = jnp.array([[0.6]]), jnp.array([[0.0]])
        >>> mean, variance = posterior(schedules.flow(), x_t, x_0, t=0.5, s=0.25)
        >>> print(f"{mean.item():.3f} {variance.item():.3f}")
        0.100 0.056

    References:
        Ho et al., "Denoising Diffusion Probabilistic Models" (2020), equations 6 and 7, there for adjacent
        steps; Kingma et al., "Variational Diffusion Models" (2021), appendix A.4, for any pair.
    """
    added = noise_added(schedule, t, s)
    alpha_s, sigma_s, sigma_t = schedule.alpha(s), schedule.sigma(s), schedule.sigma(t)
    from_x_t = schedule.alpha(t) / alpha_s * (sigma_s / sigma_t) ** 2  # alpha(t), unlike alpha(s), may be 0
    mean = expand(from_x_t, x_t) * x_t + expand(alpha_s * added, x_0) * x_0
    return Gaussian(mean, expand(added * sigma_s**2, x_t))
