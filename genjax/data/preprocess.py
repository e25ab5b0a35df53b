"""From stored levels to what networks see, and back: pure functions that run inside the compiled step."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float, UInt8

from genjax.typing import Array, Key, UserError


def preprocess(
    key: Key,
    batch: Mapping[str, Any],
    *,
    flip: bool = False,
    crop_padding: int = 0,
    binarize: bool = False,
) -> dict[str, Array]:
    """Scales the images of a batch to [-1, 1], and augments them; all images of an example in the same way.

    Each example's randomness derives from ``fold_in(key, batch["_index"][i])`` and so does not depend on how
    the global batch is split over devices, hosts and accumulation steps.

    Args:
        key: key of this step. Unused without augmentation.
        batch: "image" uint8[B,H,W,C]; other images, such as images of another domain, uint8[B,H',W',C']; "_index"
            int32[B] if anything is random; the rest is passed through.
        flip: mirror each image left to right with probability one half.
        crop_padding: pixels p of reflect padding on every side, out of which a random window of the original
            size is cut; all (2p + 1)^2 windows are equally likely.
        binarize: draw each pixel of "image" anew, white with probability level / 255 and else black.

    Returns:
        The batch with "image" float32[B,H,W,C] in [-1, 1], and so all other images.

    Raises:
        UserError: crop_padding that is negative or not smaller than the image, or with other images of another size.

    Example:
        >>> import jax, numpy as np
        >>> from genjax import data
        >>> batch = {"image": np.uint8([0, 255]).reshape(1, 1, 2, 1), "label": np.int32([3])}
        >>> ready = data.preprocess(jax.random.key(0), batch)
        >>> ready["image"].ravel().tolist(), ready["label"].tolist()
        ([-1.0, 1.0], [3])
    """
    both = {name: jnp.asarray(x) for name, x in batch.items() if x.ndim == 4 and x.dtype == jnp.uint8}
    image = both["image"]
    if not 0 <= crop_padding < min(image.shape[1:3]):
        raise UserError(
            f"crop_padding={crop_padding}: valid are 0..{min(image.shape[1:3]) - 1} for images of "
            f"{image.shape[1]}x{image.shape[2]} pixels"
        )
    if crop_padding and any(x.shape[1:3] != image.shape[1:3] for x in both.values()):
        sizes = {name: x.shape[1:3] for name, x in both.items()}
        raise UserError(
            f"crop_padding={crop_padding}: valid is 0 where the images of a record differ in size, {sizes}"
        )
    if flip or crop_padding or binarize:
        keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, batch["_index"])
        flip_keys, crop_keys = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
        if flip:
            both = {name: jax.vmap(_random_flip)(flip_keys, x) for name, x in both.items()}
        if crop_padding:
            crop = jax.vmap(_random_crop, in_axes=(0, 0, None))
            both = {name: crop(crop_keys, x, crop_padding) for name, x in both.items()}
        if binarize:
            level_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, 2)
            both["image"] = jax.vmap(_random_levels)(level_keys, both["image"])
    return {**batch, **{name: to_float(x) for name, x in both.items()}}


def to_float(image: UInt8[Array, "*B H W C"]) -> Float[Array, "*B H W C"]:
    """Levels 0..255 -> float32 in [-1, 1]: ``x / 127.5 - 1``.

    Computed as ``(2 x - 255) / 255``, of which only the division rounds: the ends are exactly -1 and 1, and
    level x is exactly the negative of level 255 - x.

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> from genjax import data
        >>> levels = jnp.array([0, 51, 255], jnp.uint8).reshape(1, 3, 1)
        >>> print(np.asarray(data.to_float(levels)).ravel().round(3))
        [-1.  -0.6  1. ]
    """
    return (2 * image.astype(jnp.float32) - 255) / 255


def to_uint8(image: Float[Array, "*B H W C"]) -> UInt8[Array, "*B H W C"]:
    """[-1, 1] -> nearest of the levels 0..255; values outside are clipped. Inverts `to_float`.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax import data
        >>> data.to_uint8(jnp.array([-1.0, 0.2, 7.0]).reshape(1, 3, 1)).ravel().tolist()
        [0, 153, 255]
    """
    return jnp.clip(jnp.round((image.astype(jnp.float32) + 1) * 127.5), 0, 255).astype(jnp.uint8)


def _random_levels(key: Key, image: UInt8[Array, "H W C"]) -> UInt8[Array, "H W C"]:
    white = jax.random.randint(key, image.shape, 0, 255) < image
    return jnp.where(white, 255, 0).astype(jnp.uint8)


def _random_flip(key: Key, image: UInt8[Array, "H W C"]) -> UInt8[Array, "H W C"]:
    return jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)


def _random_crop(key: Key, image: UInt8[Array, "H W C"], padding: int) -> UInt8[Array, "H W C"]:
    padded = jnp.pad(image, ((padding, padding), (padding, padding), (0, 0)), mode="reflect")
    corner = jax.random.randint(key, (2,), 0, 2 * padding + 1)
    return jax.lax.dynamic_slice(padded, (corner[0], corner[1], 0), image.shape)
