"""How far the network's output is from its target: one number for each example."""

from collections.abc import Callable
from typing import TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from genjax.typing import Array, UserError

Distance: TypeAlias = Callable[[Array, Array], Array]
"""``(output [B, ...], target [B, ...]) -> float [B]``."""


def squared(output: Float[Array, "B *shape"], target: Float[Array, "B *shape"]) -> Float[Array, "B"]:
    """The mean of the squared differences.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import distance
        >>> distance.squared(jnp.zeros((2, 4)), jnp.array([[2.0, 2, 2, 2], [2, 0, 0, 0]]))
        Array([4., 1.], dtype=float32)

    References:
        Ho et al., "Denoising Diffusion Probabilistic Models" (2020), equation 14.
    """
    return jnp.mean(jnp.square(output - target), _all_but_first(output))


def pseudo_huber(c: float | None = None) -> Distance:
    """sqrt(||output - target||^2 + c^2) - c: nearly ||.||^2 / (2 c) where it is small, ||.|| where it is large.

    Unlike `squared`, it is of the sum over the pixels, not of the mean.

    Args:
        c: above 0; None: 0.00054 sqrt(number of pixels times channels).

    Returns:
        The distance, ``(output float[B, ...], target float[B, ...]) -> float[B]``.

    Raises:
        UserError: if `c` is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import distance
        >>> distance.pseudo_huber(c=1.0)(jnp.zeros((1, 3)), jnp.ones((1, 3)))  # sqrt(3 + 1) - 1
        Array([1.], dtype=float32)

    References:
        Song and Dhariwal, "Improved Techniques for Training Consistency Models" (2023), equation 8 and section 3.3.
    """
    if c is not None and not c > 0:
        raise UserError(f"c = {c} must be positive")

    def distance(output: Float[Array, "B *shape"], target: Float[Array, "B *shape"]) -> Float[Array, "B"]:
        square = jnp.sum(jnp.square(output - target), _all_but_first(output))
        bound = 0.00054 * np.sqrt(np.prod(output.shape[1:])) if c is None else c
        # sqrt(a + c^2) - c loses its digits where a is small.
        return square / (jnp.sqrt(square + bound**2) + bound)

    return distance


DISTANCES: dict[str, Distance] = {"squared": squared, "pseudo_huber": pseudo_huber()}
"""The distances, by name."""


def _all_but_first(x: Array) -> tuple[int, ...]:
    return tuple(range(1, x.ndim))
