"""Whether a generator can learn through an augmentation."""

import jax
import jax.numpy as jnp

from genjax.augmentation.augmentation import Augmentation
from genjax.typing import Array, UserError

_PROBES = 4


def check_differentiable(augmentation: Augmentation, image_shape: tuple[int, int, int]) -> None:
    """Raises UserError unless the augmented image depends on the image with a finite slope that is not zero.

    Rounding, for example, has the slope zero everywhere: the generator would get no gradient. The slopes at a few
    random images are looked at, with all transforms applied. May be called while a function is traced.

    Args:
        augmentation: what to check.
        image_shape: (H, W, C).

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.augmentation import check_differentiable, none
        >>> check_differentiable(none(), (8, 8, 3))
        >>> rounding = none()._replace(apply=lambda keys, images, state: jnp.round(images))
        >>> check_differentiable(rounding, (8, 8, 3))
        Traceback (most recent call last):
            ...
        genjax.typing.UserError: augmentation: its derivative in the images is zero everywhere...
    """
    with jax.ensure_compile_time_eval():
        strongest = augmentation.strongest or augmentation.init
        keys = jax.random.split(jax.random.key(0), _PROBES)
        images = jax.random.uniform(jax.random.key(1), (_PROBES, *image_shape), minval=-1.0)
        weights = jax.random.normal(jax.random.key(2), images.shape)

        def probe(images: Array) -> Array:
            return (weights * augmentation.apply(keys, images, strongest())).sum()

        try:
            slope = jax.jit(jax.grad(probe))(images)
        except UserError:
            raise
        except (TypeError, ValueError, NotImplementedError) as error:
            raise UserError(f"augmentation: it has no derivative in the images: {error}") from error
        finite, zero = bool(jnp.isfinite(slope).all()), not bool(jnp.any(slope))
    if not finite:
        raise UserError("augmentation: its derivative in the images is not finite everywhere")
    if zero:
        raise UserError(
            "augmentation: its derivative in the images is zero everywhere, so that the generator would learn nothing "
            "through it; valid are differentiable functions (no rounding, no comparison)"
        )
