"""Consistency: a critic should say the same of an image and of an augmented copy of it."""

from collections.abc import Callable
from typing import TypeAlias

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float, Key

from genjax.losses.penalties.penalty import Penalty, check_not_negative, mean_over_patches
from genjax.random import fold_in
from genjax.typing import Array

Augment: TypeAlias = Callable[[Array, Array], Array]
"""``(keys Key[B], images float[B,H,W,C]) -> float[B,H,W,C]``, each image alone."""


def consistency(augment: Augment, weight: ArrayLike = 10.0) -> Penalty:
    """``weight * (D(x) - D(augmented x))^2`` of real images (CR), D the logit; patches are compared each.

    Args:
        augment: a change that leaves an image what it is; a strength is closed over. The shape of the critic's logits
            must stay.
        weight: float[], lambda, 0 or more.

    Raises:
        UserError: a negative weight.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from genjax.losses import penalties
        >>> critic = lambda images: images.sum((1, 2, 3))
        >>> keys, real, fake = jax.random.split(jax.random.key(0), 1), jnp.ones((1, 1, 1, 1)), jnp.zeros((1, 1, 1, 1))
        >>> penalty = penalties.consistency(lambda keys, images: -images, weight=10.0)
        >>> values, state = penalty.apply(critic, keys, real, fake, critic(real), critic(fake), penalty.init())
        >>> values  # 10 (1 - (-1))^2
        Array([40.], dtype=float32)

    References:
        Zhang et al., "Consistency Regularization for Generative Adversarial Networks" (2020), section 2.
    """
    return balanced_consistency(augment, weight, None)


def balanced_consistency(
    augment: Augment, real_weight: ArrayLike = 10.0, fake_weight: ArrayLike | None = 10.0
) -> Penalty:
    """`consistency` of real images, and of fake ones (bCR).

    Args:
        augment: see `consistency`; the draws for an image and its fake are independent.
        real_weight: float[], 0 or more.
        fake_weight: float[], 0 or more; None: fakes are not looked at.

    Raises:
        UserError: a negative weight.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from genjax.losses import penalties
        >>> critic = lambda images: images.sum((1, 2, 3))
        >>> keys, real, fake = jax.random.split(jax.random.key(0), 1), jnp.zeros((1, 1, 1, 1)), jnp.ones((1, 1, 1, 1))
        >>> penalty = penalties.balanced_consistency(lambda keys, images: -images, fake_weight=5.0)
        >>> values, state = penalty.apply(critic, keys, real, fake, critic(real), critic(fake), penalty.init())
        >>> values  # 5 (1 - (-1))^2
        Array([20.], dtype=float32)

    References:
        Zhao et al., "Improved Consistency Regularization for GANs" (2021), algorithm 1.
    """
    check_not_negative(real_weight=real_weight, fake_weight=fake_weight)

    def apply(
        critic: Callable[[Array], Array],
        keys: Key[Array, "B"],
        real: Float[Array, "B H W C"],
        fake: Float[Array, "B H W C"],
        real_logits: Float[Array, "B ..."],
        fake_logits: Float[Array, "B ..."],
        state: tuple,
    ) -> tuple[Float[Array, "B"], tuple]:
        def change(side: int, images: Array, logits: Array) -> Array:
            return mean_over_patches(jnp.square(critic(augment(fold_in(keys, side), images)) - logits))

        values = jnp.multiply(real_weight, change(0, real, real_logits))
        if fake_weight is not None:
            values += jnp.multiply(fake_weight, change(1, fake, fake_logits))
        return values, ()

    return Penalty(lambda: (), apply)
