"""Embeddings of scalars."""

import math

import jax.numpy as jnp

from genjax.typing import Array


def sinusoidal_embedding(x: Array, width: int, max_period: float = 10_000.0) -> Array:
    """Cosines, then sines, of geometrically spaced frequencies.

    Args:
        x: float[B], any range; diffusion times in [0, 1] are usually multiplied by 1,000 before.
        width: even number of features.
        max_period: the periods are ``2 pi max_period**(2 i / width)`` for i = 0 to ``width / 2 - 1``: from 2 pi to
            almost 2 pi times `max_period`.

    Returns:
        float32[B, width].

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> from genjax import nn
        >>> print(np.asarray(nn.sinusoidal_embedding(jnp.array([1.0]), width=4)).round(3))
        [[0.54  1.    0.841 0.01 ]]

    References:
        Vaswani et al., "Attention Is All You Need" (2017), section 3.5; there sines and cosines alternate.
    """
    half = width // 2
    frequencies = jnp.exp(-math.log(max_period) * jnp.arange(half, dtype=jnp.float32) / half)
    angles = x.astype(jnp.float32)[:, None] * frequencies[None]
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)
