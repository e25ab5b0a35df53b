"""One resampling of an image along an affine map, by a smooth kernel, as dense matrix products.

The kernel is separable along the axes of the source, so the value at a point is ``rows^T image columns``, with a vector
of weights for either coordinate. Products over all pixels look wasteful beside picking a few neighbours; but for small
images they are cheap, where the gradient of picking, adding up at random places, is not, and a wide kernel and a border
that reflects without an end come at no cost. Work grows as the square of the number of pixels: above 64x64 it is felt.

Karras et al., "Training Generative Adversarial Networks with Limited Data" (2020), appendix B, resamples with "sym6".
"""

import functools

import jax.numpy as jnp
import numpy as np

from genjax.augmentation.wavelets import half_band, reflect
from genjax.typing import Array

_MOMENTS = 6
_LEVELS = 3


def affine(image: Array, matrix: Array) -> Array:
    """The image at other places.

    The kernel interpolates between 12 neighbours and is exact for polynomials of degree 11. It is one that
    two-fold upsampling with "sym6" and its adjoint amount to; an image that is made smaller is not smoothed before.
    Whole pixels are met exactly: flips, quarter turns and moves by pixels change no value.

    Args:
        image: float[H,W,C]; beyond its border it goes on reflected at the centres of the border pixels.
        matrix: float[2,3]: target to source. The source of the target pixel at (y, x), in pixels from the middle of
            the image, is ``matrix @ (y, x, 1)``.

    Returns:
        float[H,W,C].
    """
    height, width, channels = image.shape
    y = jnp.repeat(jnp.arange(height) - (height - 1) / 2, width)
    x = jnp.tile(jnp.arange(width) - (width - 1) / 2, height)
    sources = [row[0] * y + row[1] * x + row[2] for row in matrix]
    rows = weights(sources[0] + (height - 1) / 2, height).astype(image.dtype)
    columns = weights(sources[1] + (width - 1) / 2, width).astype(image.dtype)
    # Channel by channel: products of channels at once take twice as long on CPU.
    planes = [
        (rows * jnp.matmul(columns, image[..., channel].T, precision="highest")).sum(-1)
        for channel in range(channels)
    ]
    return jnp.stack(planes, -1).reshape(height, width, channels)


def weights(position: Array, size: int) -> Array:
    """float[P,size]: weights of the pixels of a row for values at `position`, float[P], 0 being the first pixel."""
    table = jnp.asarray(_table(size))
    steps = 2**_LEVELS
    at = jnp.mod(position, max(2 * (size - 1), 1)) * steps
    low = jnp.floor(at)
    fraction = (at - low)[:, None]
    index = low.astype(jnp.int32)
    return (1 - fraction) * table[index] + fraction * table[index + 1]


@functools.lru_cache(maxsize=16)
def _table(size: int) -> np.ndarray:
    """float32[.., size]: weights at every eighth of a pixel over one period of the reflected row, and a bit more.

    The kernel is refined level by level: values half-way between those that are known come from 12 of these.
    """
    kernel = np.ones(1)
    for _ in range(_LEVELS):
        # Of impulses twice as far apart as before, each interpolated to the new middle.
        kernel = np.convolve(np.kron(kernel, [1.0, 0.0])[:-1], 2 * half_band(_MOMENTS))
    steps = 2**_LEVELS
    period = max(2 * (size - 1), 1)
    table = np.zeros(((period + 1) * steps + 1, size))
    middle = len(kernel) // 2
    for row in range(len(table)):
        first, last = -(-(row - middle) // steps), (row + middle) // steps
        pixels = np.arange(first, last + 1)
        np.add.at(table[row], reflect(pixels, size), kernel[row - pixels * steps + middle])
    return table.astype(np.float32)
