"""The multilayer perceptrons of the first generative adversarial networks."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp

from genjax.models.gan.conditioning import Conditioning, joined, projected, seen
from genjax.models.kind import NetworkKind
from genjax.nn.batch_norm import BatchNorm
from genjax.ranges import Count, Counts, Probability
from genjax.typing import Array, Condition, UserError

MLPNorm = functools.partial(BatchNorm, momentum=0.8, epsilon=1e-3)
"""Batch normalisation of a generator, with quick running statistics as in Linder-Noren's Keras-GAN."""


class MLPGenerator(nn.Module):
    """A perceptron with rectified linear units, from latent variables to the pixels.

    Attributes:
        image_shape: H, W, C of the images.
        hidden: widths of the layers.
        join: how a label joins z, see `genjax.models.gan.conditioning.Join`; None: an unconditional generator.
        norm: makes the normalisation, called with `train`, after the units of each layer; None: no normalisation.
        slope: slope of the units below zero.
        dtype: type of the computation; parameters and images are float32.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.models.gan.conditioning import Join
        >>> from genjax.models.gan.mlp import MLPGenerator
        >>> network = MLPGenerator((8, 8, 1), hidden=(16,), join=Join(num_classes=10))
        >>> z, told = jnp.zeros((2, 4)), {"label": jnp.array([3, 7])}
        >>> images, variables = jax.eval_shape(network.init_with_output, jax.random.key(0), z, told)
        >>> images.shape, variables["params"]["hidden_0"]["kernel"].shape  # 4 latent variables and 10 classes
        ((2, 8, 8, 1), (14, 16))

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
    def __call__(self, z: Array, condition: Condition | None = None, *, train: bool = False) -> Array:
        """float[B,Z] -> float32[B,H,W,C] in [-1, 1]; `train` is the normalisation's."""
        h = joined(self.join, z, condition)
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
        pieces: number of linear functions whose maximum is a unit; 1: leaky rectified linear units instead.
        join: how a label joins the pixels, see `genjax.models.gan.conditioning.Join`.
        projection: see `genjax.models.gan.conditioning.Projection`.
        dtype: type of the computation; parameters, logits and features are float32.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.models.gan.mlp import MLPDiscriminator
        >>> network, images = MLPDiscriminator(hidden=(16,), pieces=5), jnp.zeros((2, 8, 8, 1))
        >>> (logits, features), variables = jax.eval_shape(network.init_with_output, jax.random.key(0), images)
        >>> logits.shape, [feature.shape for feature in features], variables["params"]["hidden_0"]["kernel"].shape
        ((2,), [(2, 1, 1, 16)], (64, 80))

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
        self, images: Array, condition: Condition | None = None, *, train: bool = False
    ) -> tuple[Array, tuple[Array, ...]]:
        """float[B,H,W,C] in [-1, 1] -> logits float32[B], features (float32[B,1,1,width], ...).

        Raises:
            UserError: if `pieces` is less than 1.
        """
        if self.pieces < 1:
            raise UserError(f"pieces={self.pieces}: valid are 1 and more")
        h = seen(self.join, images.reshape(images.shape[0], -1), condition)
        features = []
        for i, width in enumerate(self.hidden):
            h = nn.Dense(width * self.pieces, dtype=self.dtype, name=f"hidden_{i}")(h)
            h = h.reshape(-1, width, self.pieces).max(-1) if self.pieces > 1 else nn.leaky_relu(h, 0.2)
            features.append(h.astype(jnp.float32)[:, None, None])
        logits = nn.Dense(1, dtype=self.dtype, name="logits")(h)[:, 0]
        return projected(self.projection, logits, h, condition, train).astype(jnp.float32), tuple(features)


@dataclasses.dataclass(frozen=True)
class MLPGANConfig:
    """The networks: multilayer perceptrons (genjax.models.gan.mlp).

    Attributes:
        hidden: Widths of the generator's layers.
        discriminator_hidden: Widths of the discriminator's layers.
        pieces: Number of linear functions whose maximum is a unit of the discriminator (maxout). 1: leaky rectified
            units instead.
        generator_norm: Normalisation in the generator, after the units of each layer.
        generator_slope: Slope of the generator's units below zero.
    """

    hidden: Counts = (512, 512)
    discriminator_hidden: Counts = (240, 240)
    pieces: Count = 5
    generator_norm: Literal["none", "batch"] = "none"
    generator_slope: Probability = 0.0


def _adversaries(
    config: MLPGANConfig, image_shape: tuple[int, int, int], conditioning: Conditioning
) -> tuple[nn.Module, nn.Module]:
    join, judged = conditioning.layers()
    norm = {"none": None, "batch": MLPNorm}[config.generator_norm]
    generator = MLPGenerator(image_shape, config.hidden, join, norm, config.generator_slope)
    return generator, MLPDiscriminator(config.discriminator_hidden, config.pieces, **judged)


NETWORK = NetworkKind(
    MLPGANConfig,
    {"adversaries": _adversaries},
    conditions=("label",),
    small={"hidden": (16,), "discriminator_hidden": (8,), "pieces": 2},
)
