"""The transforms of adaptive discriminator augmentation in a row, by names of groups."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from genjax.augmentation.colour import colour
from genjax.augmentation.corruption import cutout, noise
from genjax.augmentation.filtering import amplify
from genjax.augmentation.geometric import blit, compose, geometric
from genjax.augmentation.resampling import affine
from genjax.typing import Array, UserError

Pipeline = Callable[[Array, Array, ArrayLike], Array]
"""``(keys Key[B], images float[B,H,W,C], p float[]) -> float[B,H,W,C]``: each image alone, each transform with
probability p; the images themselves where p is 0."""

PLACE = {"blit": blit, "geometric": geometric}
"""Groups that become one affine map of places, in the order in which they are applied, before all others."""

VALUE = {"colour": colour, "filter": amplify, "noise": noise, "cutout": cutout}
"""Groups of ``(key, p, image float[H,W,C]) -> float[H,W,C]``, in the order in which they are applied."""

BGC = ("blit", "geometric", "colour")
"""What served best in the paper (section 3.2, figure 4)."""


def pipeline(groups: Sequence[str] = BGC) -> Pipeline:
    """Transforms of the named groups. Their order is the paper's order and does not depend on the order of the names.

    Args:
        groups: names from `PLACE` and `VALUE`.

    Returns:
        ``(keys Key[B], images float[B,H,W,C], p float[]) -> float[B,H,W,C]``.

    Raises:
        UserError: an unknown group, one twice, or none.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from genjax.augmentation import pipeline
        >>> augment = pipeline(["cutout"])
        >>> keys, images = jax.random.split(jax.random.key(0), 2), jnp.ones((2, 8, 8, 3))
        >>> [augment(keys, images, p).min((1, 2, 3)).tolist() for p in (0.0, 1.0)]
        [[1.0, 1.0], [0.0, 0.0]]

    References:
        Karras et al., "Training Generative Adversarial Networks with Limited Data" (2020), section 2.2 and appendix B.
    """
    names = [*PLACE, *VALUE]
    if not groups or len(set(groups)) < len(groups) or not set(groups) <= set(names):
        raise UserError(f"groups={tuple(groups)}: valid are one or more of {', '.join(names)}, each once")

    def one(key: Array, image: Array, p: ArrayLike) -> Array:
        p = jnp.asarray(p)
        # A group's draws do not depend on which others there are.
        keys = dict(zip(names, jax.random.split(key, len(names)), strict=True))
        size = (image.shape[0], image.shape[1])
        places = [place(keys[name], p, size) for name, place in PLACE.items() if name in groups]
        if places:
            image = affine(image, compose(*places)[:2])
        for name, change in VALUE.items():
            if name in groups:
                image = change(keys[name], p, image)
        return image

    return jax.vmap(one, in_axes=(0, 0, None))
