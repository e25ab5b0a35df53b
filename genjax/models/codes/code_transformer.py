"""A transformer decoder: an autoregressive model of a grid of codes, called like `PixelCNN`."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax.models.codes.autoregressive import Autoregressive
from genjax.nn import Dropout, materialize
from genjax.typing import Array, UserError


class Block(nn.Module):
    """Attention and a two-layer perceptron, each normalised before and added to its input.

    Attributes:
        heads: number of heads of the attention; divides the width.
        dropout: rate of dropout of what is added.
        dtype: type of the computation; parameters, normalisation and softmax are float32.

    References:
        Vaswani et al., "Attention Is All You Need" (2017), section 3; the normalisation as in Xiong et al., "On Layer
        Normalization in the Transformer Architecture" (2020).
    """

    heads: int
    dropout: float = 0.0
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: Array, visible: Array, dropout_index: Array | None) -> Array:
        """float[B,L,D], bool[L,L] (query, key) -> float[B,L,D]."""
        batch, length, width = x.shape
        h = nn.LayerNorm(name="norm_1")(x)
        # A bias of the keys would cancel in the softmax: its gradient is rounding error, which Adam makes steps of.
        h = nn.Dense(3 * width, use_bias=False, dtype=self.dtype, name="qkv")(h)
        query, key, value = jnp.moveaxis(h.reshape(batch, length, 3, self.heads, width // self.heads), 2, 0)
        logits = jnp.einsum("bqhd,bkhd->bhqk", query, key).astype(jnp.float32) * (width // self.heads) ** -0.5
        weights = jax.nn.softmax(jnp.where(visible[None, None], logits, -jnp.inf)).astype(value.dtype)
        h = jnp.einsum("bhqk,bkhd->bqhd", weights, value).reshape(x.shape)
        h = nn.Dense(width, dtype=self.dtype, name="out")(h)
        x = materialize(x + Dropout(self.dropout, name="dropout_1")(h, dropout_index))
        h = nn.LayerNorm(name="norm_2")(x)
        h = nn.gelu(nn.Dense(4 * width, dtype=self.dtype, name="mlp_1")(h))
        h = nn.Dense(width, dtype=self.dtype, name="mlp_2")(h)
        return materialize(x + Dropout(self.dropout, name="dropout_2")(h, dropout_index))


class CodeTransformer(Autoregressive):
    """A stack of `Block`; see `Autoregressive` for the attributes that are not here.

    The sequence is the class, the coarser codes, and the codes but the last, in raster order. The class and the
    coarser codes are seen from everywhere, a code from its own place on. The grid may not change its size after
    initialisation: positions are learned.

    A call computes all positions anew, and keeps no keys and values from call to call: drawing T codes one after the
    other costs T calls.

    Attributes:
        width: width D of the features.
        depth: number of blocks.
        heads: number of attention heads; divides `width`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.models.codes.code_transformer import CodeTransformer
        >>> network, codes = CodeTransformer(num_codes=16, width=8, depth=1, heads=2), jnp.zeros((2, 4, 4), int)
        >>> logits, variables = jax.eval_shape(network.init_with_output, jax.random.key(0), codes)
        >>> logits.shape, variables["params"]["positions"].shape  # the class and all codes but the last
        ((2, 4, 4, 16), (16, 8))

    References:
        Esser et al., "Taming Transformers for High-Resolution Image Synthesis" (2021), section 3.2.
        Xiong et al., "On Layer Normalization in the Transformer Architecture" (2020): normalisation before.
    """

    width: int = 128
    depth: int = 4
    heads: int = 4

    @property
    def features(self) -> int:
        """The width of the blocks."""
        return self.width

    def body(
        self, codes: Array, label: Array | None, coarser: Array | None, dropout_index: Array | None
    ) -> Array:
        """See `Autoregressive.body`."""
        if self.width % self.heads:
            raise UserError(f"heads={self.heads} must divide width={self.width}")
        batch = codes.shape[0]
        # Without classes the table has one row: the token that starts a sequence.
        start = jnp.zeros(batch, jnp.int32) if label is None else label
        parts = [self.embed(start[:, None], (self.num_classes or 0) + 1, "class")]
        if coarser is not None:
            parts.append(self.embed(coarser.reshape(batch, -1), self.coarser_codes or 0, "coarser"))
        first = sum(part.shape[1] for part in parts) - 1  # the place from which the first code is told
        parts.append(self.embed(codes.reshape(batch, -1)[:, :-1], self.num_codes, "codes"))
        x = jnp.concatenate(parts, axis=1)

        positions = self.param("positions", nn.initializers.normal(0.02), x.shape[1:], jnp.float32)
        x = x + positions[None].astype(x.dtype)
        place = jnp.arange(x.shape[1])
        visible = place[None] <= jnp.maximum(place, first)[:, None]
        for i in range(self.depth):
            x = Block(self.heads, self.dropout, self.dtype, name=f"block_{i}")(x, visible, dropout_index)
        return nn.LayerNorm(name="norm_out")(x[:, first:]).reshape(*codes.shape, self.width)
