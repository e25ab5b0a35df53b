"""Halving and doubling of feature maps without parameters."""

import jax.numpy as jnp

from genjax.typing import Array


def downsample(x: Array) -> Array:
    """float[B,H,W,C] -> float[B,H/2,W/2,C]: mean of each 2x2 block; H and W must be even.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax import nn
        >>> nn.downsample(jnp.arange(8.0).reshape(1, 2, 4, 1))[0, :, :, 0].tolist()
        [[2.5, 4.5]]
    """
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).mean((2, 4))


def upsample(x: Array) -> Array:
    """float[B,H,W,C] -> float[B,2H,2W,C]: each element becomes a 2x2 block (nearest neighbour).

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax import nn
        >>> nn.upsample(jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1))[0, :, :, 0].tolist()
        [[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0]]
    """
    batch, height, width, channels = x.shape
    blocks = jnp.broadcast_to(x[:, :, None, :, None, :], (batch, height, 2, width, 2, channels))
    return blocks.reshape(batch, 2 * height, 2 * width, channels)
