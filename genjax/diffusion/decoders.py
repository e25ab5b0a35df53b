"""From densities to levels of images and back: the last term of a bound, dequantisation, bits per dimension."""

import math
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr
from jaxtyping import Float, Key

from genjax.typing import Array

Decoder: TypeAlias = Callable[[Array, Array, Array], Array]
"""``(x_0 [B, ...], mean [B, ...], standard deviation) -> log-likelihood of each component [B, ...]``, in nats."""

LEVEL_WIDTH = 2 / 255
"""Distance of the levels of 8-bit images that are scaled to [-1, 1]."""


def discretized_gaussian(width: float = LEVEL_WIDTH) -> Decoder:
    """The probability that a Gaussian gives to the level of a component; the outermost levels are open-ended.

    Args:
        width: distance of the levels, which go from -1 to 1.

    Returns:
        The decoder, ``(x_0 float[B, ...], mean float[B, ...], std) -> float[B, ...]``; std broadcasts against x_0.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import decoders
        >>> levels = jnp.linspace(-1, 1, 256)[:, None]
        >>> log_p = decoders.discretized_gaussian()(levels, 0 * levels + 0.9, jnp.array(0.5))
        >>> print(f"{jnp.exp(log_p).sum():.3f}")  # the probabilities of all levels
        1.000

    References:
        Ho et al., "Denoising Diffusion Probabilistic Models" (2020), equation 13.
    """

    def log_likelihood(
        x_0: Float[Array, "B *shape"], mean: Float[Array, "B *shape"], std: Float[Array, "..."]
    ) -> Float[Array, "B *shape"]:
        low, high = (x_0 - 0.5 * width - mean) / std, (x_0 + 0.5 * width - mean) / std
        # Left of the mean the logarithms of the two probabilities keep their digits; right of it, mirror.
        right = low + high > 0
        low, high = jnp.where(right, -high, low), jnp.where(right, -low, high)
        below = log_ndtr(high)
        part = -jnp.expm1(log_ndtr(low) - below)
        inside = below + jnp.log(jnp.maximum(part, jnp.finfo(part.dtype).tiny))
        up_to = log_ndtr(jnp.where(right, -low, high))
        from_there = log_ndtr(jnp.where(right, high, -low))
        edge = 1 - 0.5 * width
        return jnp.where(x_0 < -edge, up_to, jnp.where(x_0 > edge, from_there, inside))

    return log_likelihood


def gaussian(
    x_0: Float[Array, "B *shape"], mean: Float[Array, "B *shape"], std: Float[Array, "..."]
) -> Float[Array, "B *shape"]:
    """The decoder of continuous data: the density of a Gaussian.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import decoders
        >>> x_0, mean = jnp.array([[0.0, 0.5]]), jnp.zeros((1, 2))
        >>> log_density = decoders.gaussian(x_0, mean, jnp.array(0.5))  # at the mean, and one deviation away
        >>> print(*(f"{x:.3f}" for x in log_density[0]))
        -0.226 -0.726
    """
    return -0.5 * jnp.square((x_0 - mean) / std) - jnp.log(std) - 0.5 * math.log(2 * math.pi)


def dequantize(
    keys: Key[Array, "B"], x_0: Float[Array, "B *shape"], width: float = LEVEL_WIDTH
) -> Float[Array, "B *shape"]:
    """Spreads each level evenly over its width, so that images have a density.

    Example:
        >>> import jax
        >>> from genjax.diffusion import decoders
        >>> x_0 = jax.numpy.full((2, 50), 3 * decoders.LEVEL_WIDTH)
        >>> levels = decoders.dequantize(jax.random.split(jax.random.key(0), 2), x_0) / decoders.LEVEL_WIDTH
        >>> {round(float(level)) for level in levels.ravel()}, bool(levels.max() - levels.min() > 0.8)
        ({3}, True)

    References:
        Theis et al., "A Note on the Evaluation of Generative Models" (2016), section 3.1.
    """
    noise = jax.vmap(lambda key: jax.random.uniform(key, x_0.shape[1:], jnp.float32, -0.5, 0.5))(keys)
    return x_0 + width * noise.astype(x_0.dtype)


def bits_per_dimension(
    log_density: Float[Array, "B"], num_dimensions: int, width: float = LEVEL_WIDTH
) -> Float[Array, "B"]:
    """Of images with levels, from the density of the dequantised ones, of whose bits it is a bound.

    ``-log2(density) / num_dimensions - log2(width)``; the last is 6.99 for 8-bit images in [-1, 1].

    Args:
        log_density: in nats, of all components together.
        num_dimensions: number of components.
        width: distance of the levels; 1 for data without.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import decoders
        >>> log_density = -12 * jnp.log(jnp.array([2.0]))  # of 12 components that are uniform on [-1, 1]
        >>> print(f"{decoders.bits_per_dimension(log_density, 12).item():.3f}")  # log2(255)
        7.994
    """
    return -log_density / (num_dimensions * math.log(2)) - math.log2(width)
