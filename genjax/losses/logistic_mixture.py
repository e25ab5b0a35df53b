"""A mixture of logistic distributions over the 256 levels of a pixel: the likelihood of deep VAEs and PixelCNN++."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Key

from genjax.losses.likelihood import LEVELS, Likelihood, check_support
from genjax.typing import Array, UserError

_MIN_LOG_SCALE = -7.0
_HALF = 1 / (LEVELS - 1)
"""Half the distance of two levels of an image in [-1, 1]."""


def logistic_mixture(num_mixtures: int = 10) -> Likelihood:
    """All channels of a pixel come from one of several logistic distributions, each integrated over the levels.

    In a component of the mixture the mean of a channel is linear in the channels before it. The outermost levels are
    open-ended, so that the 256 probabilities of a channel sum to 1. Outputs for C channels and M components:
    ``M * (1 + 2 C + C (C - 1) / 2)``: logits, means, logarithms of the scales, coefficients.

    Args:
        num_mixtures: M, at least 1.

    Raises:
        UserError: fewer than one component.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from genjax.losses.logistic_mixture import logistic_mixture
        >>> model = logistic_mixture(num_mixtures=5)
        >>> levels = jnp.linspace(-1, 1, 256).reshape(256, 1, 1, 1)  # 256 images of one pixel
        >>> outputs = jnp.zeros((256, 1, 1, model.outputs(1)))
        >>> print(f"{jnp.exp(jax.jit(model.log_prob)(outputs, levels)).sum():.3f}")
        1.000

    References:
        Salimans et al., "PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture Likelihood and Other
        Modifications" (2017), sections 2.1 and 2.2.
    """
    if num_mixtures < 1:
        raise UserError(f"num_mixtures={num_mixtures}: valid are 1 and more")

    def outputs(channels: int) -> int:
        return num_mixtures * _parameters(channels)

    def log_prob(outputs: Float[Array, "B H W P"], x: Float[Array, "B H W C"]) -> Float[Array, "B"]:
        check_support(x)
        logits, means, log_scales, coefficients = _split(outputs, num_mixtures)
        values = x[..., None, :]
        means = means + _from_channels_before(coefficients, jnp.broadcast_to(values, means.shape))
        per_component = log_mass(jnp.broadcast_to(values, means.shape), means, log_scales).sum(-1)
        per_pixel = jax.nn.logsumexp(jax.nn.log_softmax(logits) + per_component, axis=-1)
        return per_pixel.sum((1, 2))

    def mean(outputs: Float[Array, "B H W P"]) -> Float[Array, "B H W C"]:
        logits, means, _, coefficients = _split(outputs, num_mixtures)
        weights = jax.nn.softmax(logits)[..., None]
        return jnp.clip((weights * _in_order(means, coefficients)).sum(-2), -1.0, 1.0)

    def sample(keys: Key[Array, "B"], outputs: Float[Array, "B H W P"]) -> Float[Array, "B H W C"]:
        parameters = _split(outputs, num_mixtures)

        def one(key: Array, logits: Array, means: Array, log_scales: Array, coefficients: Array) -> Array:
            choice_key, noise_key = jax.random.split(key)
            chosen = jax.random.categorical(choice_key, logits)[..., None, None]
            means, log_scales, coefficients = (
                jnp.take_along_axis(array, chosen, axis=-2) for array in (means, log_scales, coefficients)
            )
            noise = jnp.exp(log_scales) * jax.random.logistic(noise_key, means.shape, means.dtype)
            return _in_order(means + noise, coefficients)[..., 0, :]

        x = jax.vmap(one)(keys, *parameters)
        return jnp.clip(jnp.round((x + 1) / (2 * _HALF)), 0, LEVELS - 1) * (2 * _HALF) - 1

    return Likelihood(outputs, log_prob, mean, sample, LEVELS)


def log_mass(
    x: Float[Array, "*shape"], mean: Float[Array, "*shape"], log_scale: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """log P(level x): the logistic distribution's mass within half a level of x, in nats.

    ``s(b) - s(a) = s(b) s(-a) (1 - exp(a - b))`` for the sigmoid s, whose factors have exact logarithms.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.losses.logistic_mixture import log_mass
        >>> x = jnp.array([0.0, 1.0])  # 1.0, the last level, has all that is above it
        >>> inner, last = jnp.exp(log_mass(x, mean=jnp.zeros(2), log_scale=jnp.zeros(2)))
        >>> print(f"{inner:.4f} {last:.4f}")
        0.0020 0.2697

    References:
        Salimans et al. (2017), see `logistic_mixture`, section 2.1.
    """
    inverse = jnp.exp(-log_scale)
    above, below = (x - mean + _HALF) * inverse, (x - mean - _HALF) * inverse
    width = jnp.log(-jnp.expm1(-2 * _HALF * inverse))
    log_up_to, log_from = jax.nn.log_sigmoid(above), jax.nn.log_sigmoid(-below)
    inside = log_up_to + log_from + width
    edge = 1 - _HALF
    return jnp.where(x < -edge, log_up_to, jnp.where(x > edge, log_from, inside))


def _parameters(channels: int) -> int:
    return 1 + 2 * channels + channels * (channels - 1) // 2


def _split(outputs: Array, num_mixtures: int) -> tuple[Array, Array, Array, Array]:
    """logits [B,H,W,M], means and log-scales [B,H,W,M,C], coefficients [B,H,W,M,C(C-1)/2]."""
    grouped = outputs.reshape(*outputs.shape[:-1], num_mixtures, -1)
    channels = next(c for c in range(1, grouped.shape[-1]) if _parameters(c) >= grouped.shape[-1])
    logits, means, log_scales, coefficients = jnp.split(grouped, (1, 1 + channels, 1 + 2 * channels), axis=-1)
    # Bounded softly: a hard bound has no gradient beyond it.
    log_scales = _MIN_LOG_SCALE + jax.nn.softplus(log_scales - _MIN_LOG_SCALE)
    return logits[..., 0], means, log_scales, jnp.tanh(coefficients)


def _from_channels_before(coefficients: Array, x: Array) -> Array:
    """[..., C]: what the channels before each add to its mean."""
    channels, terms, start = x.shape[-1], [jnp.zeros_like(x[..., 0])], 0
    for channel in range(1, channels):
        terms.append((coefficients[..., start : start + channel] * x[..., :channel]).sum(-1))
        start += channel
    return jnp.stack(terms, axis=-1)


def _in_order(own: Array, coefficients: Array) -> Array:
    """Channel after channel: own part plus what those before add, each kept in [-1, 1] as images are."""
    channels, start = own.shape[-1], 0
    values: list[Array] = []
    for channel in range(channels):
        value = own[..., channel]
        for i in range(channel):
            value = value + coefficients[..., start + i] * values[i]
        start += channel
        values.append(jnp.clip(value, -1.0, 1.0))
    return jnp.stack(values, axis=-1)
