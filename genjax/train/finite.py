"""Parameters and images that must be finite, or they are not kept."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from genjax.train.leaves import named_leaves
from genjax.typing import Array, NonFiniteError, TrainState

_LISTED = 5


def bad_parameters(state: TrainState) -> list[str]:
    """Names of the arrays of the parameters, their averages and their statistics that are not finite.

    One number leaves the device, unless something is wrong.
    """
    parts = {name: getattr(state, name) for name in ("params", "ema", "mutable")}
    arrays = {
        name: x for name, x in named_leaves(parts).items() if jnp.issubdtype(x.dtype, jnp.inexact) and x.size
    }
    if not arrays or bool(_all_finite(list(arrays.values()))):
        return []
    return [name for name, x in arrays.items() if not bool(_all_finite([x]))]


@jax.jit
def _all_finite(arrays: list[Array]) -> Array:
    return jnp.stack([jnp.isfinite(x).all() for x in arrays]).all()


def in_words(names: list[str]) -> str:
    """Some of the names, and how many more there are."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def check_images(images: np.ndarray, first: int = 0) -> np.ndarray:
    """The images themselves.

    Args:
        images: float[N,H,W,C], before they become whole numbers, which would hide it.
        first: number of the first one, for the message.

    Raises:
        NonFiniteError: some are not finite.
    """
    fine = np.isfinite(images).reshape(len(images), -1).all(1)
    if not fine.all():
        bad: Any = np.flatnonzero(~fine) + first
        raise NonFiniteError(
            f"{len(bad)} of {len(images)} images are not finite, the first of them number {bad[0]}: the model has "
            "diverged, or the sampler has, as at a high guidance scale"
        )
    return images
