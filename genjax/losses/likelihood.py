"""How probable an image is, given what a decoder puts out: the first term of the evidence lower bound.

Images are in [-1, 1]. A likelihood says how many output channels it needs, and what they mean.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Key

from genjax.losses.gaussian import log_density, sum_components
from genjax.typing import Array, UserError

LEVELS = 256
_MIN_LOG_SCALE = -7.0


class Likelihood(NamedTuple):
    """p(x | outputs of a decoder).

    Attributes:
        outputs: ``channels of the images C -> channels of the decoder's output P``.
        log_prob: ``(outputs float[B,H,W,P], x float[B,H,W,C]) -> float[B]``, in nats, all components together. With
            levels, x that is concrete (not traced) and leaves [-1, 1] is a UserError.
        mean: ``outputs -> float[B,H,W,C]`` in [-1, 1], the expected image.
        sample: ``(keys[B], outputs) -> float[B,H,W,C]`` in [-1, 1], a draw.
        levels: number of values a component can have; None for a density. With levels, ``-log2`` of the
            probability per component is what a coder needs (bits/dim).
    """

    outputs: Callable[[int], int]
    log_prob: Callable[[Array, Array], Array]
    mean: Callable[[Array], Array]
    sample: Callable[[Array, Array], Array]
    levels: int | None


def check_support(x: Array) -> None:
    """Raises UserError where concrete images, of any shape, leave [-1, 1]: a likelihood of levels says nothing of them.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.losses import likelihood
        >>> likelihood.check_support(jnp.array([0.0, 255.0]))
        Traceback (most recent call last):
            ...
        genjax.typing.UserError: x reaches from 0.0 to 255.0: the likelihood's support is [-1, 1]
    """
    if isinstance(x, jax.core.Tracer) or not x.size:
        return
    levels = np.asarray(x)  # of NumPy: inside `jit`, where x may be a constant, JAX's minimum would be traced
    low, high = float(levels.min()), float(levels.max())
    if not (low >= -1 and high <= 1):
        raise UserError(f"x reaches from {low} to {high}: the likelihood's support is [-1, 1]")


def bernoulli() -> Likelihood:
    """Black (-1) or white (1), each component on its own; the output is the logit of white.

    Grey x counts as a mixture, ``(1 + x)/2`` of white: the cross-entropy, which is no likelihood of a grey image.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.losses import likelihood
        >>> logits, white = jnp.zeros((1, 2, 2, 1)), jnp.ones((1, 2, 2, 1))
        >>> print(f"{likelihood.bernoulli().log_prob(logits, white)[0]:.3f}")  # 4 log(1 / 2)
        -2.773

    References:
        Kingma and Welling, "Auto-Encoding Variational Bayes" (2014), appendix C.1.
    """

    def log_prob(logits: Float[Array, "B H W C"], x: Float[Array, "B H W C"]) -> Float[Array, "B"]:
        check_support(x)
        white = 0.5 * (x + 1.0)
        return sum_components(white * logits - jax.nn.softplus(logits))

    def sample(keys: Key[Array, "B"], logits: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        white = jax.vmap(jax.random.bernoulli)(keys, jax.nn.sigmoid(logits))
        return jnp.where(white, 1.0, -1.0)

    return Likelihood(lambda channels: channels, log_prob, lambda logits: jnp.tanh(0.5 * logits), sample, 2)


def gaussian(scale: float = 1.0) -> Likelihood:
    """A normal distribution with a fixed standard deviation; the output is its mean.

    Args:
        scale: standard deviation, above 0, where images span [-1, 1].

    Raises:
        UserError: a scale that is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.losses import likelihood
        >>> images = jnp.zeros((1, 1, 1, 3))
        >>> print(f"{likelihood.gaussian(scale=0.5).log_prob(images, images)[0]:.3f}")  # 3 log(2 / sqrt(2 pi))
        -0.677
    """
    if not scale > 0:
        raise UserError(f"scale={scale}: a standard deviation is valid in (0, inf)")
    log_variance = 2.0 * math.log(scale)

    def log_prob(mean: Float[Array, "B H W C"], x: Float[Array, "B H W C"]) -> Float[Array, "B"]:
        return sum_components(log_density(x, mean, jnp.full_like(mean, log_variance)))

    def sample(keys: Key[Array, "B"], mean: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        return jnp.clip(mean + scale * _normal(keys, mean), -1.0, 1.0)

    return Likelihood(
        lambda channels: channels, log_prob, lambda mean: jnp.clip(mean, -1.0, 1.0), sample, None
    )


def gaussian_learned(min_log_scale: float = _MIN_LOG_SCALE) -> Likelihood:
    """A normal distribution; the outputs are the means, then the logarithms of the standard deviations.

    Args:
        min_log_scale: bound from below, approached softly: the likelihood of an image that the mean meets exactly
            grows without end as the scale goes to 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.losses import likelihood
        >>> model = likelihood.gaussian_learned()
        >>> outputs = jnp.array([0.0, 0.0]).reshape(1, 1, 1, 2)  # the mean 0 and the standard deviation exp(0)
        >>> print(model.outputs(1), f"{model.log_prob(outputs, jnp.zeros((1, 1, 1, 1)))[0]:.2f}")
        2 -0.92

    References:
        Rybkin et al., "Simple and Effective VAE Training with Calibrated Decoders" (2021), section 3.1.
    """

    def split(outputs: Array) -> tuple[Array, Array]:
        mean, raw = jnp.split(outputs, 2, axis=-1)
        return mean, min_log_scale + jax.nn.softplus(raw - min_log_scale)

    def log_prob(outputs: Float[Array, "B H W P"], x: Float[Array, "B H W C"]) -> Float[Array, "B"]:
        mean, log_scale = split(outputs)
        return sum_components(log_density(x, mean, 2.0 * log_scale))

    def sample(keys: Key[Array, "B"], outputs: Float[Array, "B H W P"]) -> Float[Array, "B H W C"]:
        mean, log_scale = split(outputs)
        return jnp.clip(mean + jnp.exp(log_scale) * _normal(keys, mean), -1.0, 1.0)

    def expected(outputs: Array) -> Array:
        return jnp.clip(split(outputs)[0], -1.0, 1.0)

    return Likelihood(lambda channels: 2 * channels, log_prob, expected, sample, None)


def _normal(keys: Array, like: Array) -> Array:
    return jax.vmap(lambda key: jax.random.normal(key, like.shape[1:], like.dtype))(keys)
