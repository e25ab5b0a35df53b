"""Self-attention between the convolutions of a generator or discriminator."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from genjax.nn.attention import dot_product_attention
from genjax.nn.convolution import Conv
from genjax.nn.pooling import max_pool
from genjax.nn.weight_norm import WeightNorm, apply_layer
from genjax.typing import Array


class SpatialAttention(nn.Module):
    """One head of attention from all positions to the halved map, added with a weight that starts at zero.

    Unlike in `genjax.nn.SelfAttention` features are not normalised, and weights may be.

    Attributes:
        weight_norm: wraps the 1x1 convolutions, see `genjax.nn.weight_norm`; None: no normalisation.
        kernel_init: initialiser of all kernels.
        dtype: type of the computation; the softmax is float32.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.models.gan.attention import SpatialAttention
        >>> layer, x = SpatialAttention(), jnp.arange(32.0).reshape(1, 2, 2, 8)
        >>> y, variables = jax.jit(layer.init_with_output)(jax.random.key(0), x)
        >>> bool((y == x).all()), float(variables["params"]["gate"])  # at initialisation nothing is added
        (True, 0.0)

    References:
        Zhang et al., "Self-Attention Generative Adversarial Networks" (2019), section 3.
    """

    weight_norm: WeightNorm | None = None
    kernel_init: Callable[..., Any] = nn.initializers.orthogonal()
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Array:
        """float[B,H,W,C] -> float[B,H,W,C]; queries and keys have C / 8 channels, values C / 2."""
        batch, height, width, channels = x.shape

        def project(x: Array, features: int, name: str) -> Array:
            layer = Conv(
                max(1, features),
                (1, 1),
                use_bias=False,
                dtype=self.dtype,
                kernel_init=self.kernel_init,
                name=name,
            )
            return apply_layer(self.weight_norm, layer, x, train)

        def flat(y: Array) -> Array:
            """The positions, for one head."""
            return y.reshape(batch, -1, 1, y.shape[-1])

        def halved(y: Array) -> Array:
            return y if min(height, width) < 2 else max_pool(y, (2, 2), (2, 2))

        query = flat(project(x, channels // 8, "query"))
        key, value = (
            flat(halved(project(x, channels // 8, "key"))),
            flat(halved(project(x, channels // 2, "value"))),
        )
        h = dot_product_attention(query, key, value, scaled=False).reshape(batch, height, width, -1)
        gate = self.param("gate", nn.initializers.zeros, (), jnp.float32)
        return x + (gate * project(h, channels, "out")).astype(x.dtype)
