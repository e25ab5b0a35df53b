"""Diagonal normal distributions: draws, log-densities and divergences, in nats."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Key

from genjax.typing import Array


class Gaussian(NamedTuple):
    """A normal distribution with independent components.

    Attributes:
        mean: float[B, ...].
        log_variance: float[B, ...], of the same shape.
    """

    mean: Array
    log_variance: Array


def standard(shape: tuple[int, ...], dtype: jnp.dtype | None = None) -> Gaussian:
    """Mean 0 and variance 1, that is, log-variance 0.

    Example:
        >>> from genjax.losses import gaussian
        >>> gaussian.standard((1, 2)).log_variance
        Array([[0., 0.]], dtype=float32)
    """
    return Gaussian(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))


def sample(keys: Key[Array, "B"], distribution: Gaussian, temperature: float | Array = 1.0) -> Array:
    """A draw, differentiable in mean and variance.

    Args:
        keys: one for each example: a draw does not depend on the rest of the batch.
        distribution: mean and log-variance, float[B, ...].
        temperature: factor of the standard deviation: one for all, or float[B].

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from genjax.losses import gaussian
        >>> q = gaussian.Gaussian(jnp.full((1000, 1), 3.0), jnp.log(jnp.full((1000, 1), 4.0)))
        >>> draws = gaussian.sample(jax.random.split(jax.random.key(0), 1000), q)
        >>> print(f"{draws.mean():.0f} {draws.std():.0f}")
        3 2

    References:
        Kingma and Welling, "Auto-Encoding Variational Bayes" (2014), section 2.4.
    """
    mean, log_variance = distribution
    noise = jax.vmap(lambda key: jax.random.normal(key, mean.shape[1:], mean.dtype))(keys)
    if jnp.ndim(temperature):
        temperature = jnp.reshape(temperature, (-1, *(1,) * (mean.ndim - 1)))
    return mean + temperature * jnp.exp(0.5 * log_variance) * noise


def log_density(
    x: Float[Array, "*shape"], mean: Float[Array, "*shape"], log_variance: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """Logarithm of the density of each component.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.losses import gaussian
        >>> zeros = jnp.zeros((1, 2))
        >>> print(f"{gaussian.log_density(zeros, mean=zeros, log_variance=zeros)[0, 1]:.3f}")
        -0.919
    """
    return -0.5 * (math.log(2 * math.pi) + log_variance + jnp.square(x - mean) * jnp.exp(-log_variance))


def kl(q: Gaussian, p: Gaussian) -> Array:
    """KL(q || p) of each component, float[B, ...] as the means.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.losses import gaussian
        >>> q = gaussian.Gaussian(mean=jnp.ones((1, 2)), log_variance=jnp.zeros((1, 2)))
        >>> gaussian.sum_components(gaussian.kl(q, gaussian.standard((1, 2))))
        Array([1.], dtype=float32)

    References:
        Kingma and Welling, "Auto-Encoding Variational Bayes" (2014), appendix B, for a standard normal p.
    """
    difference = q.log_variance - p.log_variance
    distance = jnp.square(q.mean - p.mean) * jnp.exp(-p.log_variance)
    return 0.5 * (jnp.exp(difference) + distance - 1.0 - difference)


def sum_components(x: Float[Array, "B ..."]) -> Float[Array, "B"]:
    """Sum over all axes but the first.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.losses import gaussian
        >>> gaussian.sum_components(jnp.ones((2, 3, 4)))
        Array([12., 12.], dtype=float32)
    """
    return x.reshape(x.shape[0], -1).sum(1)
