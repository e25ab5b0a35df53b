"""Self-attention over the positions of a feature map."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax.nn.normalization import GroupNorm
from genjax.typing import Array

MAX_LOGITS_BYTES = 256 << 20
"""Most memory for the logits of one block of queries."""


def dot_product_attention(query: Array, key: Array, value: Array, *, scaled: bool = True) -> Array:
    """softmax(Q K^T / sqrt(D)) V for each head.

    Where all logits would take more than `MAX_LOGITS_BYTES`, queries are taken in blocks, and the backward pass
    computes each block anew: memory then grows with the number of positions, and not with its square.

    Args:
        query: float[B,Q,heads,D].
        key: float[B,K,heads,D].
        value: float[B,K,heads,V].
        scaled: whether logits are divided by sqrt(D).

    Returns:
        float[B,Q,heads,V]; the softmax is float32.

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> from genjax import nn
        >>> keys = jnp.eye(2).reshape(1, 2, 1, 2)  # two positions, one head; each looks for itself
        >>> values = jnp.array([0.0, 1.0]).reshape(1, 2, 1, 1)
        >>> print(np.asarray(nn.dot_product_attention(keys, keys, values)).ravel().round(2))
        [0.33 0.67]

    References:
        Vaswani et al., "Attention Is All You Need" (2017), equation 1.
    """
    batch, queries, heads, width = query.shape

    def attend(query: Array) -> Array:
        """float[B,block,heads,D] -> float[B,block,heads,V]."""
        if scaled:
            query = query / jnp.sqrt(width).astype(query.dtype)
        logits = jnp.einsum("bqhd,bkhd->bhqk", query, key)
        weights = jax.nn.softmax(logits.astype(jnp.float32), axis=-1).astype(value.dtype)
        return jnp.einsum("bhqk,bkhd->bqhd", weights, value)

    block = _block(queries, 4 * batch * heads * key.shape[1])
    if block == queries:
        return attend(query)
    blocks = jnp.moveaxis(query.reshape(batch, queries // block, block, heads, width), 1, 0)
    attended = jnp.moveaxis(jax.lax.map(jax.checkpoint(attend), blocks), 0, 1)
    return attended.reshape(batch, queries, heads, value.shape[-1])


def _block(queries: int, bytes_per_query: int) -> int:
    """The largest divisor of `queries` whose logits fit; at least 1."""
    most = max(1, MAX_LOGITS_BYTES // bytes_per_query)
    return next(n for n in range(min(queries, most), 0, -1) if queries % n == 0)


class SelfAttention(nn.Module):
    """Pre-normalised multi-head self-attention with a residual connection, zero at initialisation.

    Attributes:
        head_channels: width of a head; there are C // head_channels heads, at least one, and their number divides C.
        dtype: type of the computation; the softmax is always float32.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax import nn
        >>> layer, x = nn.SelfAttention(head_channels=4), jnp.arange(32.0).reshape(1, 2, 2, 8)
        >>> y, variables = jax.jit(layer.init_with_output)(jax.random.key(0), x)
        >>> bool((y == x).all())  # at initialisation nothing is added
        True

    References:
        Dhariwal and Nichol, "Diffusion Models Beat GANs on Image Synthesis" (2021), section 3.
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
        h = dot_product_attention(query, key, value).reshape(batch, height * width, channels)
        h = nn.Dense(channels, dtype=self.dtype, kernel_init=nn.initializers.zeros, name="out")(h)
        return x + h.reshape(x.shape).astype(x.dtype)
