"""An autoencoder without a distribution over its code."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn

from genjax.typing import Array, Condition


class Autoencoder(nn.Module):
    """A code of an image, and the image again.

    Attributes:
        encoder: ``(x, condition) -> features float[B,F]``, as in `genjax.models.vae.vae`, which says what a
            condition is.
        decoder: ``(z, condition) -> outputs float[B,H,W,P]``.
        latent: D, width of the code.
        activation: activation of the code; a sigmoid for a code that is to be sparse in the sense of
            `genjax.losses.sparsity.kl`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.models.vae.autoencoder import Autoencoder
        >>> from genjax.models.vae.mlp import MLPDecoder, MLPEncoder
        >>> network = Autoencoder(MLPEncoder((16,)), MLPDecoder((8, 8, 1), (16,)), latent=2)
        >>> (outputs, code), _ = jax.eval_shape(network.init_with_output, jax.random.key(0), jnp.zeros((3, 8, 8, 1)))
        >>> outputs.shape, code.shape
        ((3, 8, 8, 1), (3, 2))
    """

    encoder: nn.Module
    decoder: nn.Module
    latent: int
    activation: Callable[[Array], Array] | None = None

    def setup(self) -> None:
        self.code = nn.Dense(self.latent)

    def __call__(self, x: Array, condition: Condition | None = None) -> tuple[Array, Array]:
        """float[B,H,W,C] -> outputs float[B,H,W,P], code float[B,D]."""
        z = self.encode(x, condition)
        return self.decode(z, condition), z

    def encode(self, x: Array, condition: Condition | None = None) -> Array:
        """float[B,H,W,C] -> float[B,D]."""
        z: Any = self.code(self.encoder(x, condition))
        return z if self.activation is None else self.activation(z)

    def decode(self, z: Array, condition: Condition | None = None) -> Array:
        """float[B,D] -> float[B,H,W,P]."""
        return self.decoder(z, condition)
