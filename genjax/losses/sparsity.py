"""Penalties that keep most components of a code near zero."""

import jax.numpy as jnp
from jaxtyping import Float

from genjax.typing import Array


def l1(code: Float[Array, "B D"]) -> Float[Array, ""]:
    """Mean over the examples of the sum of absolute values.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.losses import sparsity
        >>> sparsity.l1(jnp.array([[1.0, -2.0], [0.0, 1.0]])).item()
        2.0
    """
    return jnp.abs(code).sum(1).mean()


def kl(mean_activation: Float[Array, "D"], target: float = 0.05) -> Float[Array, ""]:
    """``sum_j KL(target || mean_activation_j)`` between Bernoulli distributions, in nats.

    Args:
        mean_activation: mean of each component over the examples, in (0, 1).
        target: what it should be, in (0, 1).

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.losses import sparsity
        >>> print(f"{sparsity.kl(jnp.array([0.05, 0.5])):.3f}")  # the first component is as it should be
        0.495

    References:
        Ng, "Sparse autoencoder" (CS294A lecture notes, 2011), section 3.
    """
    tiny = jnp.finfo(mean_activation.dtype).tiny
    on = jnp.maximum(mean_activation, tiny)
    off = jnp.maximum(1 - mean_activation, tiny)
    return (target * jnp.log(target / on) + (1 - target) * jnp.log((1 - target) / off)).sum()
