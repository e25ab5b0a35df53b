"""How many images a classifier gets right if somebody changes them a little. Pure, jittable.

A set of any size is measured batch by batch: `robust_correct` of each, summed where the batch has images.
"""

from collections.abc import Callable

import jax.numpy as jnp
import optax
from jaxtyping import Bool, Float, Int, Key

from genjax.typing import Array

Attack = Callable[[Callable[[Array], Array], Array, Array], Array]
"""See `genjax.losses.attacks`."""


def robust_correct(
    classify: Callable[[Array], Array],
    attack: Attack,
    keys: Key[Array, "B"],
    images: Float[Array, "B H W C"],
    labels: Int[Array, "B"],
) -> Bool[Array, "B"]:
    """Whether an image is classified as labelled both as it is and attacked.

    The image is in the ball of changes too, so one that is wrong to begin with is not robust, also where a random
    change puts it right. What an attack finds is an upper bound: a stronger one may find more.

    Args:
        classify: ``images -> logits float[B,K]``, each image alone.
        attack: raises the cross-entropy of the logits with the labels.
        keys: keys of the attack, one per image.
        images: in [-1, 1].
        labels: true classes.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from genjax.losses import attacks
        >>> from genjax.metrics.robustness import robust_correct
        >>> classify = lambda images: jnp.concatenate([-images, images], -1)[:, 0, 0]  # class 1: above 0
        >>> keys, images = jax.random.split(jax.random.key(0), 2), jnp.array([0.5, 0.1]).reshape(2, 1, 1, 1)
        >>> robust_correct(classify, attacks.fgsm(0.2), keys, images, jnp.array([1, 1])).tolist()
        [True, False]

    References:
        Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks" (2018), section 2.
    """

    def objective(x: Array) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(classify(x), labels)

    def correct(x: Array) -> Array:
        return classify(x).argmax(-1) == labels

    return correct(images) & correct(attack(objective, keys, images))


def robust_accuracy(
    classify: Callable[[Array], Array],
    attack: Attack,
    keys: Key[Array, "B"],
    images: Float[Array, "B H W C"],
    labels: Int[Array, "B"],
) -> Float[Array, ""]:
    """The share of the images that are `robust_correct`, in [0, 1].

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from genjax.losses import attacks
        >>> from genjax.metrics.robustness import robust_accuracy
        >>> classify = lambda images: jnp.concatenate([-images, images], -1)[:, 0, 0]  # class 1: above 0
        >>> keys, images = jax.random.split(jax.random.key(0), 2), jnp.array([0.5, 0.1]).reshape(2, 1, 1, 1)
        >>> robust_accuracy(classify, attacks.fgsm(0.2), keys, images, jnp.array([1, 1])).item()
        0.5

    References:
        Madry et al. (2018), see `robust_correct`.
    """
    return jnp.mean(robust_correct(classify, attack, keys, images, labels), dtype=jnp.float32)
