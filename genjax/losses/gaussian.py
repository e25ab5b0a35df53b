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
    """Mean 0 and variance 1."""
    return Gaussian(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))


def sample(keys: Key[Array, "B"], distribution: Gaussian, temperature: float | Array = 1.0) -> Array:
    """A draw, differentiable in mean and variance.

    Args:
        keys: one for each example: a draw does not depend on the rest of the batch.
        distribution: mean and log-variance, float[B, ...].
        temperature: factor of the standard deviation: one for all, or float[B].

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
    """Of each component."""
    return -0.5 * (math.log(2 * math.pi) + log_variance + jnp.square(x - mean) * jnp.exp(-log_variance))


def kl(q: Gaussian, p: Gaussian) -> Array:
    """KL(q || p) of each component.

    References:
        Kingma and Welling, "Auto-Encoding Variational Bayes" (2014), appendix B, for a standard normal p.
    """
    difference = q.log_variance - p.log_variance
    distance = jnp.square(q.mean - p.mean) * jnp.exp(-p.log_variance)
    return 0.5 * (jnp.exp(difference) + distance - 1.0 - difference)


def sum_components(x: Float[Array, "B ..."]) -> Float[Array, "B"]:
    """Sum over all axes but the first."""
    return x.reshape(x.shape[0], -1).sum(1)
