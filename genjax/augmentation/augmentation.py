"""What an augmentation is, and the one that does nothing."""

from collections.abc import Callable
from typing import NamedTuple

from genjax.typing import Array, PyTree


class Augmentation(NamedTuple):
    """Of the images that a discriminator sees; see `genjax.augmentation`.

    Attributes:
        init: ``() -> state``.
        apply: ``(keys Key[B], images float[B,H,W,C] in [-1,1], state) -> float[B,H,W,C]``, each image alone, and
            differentiable in the images, twice. Values may leave [-1, 1].
        update: ``(state, sign, images) -> state`` after a step of the discriminator; `sign` is float[], the mean over
            the real images of the global batch of the sign of their logits, and `images` is how many these were.
        strongest: ``() -> state`` in which all is applied to each image, for checks; None: the first state is one.
    """

    init: Callable[[], PyTree]
    apply: Callable[[Array, Array, PyTree], Array]
    update: Callable[[PyTree, Array, int], PyTree]
    strongest: Callable[[], PyTree] | None = None


def none() -> Augmentation:
    """Leaves images as they are.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from genjax.augmentation import none
        >>> augmentation = none()
        >>> keys, images = jax.random.split(jax.random.key(0), 1), jnp.full((1, 1, 1, 1), 0.5)
        >>> augmentation.apply(keys, images, augmentation.init()).item()
        0.5
    """
    return constant(lambda keys, images: images)


def constant(augment: Callable[[Array, Array], Array]) -> Augmentation:
    """An augmentation without a state, from ``(keys Key[B], images float[B,H,W,C]) -> float[B,H,W,C]``."""
    return Augmentation(
        init=lambda: (),
        apply=lambda keys, images, state: augment(keys, images),
        update=lambda state, sign, images: state,
    )
