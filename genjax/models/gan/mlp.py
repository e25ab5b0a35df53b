"""The multilayer perceptrons of the first generative adversarial networks."""

import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from genjax.models.gan.conditioning import joined, projected, seen
from genjax.nn.batch_norm import BatchNorm
from genjax.typing import Array, UserError

MLPNorm = functools.partial(BatchNorm, momentum=0.8, epsilon=1e-3)
"""Batch normalisation of a generator whose running statistics follow quickly, as that of Linder-Noren's Keras-GAN."""


class MLPGenerator(nn.Module):
    """A perceptron with rectified linear units, from latent variables to the pixels.

    Attributes:
        image_shape: H, W, C of the images.
        hidden: widths of the layers.
        join: how a label joins z, see `genjax.models.gan.conditioning.Join`; None: an unconditional generator.
        norm: makes the normalisation, called with `train`, after the units of each layer; None: none.
        slope: of the units below zero.
        dtype: type of the computation; parameters and images are float32.

    References:
        Goodfellow et al., "Generative Adversarial Nets" (2014), section 5. Images are in [-1, 1], and so the output
        is a tanh instead of a sigmoid.
    """

    image_shape: tuple[int, int, int]
    hidden: tuple[int, ...] = (1200, 1200)
    join: nn.Module | None = None
    norm: Callable[..., Any] | None = None
    slope: float = 0.0
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, z: Array, label: Array | None = None, *, train: bool = False) -> Array:
        """float[B,Z], int32[B] -> float32[B,H,W,C] in [-1, 1]; `train` is the normalisation's."""
        h = joined(self.join, z, label)
        for i, width in enumerate(self.hidden):
            h = nn.leaky_relu(nn.Dense(width, dtype=self.dtype, name=f"hidden_{i}")(h), self.slope)
            if self.norm is not None:
                h = self.norm(dtype=self.dtype, name=f"norm_{i}")(h, train=train)
        h = nn.Dense(math.prod(self.image_shape), dtype=self.dtype, name="out")(h)
        return jnp.tanh(h.astype(jnp.float32)).reshape(-1, *self.image_shape)


class MLPDiscriminator(nn.Module):
    """A perceptron on the pixels, with maxout units. There is no dropout: noise is the business of a regulariser.

    Attributes:
        hidden: widths of the layers, whose outputs are the features.
        pieces: a unit is the largest of so many linear functions; 1: leaky rectified linear units instead.
        join: how a label joins the pixels, see `genjax.models.gan.conditioning.Join`.
        projection: see `genjax.models.gan.conditioning.Projection`.
        dtype: type of the computation; parameters, logits and features are float32.

    References:
        Goodfellow et al., "Generative Adversarial Nets" (2014), section 5; "Maxout Networks" (2013), section 3.
    """

    hidden: tuple[int, ...] = (240, 240)
    pieces: int = 5
    join: nn.Module | None = None
    projection: nn.Module | None = None
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(
        self, images: Array, label: Array | None = None, *, train: bool = False
    ) -> tuple[Array, tuple[Array, ...]]:
        """float[B,H,W,C] in [-1, 1], int32[B] -> logits float32[B], features (float32[B,1,1,width], ...).

        Raises:
            UserError: if `pieces` is less than 1.
        """
        if self.pieces < 1:
            raise UserError(f"pieces={self.pieces}: valid are 1 and more")
        h = seen(self.join, images.reshape(images.shape[0], -1), label)
        features = []
        for i, width in enumerate(self.hidden):
            h = nn.Dense(width * self.pieces, dtype=self.dtype, name=f"hidden_{i}")(h)
            h = h.reshape(-1, width, self.pieces).max(-1) if self.pieces > 1 else nn.leaky_relu(h, 0.2)
            features.append(h.astype(jnp.float32)[:, None, None])
        logits = nn.Dense(1, dtype=self.dtype, name="logits")(h)[:, 0]
        return projected(self.projection, logits, h, label, train).astype(jnp.float32), tuple(features)
