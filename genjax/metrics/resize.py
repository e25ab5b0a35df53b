"""Resizing as others did it when they measured: Fréchet distances of one network differ by how images reached it.

* `pillow`: Pillow's own filters on the host, in float32, as in clean-fid.
* `tf1_bilinear`: what TensorFlow 1 does inside the graph of the Inception network.
"""

import concurrent.futures
from typing import Literal, TypeAlias, get_args

import jax.numpy as jnp
import numpy as np
import PIL.Image
from jaxtyping import Float, Float32, UInt8

from genjax.typing import Array, UserError

Filter: TypeAlias = Literal["box", "bilinear", "hamming", "bicubic", "lanczos"]
FILTERS: tuple[Filter, ...] = get_args(Filter)


def pillow(
    images: UInt8[np.ndarray, "B H W C"] | Float32[np.ndarray, "B H W C"],
    size: tuple[int, int],
    filter: Filter,
) -> Float32[np.ndarray, "B h w C"]:
    """Images of another size by Pillow: each channel by itself, in float32.

    All filters widen when they shrink an image (antialiasing). "bicubic" and "lanczos" overshoot at edges; what
    leaves 0..255 is clipped. Nothing is rounded. Bit for bit what clean-fid 0.1.35 gives to its network, whose
    filter is "bicubic".

    Args:
        images: levels 0..255.
        size: (h, w) of the result.
        filter: one of `FILTERS`.

    Returns:
        Levels, not rounded.

    Raises:
        UserError: for another filter or a size below 1.

    References:
        Parmar, Zhang and Zhu, "On Aliased Resizing and Surprising Subtleties in GAN Evaluation" (2022), section 3.
    """
    if filter not in FILTERS:
        raise UserError(f"filter is {filter!r}: valid are {', '.join(FILTERS)}")
    if min(size) < 1:
        raise UserError(f"size is {size}: height and width must be at least 1")
    resampling = PIL.Image.Resampling[filter.upper()]
    height, width = size
    result = np.empty((len(images), height, width, images.shape[-1]), np.float32)

    def resize(i: int) -> None:
        for channel in range(images.shape[-1]):
            plane = PIL.Image.fromarray(np.ascontiguousarray(images[i, ..., channel], np.float32))
            result[i, ..., channel] = np.asarray(plane.resize((width, height), resampling))

    # Pillow lets go of the interpreter's lock while it computes.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(resize, range(len(images))))
    return np.clip(result, 0, 255, out=result)


def tf1_bilinear(images: Float[Array, "B H W C"], size: tuple[int, int]) -> Float[Array, "B h w C"]:
    """``tf.image.resize_bilinear(images, size)`` of TensorFlow 1: pure, to be jitted with what follows.

    Pixel i of the result lies at ``i * H / h`` of the image, not at ``(i + 1/2) * H / h - 1/2``: corners
    are aligned and not centres, which moves a picture that grows to the upper left. Beyond the last pixel it is
    constant. Nothing is averaged when it shrinks (no antialiasing).

    Args:
        images: of any size and range; the range is kept.
        size: (h, w) of the result.

    Raises:
        UserError: for a size below 1, or images without pixels.

    References:
        TensorFlow 1.x, core/kernels/resize_bilinear_op.cc with align_corners and half_pixel_centers off.
    """
    if min(*size, *images.shape[1:3]) < 1:
        raise UserError(f"images has shape {images.shape} and size is {size}: at least one pixel is needed")
    # Columns first: theirs is the order of rounding.
    return _along(_along(images, 2, size[1]), 1, size[0])


def _along(images: Array, axis: int, size: int) -> Array:
    """Interpolates one axis."""
    old = images.shape[axis]
    if old == size:
        return images
    # In float32, as there: where a place comes out just below a pixel it stays below.
    places = np.arange(size, dtype=np.float32) * np.float32(old / size)
    low = places.astype(np.int32)
    high = np.minimum(low + 1, old - 1)
    weight = (places - low.astype(np.float32)).astype(images.dtype)
    weight = weight.reshape([-1 if i == axis else 1 for i in range(images.ndim)])
    below, above = jnp.take(images, low, axis), jnp.take(images, high, axis)
    return below + (above - below) * weight
