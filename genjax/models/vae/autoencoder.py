"""An autoencoder without a distribution over its code."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn

from genjax.typing import Array


class Autoencoder(nn.Module):
    """A code of an image, and the image again.

    Attributes:
        encoder: ``(x, label) -> features float[B,F]``, as in `genjax.models.vae.vae`.
        decoder: ``(z, label) -> outputs float[B,H,W,P]``.
        latent: D, width of the code.
        activation: of the code; a sigmoid for a code that is to be sparse in the sense of Ng (2011).
    """

    encoder: nn.Module
    decoder: nn.Module
    latent: int
    activation: Callable[[Array], Array] | None = None

    def setup(self) -> None:
        self.code = nn.Dense(self.latent)

    def __call__(self, x: Array, label: Array | None = None) -> tuple[Array, Array]:
        """float[B,H,W,C], int32[B] -> outputs float[B,H,W,P], code float[B,D]."""
        z = self.encode(x, label)
        return self.decode(z, label), z

    def encode(self, x: Array, label: Array | None = None) -> Array:
        """float[B,H,W,C], int32[B] -> float[B,D]."""
        z: Any = self.code(self.encoder(x, label))
        return z if self.activation is None else self.activation(z)

    def decode(self, z: Array, label: Array | None = None) -> Array:
        """float[B,D], int32[B] -> float[B,H,W,P]."""
        return self.decoder(z, label)
