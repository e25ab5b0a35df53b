"""Transforms of colour: brightness, contrast, hue and saturation, composed into one affine map of (r, g, b).

Karras et al., "Training Generative Adversarial Networks with Limited Data" (2020), appendix B.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from genjax.augmentation.draws import log_normal, sometimes
from genjax.typing import Array, UserError

_GREY = np.ones((3, 3), np.float32) / np.float32(3.0)
"""Projection of a colour on the axis of greys, v v^T with v = (1, 1, 1) / sqrt(3)."""


def colour(key: Array, p: ArrayLike, image: Array) -> Array:
    """Each pixel by one affine map, which is `draw`'s; a grey image stays on the axis of greys.

    Args:
        key: key of the image.
        p: float[], probability of each transform.
        image: float[H,W,C] with 1 or 3 channels.

    Raises:
        UserError: another number of channels.
    """
    channels = image.shape[-1]
    if channels not in (1, 3):
        raise UserError(f"images have {channels} channels: valid with the group 'colour' are 1 and 3")
    matrix, offset = draw(key, p)
    if channels == 1:
        # What the map does to (x, x, x), as seen on the axis of greys.
        return (matrix.sum() / 3) * image + offset.mean()
    planes = [image[..., i] for i in range(3)]
    mixed = [sum(matrix[i, j] * planes[j] for j in range(3)) + offset[i] for i in range(3)]
    return jnp.stack(mixed, -1)


def draw(key: Array, p: ArrayLike) -> tuple[Array, Array]:
    """A random map of colours in [-1, 1], as matrix float[3,3] and offset float[3].

    In this order: brightness adds N(0, 0.2^2); contrast multiplies by a log-normal number with half an octave; luma
    flip mirrors colours along the axis of greys, half of the time; hue turns them about this axis by any angle;
    saturation multiplies the distance from it by a log-normal number with one octave.
    """
    keys = jax.random.split(key, 10)
    brightness = sometimes(keys[0], p, 0.2 * jax.random.normal(keys[1]), 0.0)
    contrast = sometimes(keys[2], p, log_normal(keys[3], 0.5), 1.0)
    flip = sometimes(keys[4], p, 1.0 * jax.random.bernoulli(keys[5]), 0.0)
    angle = sometimes(keys[6], p, jax.random.uniform(keys[7], minval=-math.pi, maxval=math.pi), 0.0)
    saturation = sometimes(keys[8], p, log_normal(keys[9], 1.0), 1.0)
    maps = [saturate(saturation), turn_hue(angle), flip_luma(flip), contrast * jnp.eye(3)]
    matrix = functools.reduce(lambda a, b: jnp.matmul(a, b, precision="highest"), maps)
    return matrix, matrix.sum(1) * brightness


def flip_luma(amount: Array) -> Array:
    """float[3,3]: mirrors along the axis of greys where `amount` is 1, the identity where it is 0."""
    return jnp.eye(3) - 2.0 * amount * _GREY


def turn_hue(angle: Array) -> Array:
    """float[3,3]: a turn about the axis of greys by `angle`, in radians (Rodrigues' formula)."""
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], np.float32) / math.sqrt(3.0)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return cos * jnp.eye(3) + sin * cross + (1.0 - cos) * _GREY


def saturate(factor: Array) -> Array:
    """float[3,3]: the distance from the axis of greys times `factor`."""
    return factor * jnp.eye(3) + (1.0 - factor) * _GREY
