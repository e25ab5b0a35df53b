"""How near an image is to another: signal-to-noise ratio and structural similarity. Pure, jittable."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from genjax.typing import Array, UserError


def psnr(
    images: Float[Array, "B H W C"], references: Float[Array, "B H W C"], data_range: float = 2.0
) -> Float[Array, "B"]:
    """Peak signal-to-noise ratio in decibel: ``10 log10(data_range^2 / mean squared error)``.

    Args:
        images: for example reconstructions.
        references: the images that should have come out.
        data_range: largest value minus smallest possible: 2 for images in [-1, 1], 255 for levels.

    Returns:
        Of each image, the error averaged over pixels and channels; inf for equal images.

    Raises:
        UserError: a range that is not positive.
    """
    _check_range(data_range)
    error = jnp.square(images - references).mean((1, 2, 3))
    return 10.0 * (2.0 * math.log10(data_range) - jnp.log10(error))


def ssim(
    images: Float[Array, "B H W C"],
    references: Float[Array, "B H W C"],
    data_range: float = 2.0,
    window: int = 11,
) -> Float[Array, "B"]:
    """Structural similarity: means, variances and the covariance of two images in a Gaussian window, compared.

    The window has a standard deviation of 1.5 pixels. It stays inside the image, and the similarity is averaged over
    all its places and over the channels. Constants K1 = 0.01 and K2 = 0.03.

    Args:
        images: for example reconstructions.
        references: the images that should have come out; the measure is symmetric.
        data_range: largest value minus smallest possible: 2 for images in [-1, 1], 255 for levels.
        window: width in pixels, odd. 11 is the paper's; smaller images need a smaller one (7 for the 8x8 digits), and
            values from different windows are not comparable.

    Returns:
        Of each image, in [-1, 1]; 1 for equal images.

    Raises:
        UserError: a window that is even or larger than the image, or a range that is not positive.

    References:
        Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity" (2004), equations
        13 to 17.
    """
    _check_range(data_range)
    height, width = images.shape[1:3]
    if window < 1 or window % 2 == 0 or window > min(height, width):
        largest = (min(height, width) - 1) // 2 * 2 + 1
        raise UserError(
            f"window={window}: valid for images of {height}x{width} pixels are the odd 1..{largest}"
        )
    rows, columns = _band(height, window), _band(width, window)

    def average(x: Array) -> Array:
        return jnp.einsum("oh,bhwc,pw->bopc", rows, x, columns, precision="highest")

    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mean_x, mean_y = average(images), average(references)
    variance_x = average(jnp.square(images)) - jnp.square(mean_x)
    variance_y = average(jnp.square(references)) - jnp.square(mean_y)
    covariance = average(images * references) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (jnp.square(mean_x) + jnp.square(mean_y) + c1)
    contrast_structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return (luminance * contrast_structure).mean((1, 2, 3))


def _band(n: int, window: int) -> np.ndarray:
    """float32[n - window + 1, n]: row i averages the `window` values from i on, as a matrix product."""
    offset = np.arange(window) - window // 2
    weights = np.exp(-0.5 * np.square(offset / 1.5))
    weights /= weights.sum()
    matrix = np.zeros((n - window + 1, n), np.float32)
    for row in range(len(matrix)):
        matrix[row, row : row + window] = weights
    return matrix


def _check_range(data_range: float) -> None:
    if not data_range > 0:
        raise UserError(f"data_range={data_range}: the difference of largest and smallest value is above 0")
