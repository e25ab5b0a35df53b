"""Dropout whose masks belong to the examples, not to the place they have in a device's batch."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax.typing import Array


class Dropout(nn.Module):
    """Dropout with one key per example.

    The mask of an example derives from the "dropout" stream and the example's position in the global batch, so the
    result is the same on one device, on eight, under pmap, or accumulated from micro-batches.

    Attributes:
        rate: probability of zeroing an element, in [0, 1).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax import nn
        >>> layer, x, rngs = nn.Dropout(rate=0.5), jnp.ones((2, 32)), {"dropout": jax.random.key(0)}
        >>> whole = layer.apply({}, x, jnp.array([0, 1]), rngs=rngs)
        >>> second = layer.apply({}, x[1:], jnp.array([1]), rngs=rngs)  # as on another device
        >>> bool((whole[1] == second[0]).all()), sorted(set(whole.ravel().tolist()))
        (True, [0.0, 2.0])

    References:
        Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting" (2014).
    """

    rate: float

    @nn.compact
    def __call__(self, x: Array, index: Array | None) -> Array:
        """Drop elements of `x`: float[B,...]; `index`: int32[B] positions in the global batch, None: no dropout."""
        if index is None or self.rate == 0.0:
            return x
        key = self.make_rng("dropout")

        def mask(i: Array) -> Array:
            return jax.random.bernoulli(jax.random.fold_in(key, i), 1.0 - self.rate, x.shape[1:])

        return jnp.where(jax.vmap(mask)(index), x / (1.0 - self.rate), 0.0).astype(x.dtype)
