"""DiffAugment: three differentiable changes of colour, place and extent, each applied to every image.

Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training" (2020), section 3.2.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from genjax.augmentation.augmentation import Augmentation, constant
from genjax.typing import Array, UserError

Policy = Callable[[Array, Array], Array]
"""``(key, image float[H,W,C]) -> float[H,W,C]``."""


def diff_augment(policies: Sequence[str] = ("colour", "translation", "cutout")) -> Augmentation:
    """Changes every image by each of the policies, in the order given.

    The same function, with draws of their own, is for real images and fakes, in steps of both networks.

    Args:
        policies: names from `POLICIES`.

    Raises:
        UserError: an unknown policy, or none.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from genjax.augmentation import diff_augment
        >>> augmentation = diff_augment(["cutout"])
        >>> keys, images = jax.random.split(jax.random.key(0), 2), jnp.ones((2, 8, 8, 3))
        >>> sorted(set(augmentation.apply(keys, images, augmentation.init()).ravel().tolist()))
        [0.0, 1.0]

    References:
        Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training" (2020), section 3.2.
    """
    unknown = [name for name in policies if name not in POLICIES]
    if unknown or not policies:
        raise UserError(f"policies={tuple(policies)}: valid are one or more of {', '.join(POLICIES)}")

    def augment(key: Array, image: Array) -> Array:
        for i, name in enumerate(policies):
            image = POLICIES[name](jax.random.fold_in(key, i), image)
        return image

    return constant(jax.vmap(augment))


def colour(key: Array, image: Array) -> Array:
    """Brightness, saturation and contrast of an image float[H,W,C], in this order.

    Adds a number of U(-0.5, 0.5), multiplies the distance from the pixel's mean over channels by one of U(0, 2), and
    that from the image's mean by one of U(0.5, 1.5).
    """
    low, high = jnp.array([-0.5, 0.0, 0.5]), jnp.array([0.5, 2.0, 1.5])
    brightness, saturation, contrast = jax.random.uniform(key, (3,), minval=low, maxval=high)
    image = image + brightness
    image = _stretch(image, image.mean(-1, keepdims=True), saturation)
    return _stretch(image, image.mean(keepdims=True), contrast)


def translation(key: Array, image: Array, ratio: float = 0.125) -> Array:
    """Moves an image float[H,W,C] by whole pixels, up to `ratio` of its size, evenly drawn; zeros (grey) come in."""
    height, width, _ = image.shape
    limits = jnp.array([round(height * ratio), round(width * ratio)])
    down, right = jax.random.randint(key, (2,), -limits, limits + 1)
    # Products with matrices of 0 and 1 are exact, and have fast gradients, which gathers do not on CPU.
    rows = _shift(height, down, image.dtype)
    columns = _shift(width, right, image.dtype)
    return jnp.einsum("ih,hwc,jw->ijc", rows, image, columns, precision="highest")


def cutout(key: Array, image: Array, ratio: float = 0.5) -> Array:
    """Sets a rectangle of `ratio` times the size of an image float[H,W,C] to zero (grey); its centre is anywhere."""
    height, width, _ = image.shape
    sizes = [int(n * ratio + 0.5) for n in (height, width)]
    # An even rectangle has its centre between two pixels, so that it has one place more.
    places = jnp.array([n + (1 - size % 2) for n, size in zip((height, width), sizes, strict=True)])
    first = jax.random.randint(key, (2,), 0, places) - jnp.array(sizes) // 2

    def inside(n: int, start: Array, size: int) -> Array:
        position = jnp.arange(n)
        return (position >= start) & (position < start + size)

    rows, columns = inside(height, first[0], sizes[0]), inside(width, first[1], sizes[1])
    return jnp.where((rows[:, None] & columns[None])[..., None], 0.0, image)


POLICIES: dict[str, Policy] = {"colour": colour, "translation": translation, "cutout": cutout}


def _stretch(image: Array, centre: Array, factor: ArrayLike) -> Array:
    return centre + (image - centre) * factor


def _shift(n: int, distance: Array, dtype: jnp.dtype) -> Array:
    """[n,n], 1 where the row is `distance` below the column."""
    return (jnp.arange(n)[:, None] - jnp.arange(n)[None] == distance).astype(dtype)
