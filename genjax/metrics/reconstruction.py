"""How near an image is to another: errors, signal-to-noise ratio and structural similarity. Pure, jittable.

All are per image; the mean over a data set is the caller's.
"""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from genjax.typing import Array, UserError

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, the finest first (Wang et al. 2003, section 3.2)."""


def mean_absolute_error(
    images: Float[Array, "B H W C"], references: Float[Array, "B H W C"]
) -> Float[Array, "B"]:
    """L1: the mean of ``|images - references|`` over pixels and channels, in the unit of the images.

    Args:
        images: for example reconstructions.
        references: the images that should have come out; the measure is symmetric.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.metrics.reconstruction import mean_absolute_error
        >>> mean_absolute_error(jnp.full((1, 2, 2, 1), -0.5), jnp.zeros((1, 2, 2, 1)))
        Array([0.5], dtype=float32)
    """
    return jnp.abs(images - references).mean((1, 2, 3))


def mean_squared_error(
    images: Float[Array, "B H W C"], references: Float[Array, "B H W C"]
) -> Float[Array, "B"]:
    """L2: the mean of ``(images - references)^2`` over pixels and channels; no root is taken.

    Args:
        images: for example reconstructions.
        references: the images that should have come out; the measure is symmetric.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.metrics.reconstruction import mean_squared_error
        >>> mean_squared_error(jnp.full((1, 2, 2, 1), -0.5), jnp.zeros((1, 2, 2, 1)))
        Array([0.25], dtype=float32)
    """
    return jnp.square(images - references).mean((1, 2, 3))


def psnr(
    images: Float[Array, "B H W C"], references: Float[Array, "B H W C"], data_range: float = 2.0
) -> Float[Array, "B"]:
    """Peak signal-to-noise ratio in decibel: ``10 log10(data_range^2 / mean squared error)``.

    Its gradient at equal images is not finite.

    Args:
        images: for example reconstructions.
        references: the images that should have come out.
        data_range: largest value minus smallest possible: 2 for images in [-1, 1], 255 for levels.

    Returns:
        Of each image, the error averaged over pixels and channels; inf for equal images.

    Raises:
        UserError: a range that is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.metrics.reconstruction import psnr
        >>> print(f"{psnr(jnp.full((1, 2, 2, 1), 0.2), jnp.zeros((1, 2, 2, 1)))[0]:.2f}")
        20.00
    """
    _check_range(data_range)
    return 10.0 * (2.0 * math.log10(data_range) - jnp.log10(mean_squared_error(images, references)))


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

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.metrics.reconstruction import ssim
        >>> grey, brighter = jnp.zeros((1, 8, 8, 1)), jnp.full((1, 8, 8, 1), 0.02)
        >>> print(f"{ssim(grey, grey, window=7)[0]:.3f} {ssim(grey, brighter, window=7)[0]:.3f}")
        1.000 0.500

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
    luminance, contrast_structure = _compare(images, references, data_range, window)
    return (luminance * contrast_structure).mean((1, 2, 3))


def ms_ssim(
    images: Float[Array, "B H W C"],
    references: Float[Array, "B H W C"],
    data_range: float = 2.0,
    window: int = 11,
    weights: Sequence[float] = MS_SSIM_WEIGHTS,
    reflect: bool = False,
) -> Float[Array, "B"]:
    """Structural similarity at several scales: contrast and structure at all of them, luminance at the coarsest.

    From each scale to the next, squares of 2x2 pixels become their mean; an odd last row or column is left out. At each
    scale the similarity is averaged over places and channels, and what is below 0 counts as 0; the product of their
    powers is the result.

    Args:
        images: for example reconstructions.
        references: the images that should have come out; the measure is symmetric.
        data_range: as for `ssim`.
        window: as for `ssim`, the same number of pixels at every scale.
        weights: exponents, the finest scale first, above 0. Smaller images need fewer or a smaller window, and values
            from other weights are not comparable: 32x32 pixels are enough for three scales with a window of 7.
        reflect: at the coarsest scale, let the window reach over the edges, where the image is continued by its
            reflection, as torchmetrics 1.9 does. By default it stays inside the image everywhere, as in the paper.

    Returns:
        Of each image, in [0, 1]; 1 for equal images.

    Raises:
        UserError: an image too small for the window at the coarsest scale (176 pixels are the fewest for the paper's
            window and scales), an even window, weights that are not above 0, or a range that is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.metrics.reconstruction import ms_ssim
        >>> grey, brighter = jnp.zeros((1, 16, 16, 1)), jnp.full((1, 16, 16, 1), 0.02)
        >>> print(f"{ms_ssim(grey, brighter, window=7, weights=(0.5, 0.5))[0]:.3f}")  # the root of 1/2
        0.707

    References:
        Wang, Simoncelli and Bovik, "Multi-scale Structural Similarity for Image Quality Assessment" (2003), equation 7.
    """
    _check_range(data_range)
    if not weights or not all(w > 0 for w in weights):
        raise UserError(f"weights={tuple(weights)}: valid are numbers above 0, one a scale")
    if window < 1 or window % 2 == 0:
        raise UserError(f"window={window}: valid are odd numbers from 1 on")
    smallest = window * 2 ** (len(weights) - 1)
    if min(images.shape[1:3]) < smallest:
        raise UserError(
            f"images has shape {images.shape}: {len(weights)} scales with window={window} need at least "
            f"{smallest}x{smallest} pixels; a smaller window or fewer weights need less"
        )
    result = jnp.ones(len(images))
    for scale, weight in enumerate(weights):
        last = scale == len(weights) - 1
        luminance, contrast_structure = _compare(images, references, data_range, window, reflect and last)
        similarity = luminance * contrast_structure if last else contrast_structure
        result *= _power(similarity.mean((1, 2, 3)), weight)
        images, references = _halve(images), _halve(references)
    return result


def _compare(
    images: Array, references: Array, data_range: float, window: int, reflect: bool = False
) -> tuple[Array, Array]:
    """Luminance, and contrast times structure, at all places of the window: float[B,h,w,C] each."""
    height, width = images.shape[1:3]
    rows, columns = _band(height, window, reflect), _band(width, window, reflect)

    def average(x: Array) -> Array:
        return jnp.einsum("oh,bhwc,pw->bopc", rows, x, columns, precision="highest")

    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    # (2 a b + c) / (a^2 + b^2 + c) = 1 - (a - b)^2 / (a^2 + b^2 + c), and the same with covariance and variances: the
    # covariance of bright, flat images would be what rounding leaves of a difference of large numbers. For that reason
    # the errors are also centred.
    errors = images - references
    middle = errors.mean((1, 2), keepdims=True)
    errors -= middle
    mean_x, mean_error = average(images), average(errors)
    squares = jnp.square(mean_x) + jnp.square(mean_x - mean_error - middle)
    variances = average(jnp.square(images) + jnp.square(references)) - squares
    variance_of_errors = average(jnp.square(errors)) - jnp.square(mean_error)
    luminance = 1 - jnp.square(mean_error + middle) / (squares + c1)
    contrast_structure = 1 - variance_of_errors / (variances + c2)
    return luminance, contrast_structure


def _band(n: int, window: int, reflect: bool) -> np.ndarray:
    """float32[n - window + 1, n]: row i averages the `window` values from i on, as a matrix product.

    With `reflect` float32[n, n]: row i averages the values around i, those beyond the ends mirrored at the end values.
    """
    offset = np.arange(window) - window // 2
    weights = np.exp(-0.5 * np.square(offset / 1.5))
    weights /= weights.sum()
    places = np.pad(np.arange(n), window // 2 if reflect else 0, mode="reflect")
    matrix = np.zeros((len(places) - window + 1, n), np.float32)
    for row in range(len(matrix)):
        np.add.at(matrix[row], places[row : row + window], weights)
    return matrix


def _halve(x: Array) -> Array:
    """Means of 2x2 pixels."""
    batch, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).mean((2, 4))


def _power(x: Array, exponent: float) -> Array:
    """``max(x, 0)^exponent``, with gradient 0 at and below 0: the gradient of a root is infinite at 0."""
    positive = x > 0
    return jnp.where(positive, jnp.where(positive, x, 1.0) ** exponent, 0.0)


def _check_range(data_range: float) -> None:
    if not data_range > 0:
        raise UserError(f"data_range={data_range}: the difference of largest and smallest value is above 0")
