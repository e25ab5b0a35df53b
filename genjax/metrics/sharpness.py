"""How blurred an image is, judged by nothing but itself. Pure, jittable; no weights."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from genjax.typing import Array, UserError

_LUMINANCE = (0.2125, 0.7154, 0.0721)
"""Of red, green and blue (ITU-R BT.709), as scikit-image has them."""

_TINY = np.finfo(np.float64).eps
"""Smallest slope, so that an image without any is blurred instead of 0/0."""


def perceptual_blur(images: Float[Array, "B H W C"], window: int = 11) -> Float[Array, "B"]:
    """How little an image loses by being blurred: what is blurred already changes least.

    The slopes of the image are compared with those after a moving average along one axis: the share that remains,
    where it became less. The axis of which more remains counts. It does not depend on brightness or contrast, so images
    may be in any range. It says whether edges are sharp, not whether they are right: noise is sharp.

    Args:
        images: grayscale, or red, green and blue, which are reduced to their luminance.
        window: width of the moving average in pixels. Values from different windows are not comparable.

    Returns:
        Of each image, in [0, 1]: 0 is sharp, 1 blurred. An image of one value has 1.

    Raises:
        UserError: images of another number of channels or of less than 4x4 pixels, or a window below 2.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from genjax.metrics.sharpness import perceptual_blur
        >>> slope = jnp.indices((16, 16)).sum(0).reshape(1, 16, 16, 1) / 30
        >>> edge, blur = jnp.round(slope), jax.jit(perceptual_blur)
        >>> print(f"{blur(edge)[0]:.2f} {blur(slope)[0]:.2f}")
        0.31 0.77

    References:
        Crété-Roffet et al., "The Blur Effect: Perception and Estimation with a New No-reference Perceptual Blur Metric"
        (2007), with the slopes, the window and the luminance of scikit-image's `blur_effect`.
    """
    if images.shape[-1] not in (1, 3) or min(images.shape[1:3]) < 4:
        raise UserError(
            f"images has shape {images.shape}: valid are [B,H,W,1] and [B,H,W,3] of at least 4x4 pixels"
        )
    if window < 2:
        raise UserError(f"window={window}: valid are numbers from 2 on")
    gray = images[..., 0] if images.shape[-1] == 1 else images @ jnp.asarray(_LUMINANCE, images.dtype)
    return jnp.maximum(_remaining(gray, window), _remaining(gray.swapaxes(1, 2), window))


def _remaining(gray: Float[Array, "B H W"], window: int) -> Float[Array, "B"]:
    """The share of the slopes along H that is left of them by a moving average along H."""
    sharp, blurred = _slopes(gray), _slopes(gray, window)
    # The same as (sum of sharp - sum of losses) / sum of sharp, without a difference of large sums.
    return jnp.minimum(sharp, blurred).sum((1, 2)) / sharp.sum((1, 2))


def _slopes(gray: Float[Array, "B H W"], window: int = 1) -> Float[Array, "B h w"]:
    """Sobel's absolute derivatives along H of what a moving average along H makes of an image.

    Only the derivatives of pixels 2 to n - 2 along both axes: at the start one more is left out than Sobel needs, as in
    scikit-image. Beyond the edges the moving average sees the mirror image.
    """
    before = window // 2
    padded = jnp.pad(gray, ((0, 0), (before, window - 1 - before), (0, 0)), mode="symmetric")
    # The differences first: neighbours are of similar size, so they lose nothing, and averages of them little.
    along = padded[:, 3:] - padded[:, 1:-2]
    both = along[:, :, 1:-2] + 2 * along[:, :, 2:-1] + along[:, :, 3:]
    height = gray.shape[1] - 3
    averages = jnp.stack([both[:, i : i + height] for i in range(window)]).mean(0)
    return jnp.maximum(jnp.abs(averages) / 8, _TINY)
