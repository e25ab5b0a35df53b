"""How different two images look: the distance of their features in a network that was trained to recognise images.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (2018).
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import jax.numpy as jnp
from jaxtyping import Float

from genjax.typing import Array, UserError

Features: TypeAlias = Callable[[Array], tuple[Array, ...]]
"""``images float[B,H,W,C] -> feature maps (float[B,h,w,c], ...)``, one of each layer that is compared."""

Distance: TypeAlias = Callable[[Array, Array], Array]
"""``(images float[B,H,W,C], images float[B,H,W,C]) -> float[B]``."""

# Keeps the gradient finite where all channels are 0, as they often are behind a ReLU.
_TINY = 1e-10


def perceptual(features: Features, weights: Sequence[Array] | None = None) -> Distance:
    """The distance of images in the feature maps of a network (equation 1).

    The vector of channels at each position is scaled to length 1; the squares of the differences are weighted, summed
    over the channels, averaged over the positions, and summed over the layers.

    Args:
        features: the network, without what changes in training: with its parameters, in evaluation mode.
        weights: for each layer float[c], not negative, the factors of the squares (the squares of the paper's w, which
            are what its learned weights are published as, see `genjax.metrics.lpips`); None: all 1.

    Returns:
        The distance, ``(images float[B,H,W,C], images float[B,H,W,C]) -> float[B]``, 0 for equal images.

    Raises:
        UserError: from the distance, weights of another number of layers or channels than the feature maps.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.losses.perceptual import perceptual
        >>> distance = perceptual(lambda images: (images,))  # the only feature map: the image itself
        >>> red, blue = jnp.array([1.0, 0.0, 0.0]).reshape(1, 1, 1, 3), jnp.array([0.0, 0.0, 1.0]).reshape(1, 1, 1, 3)
        >>> print(f"{distance(red, blue)[0]:.3f} {distance(red, 0.1 * red)[0]:.3f}")
        2.000 0.000
    """

    def distance(x: Float[Array, "B H W C"], y: Float[Array, "B H W C"]) -> Float[Array, "B"]:
        pairs = list(zip(features(x), features(y), strict=True))
        factors = [jnp.ones(a.shape[-1]) for a, _ in pairs] if weights is None else weights
        found, expected = [w.shape for w in factors], [a.shape[-1:] for a, _ in pairs]
        if found != expected:
            raise UserError(f"weights have the shapes {found}: the feature maps need {expected}")
        layers = [_layer(a, b, w) for (a, b), w in zip(pairs, factors, strict=True)]
        return jnp.stack(layers).sum(0)

    return distance


def _layer(
    a: Float[Array, "B h w c"], b: Float[Array, "B h w c"], weights: Float[Array, "c"]
) -> Float[Array, "B"]:
    squares = jnp.square(_unit(a) - _unit(b)) * weights.reshape(1, 1, 1, -1)
    return squares.sum(-1).mean((1, 2))


def _unit(x: Float[Array, "B h w c"]) -> Float[Array, "B h w c"]:
    return x / jnp.sqrt(jnp.square(x).sum(-1, keepdims=True) + _TINY)
