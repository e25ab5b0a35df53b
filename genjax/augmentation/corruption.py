"""Transforms that destroy: noise, and a part that is cut out.

Karras et al., "Training Generative Adversarial Networks with Limited Data" (2020), appendix B.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from genjax.augmentation.draws import sometimes
from genjax.typing import Array


def noise(key: Array, p: ArrayLike, image: Array) -> Array:
    """Adds normal noise to an image float[H,W,C]; its standard deviation is ``|N(0, 0.1^2)|``."""
    keys = jax.random.split(key, 3)
    sigma = sometimes(keys[0], p, 0.1 * jnp.abs(jax.random.normal(keys[1])), 0.0)
    return image + sigma.astype(image.dtype) * jax.random.normal(keys[2], image.shape, image.dtype)


def cutout(key: Array, p: ArrayLike, image: Array) -> Array:
    """Sets a rectangle of half the height and width of an image float[H,W,C] to zero (grey); its centre is anywhere."""
    height, width, _ = image.shape
    keys = jax.random.split(key, 2)
    size = sometimes(keys[0], p, jnp.asarray(0.5), 0.0)
    centre = jax.random.uniform(keys[1], (2,))

    def outside(n: int, middle: Array) -> Array:
        return jnp.abs((jnp.arange(n) + 0.5) / n - middle) >= size / 2

    keep = outside(height, centre[0])[:, None] | outside(width, centre[1])[None]
    return jnp.where(keep[..., None], image, 0.0)
