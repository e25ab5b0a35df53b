"""Adaptive discriminator augmentation: as strong as the discriminator's overfitting asks for."""

from typing import NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from genjax.augmentation.augmentation import Augmentation
from genjax.augmentation.pipeline import Pipeline
from genjax.typing import Array, UserError


class AdaptiveState(NamedTuple):
    """Of `adaptive`.

    Attributes:
        p: float32[], probability of each transform.
        signs: float32[], sum over the real images since p last moved of the sign of their logit (the mean over
            the patches of an image).
        images: float32[], number of these images, on all devices.
        step: int32[], number of updates.
    """

    p: Float[Array, ""]
    signs: Float[Array, ""]
    images: Float[Array, ""]
    step: Int[Array, ""]


def fixed(pipeline: Pipeline, p: ArrayLike) -> Augmentation:
    """Always as strong; the state is p, float32[], and may be replaced without a new compilation.

    Args:
        pipeline: see `genjax.augmentation.pipeline`.
        p: probability of each transform, in [0, 1]; an array is not checked.

    Raises:
        UserError: a p that is not valid.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.augmentation import fixed, pipeline
        >>> augmentation = fixed(pipeline(), p=0.25)
        >>> augmentation.update(augmentation.init(), jnp.ones(()), 64).item()  # whatever the discriminator says
        0.25
    """
    _check_probability(p=p)
    return Augmentation(
        init=lambda: jnp.asarray(p, jnp.float32),
        apply=pipeline,
        update=lambda state, sign, images: state,
        strongest=lambda: jnp.ones(()),
    )


def adaptive(
    pipeline: Pipeline,
    target: float = 0.6,
    speed_images: int = 500_000,
    every: int = 4,
    initial: float = 0.0,
    maximum: float = 1.0,
) -> Augmentation:
    """Moves p, float32[], so that ``r = E[sign(D(real))]``, D the logit, comes to `target`.

    A discriminator that overfits is sure of the training images, so that r goes to 1. In every `every`-th step::

        p <- p + sign(r - target) * images / speed_images, kept in [0, maximum]

    with r and the number of real images taken since p last moved.

    Args:
        pipeline: see `genjax.augmentation.pipeline`.
        target: target of r, in (-1, 1).
        speed_images: real images in which p goes from 0 to 1, above 0.
        every: number of steps between two moves, at least 1.
        initial: p at the start, in [0, maximum].
        maximum: largest value of p, in [0, 1].

    Raises:
        UserError: a value that is not valid.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.augmentation import adaptive, pipeline
        >>> augmentation = adaptive(pipeline(), speed_images=1000, every=1)
        >>> sure = jnp.ones(())  # every real image of the batch is judged real
        >>> state = augmentation.update(augmentation.init(), sure, 100)
        >>> print(f"{state.p:.3f}")
        0.100

    References:
        Karras et al., "Training Generative Adversarial Networks with Limited Data" (2020), section 3, equation 1
        (r_t), and section 3.1.
    """
    _check_probability(initial=initial, maximum=maximum)
    if initial > maximum:
        raise UserError(f"initial={initial}: valid are numbers in [0, maximum], and maximum={maximum}")
    if not -1 < target < 1:
        raise UserError(f"target={target}: valid are numbers in (-1, 1)")
    if not speed_images > 0:
        raise UserError(f"speed_images={speed_images}: valid are numbers above 0")
    if every < 1:
        raise UserError(f"every={every}: valid are whole numbers of 1 and more")

    def start(p: float) -> AdaptiveState:
        zero = jnp.zeros(())
        return AdaptiveState(jnp.asarray(p, jnp.float32), zero, zero, jnp.zeros((), jnp.int32))

    def update(state: AdaptiveState, sign: Float[Array, ""], images: int) -> AdaptiveState:
        signs = state.signs + images * sign
        seen = state.images + images
        step = state.step + 1
        moved = jnp.clip(state.p + jnp.sign(signs / seen - target) * seen / speed_images, 0.0, maximum)
        moves = step % every == 0
        zero = jnp.zeros(())
        return AdaptiveState(
            p=jnp.where(moves, moved, state.p),
            signs=jnp.where(moves, zero, signs),
            images=jnp.where(moves, zero, seen),
            step=step,
        )

    return Augmentation(
        init=lambda: start(initial),
        apply=lambda keys, images, state: pipeline(keys, images, state.p),
        update=update,
        strongest=lambda: start(1.0),
    )


def _check_probability(**arguments: ArrayLike) -> None:
    for name, value in arguments.items():
        if isinstance(value, (int, float)) and not 0 <= value <= 1:
            raise UserError(f"{name}={value}: valid are numbers in [0, 1]")
