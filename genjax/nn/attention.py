"""Self-attention over the positions of a feature map."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax.nn.normalization import GroupNorm
from genjax.typing import Array


class SelfAttention(nn.Module):
    """Pre-normalised multi-head self-attention with a residual connection, zero at initialisation (Dhariwal &
    Nichol 2021, section 3).

    Attributes:
        head_channels: width of a head; the number of heads is C / head_channels (one head where C is smaller).
        dtype: type of the computation; the softmax is always float32.
    """

    head_channels: int = 64
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """float[B,H,W,C] -> float[B,H,W,C]."""
        batch, height, width, channels = x.shape
        heads = max(1, channels // self.head_channels)
        h = GroupNorm(dtype=self.dtype, name="norm")(x).reshape(batch, height * width, channels)
        qkv = nn.Dense(3 * channels, dtype=self.dtype, name="qkv")(h)
        query, key, value = jnp.moveaxis(
            qkv.reshape(batch, height * width, 3, heads, channels // heads), 2, 0
        )
        logits = jnp.einsum("bqhd,bkhd->bhqk", query, key) / jnp.sqrt(channels / heads).astype(query.dtype)
        weights = jax.nn.softmax(logits.astype(jnp.float32), axis=-1).astype(value.dtype)
        h = jnp.einsum("bhqk,bkhd->bqhd", weights, value).reshape(batch, height * width, channels)
        h = nn.Dense(channels, dtype=self.dtype, kernel_init=nn.initializers.zeros, name="out")(h)
        return x + h.reshape(x.shape).astype(x.dtype)
