"""BigGAN: class-conditional residual networks whose blocks all see the class, and a part of z.

References:
    Brock, Donahue and Simonyan, "Large Scale GAN Training for High Fidelity Natural Image Synthesis" (2019), section 3
    and appendix B.
"""

import dataclasses
import functools
import math
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp

from genjax.models.gan.attention import SpatialAttention
from genjax.models.gan.conditioning import Conditioning, Projection
from genjax.models.gan.residual import ResidualDiscriminator, UpBlock, level_of
from genjax.models.gan.sizes import base_of
from genjax.models.gan.weight_norms import WEIGHT_NORMS, WeightNormName
from genjax.models.kind import NetworkKind
from genjax.models.labels import one_hot
from genjax.nn.batch_norm import BatchNorm, ConditionalBatchNorm
from genjax.nn.convolution import Conv
from genjax.nn.weight_norm import WeightNorm, apply_layer
from genjax.ranges import Count, Counts
from genjax.typing import Array, Condition, UserError

_ORTHOGONAL = nn.initializers.orthogonal()


class BigGANGenerator(nn.Module):
    """z is split into one part for the first layer and one for each block.

    A block's part, and an embedding of the label that all blocks share, choose gains and biases of its batch
    normalisation.

    Attributes:
        num_classes: number of labels.
        image_shape: H, W, C of the images; sides are multiples of ``2 ** len(channels)``.
        channels: channels of the blocks.
        embedding: width of the label's embedding.
        attention: height of the feature map that is followed by self-attention; None: there is no attention.
        weight_norm: wraps all layers but the label's embedding, see `genjax.nn.weight_norm`; None: no normalisation.
        dtype: type of the computation; parameters and images are float32.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.models.gan.biggan import BigGANGenerator
        >>> network = BigGANGenerator(10, image_shape=(16, 16, 3), channels=(8, 4), embedding=6, attention=8)
        >>> z, told = jnp.zeros((2, 12)), {"label": jnp.array([3, 7])}  # 12: 4 for the first layer, 4 for each block
        >>> images, variables = jax.eval_shape(network.init_with_output, jax.random.key(0), z, told)
        >>> images.shape, variables["params"]["block_0"]["norm_1"]["scale"]["kernel"].shape  # 4 + 6 choose the gains
        ((2, 16, 16, 3), (10, 8))
    """

    num_classes: int
    image_shape: tuple[int, int, int] = (32, 32, 3)
    channels: tuple[int, ...] = (256, 256, 256)
    embedding: int = 128
    attention: int | None = None
    weight_norm: WeightNorm | None = None
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, z: Array, condition: Condition | None = None, *, train: bool = False) -> Array:
        """float[B,Z] -> float32[B,H,W,C] in [-1, 1]; `train` as in `genjax.nn.batch_norm`.

        Raises:
            UserError: if Z cannot be split evenly, the sides of the images cannot be halved so
                often, or no feature map has the height `attention`.
        """
        count = len(self.channels)
        height, width = base_of(self.image_shape, count, "channels")
        attended = level_of(self.attention, [height * 2 ** (i + 1) for i in range(count)])
        if z.shape[-1] % (count + 1):
            raise UserError(
                f"z has {z.shape[-1]} components: valid are multiples of {count + 1}, a part for the first layer and "
                f"for each of {count} blocks"
            )
        code = one_hot(condition, self.num_classes, z.shape[0])
        shared = nn.Dense(
            self.embedding, use_bias=False, kernel_init=nn.initializers.normal(1.0), name="embed"
        )(code)
        first, *parts = jnp.split(z, count + 1, axis=-1)

        norm = functools.partial(ConditionalBatchNorm, weight_norm=self.weight_norm)
        layers: dict[str, Any] = {
            "weight_norm": self.weight_norm,
            "kernel_init": _ORTHOGONAL,
            "dtype": self.dtype,
        }
        start = height, width, self.channels[0]
        linear = nn.Dense(math.prod(start), dtype=self.dtype, kernel_init=_ORTHOGONAL, name="project")
        h = apply_layer(self.weight_norm, linear, first, train).reshape(-1, *start)
        for i, (features, part) in enumerate(zip(self.channels, parts, strict=True)):
            chosen_by = jnp.concatenate([part, shared.astype(part.dtype)], axis=-1)
            h = UpBlock(features, norm, **layers, name=f"block_{i}")(h, chosen_by, train=train)
            if i == attended:
                h = SpatialAttention(**layers, name="attention")(h, train=train)
        h = nn.relu(BatchNorm(dtype=self.dtype, name="norm_out")(h, train=train))
        out = Conv(self.image_shape[-1], (3, 3), dtype=self.dtype, kernel_init=_ORTHOGONAL, name="out")
        return jnp.tanh(apply_layer(self.weight_norm, out, h, train).astype(jnp.float32))


def biggan_discriminator(
    num_classes: int,
    channels: tuple[int, ...] = (128, 128, 128, 128),
    halvings: int = 2,
    *,
    attention: int | None = None,
    weight_norm: WeightNorm | None = None,
    dtype: jnp.dtype | None = None,
) -> ResidualDiscriminator:
    """A projection discriminator: the residual one, with orthogonal kernels at the start (the label's embedding apart).

    It takes images float[B,H,W,C], and gives logits float[B].

    Args:
        num_classes: number of labels.
        channels: channels of the blocks.
        halvings: number of blocks that halve the size.
        attention: height of the feature map that is followed by self-attention; None: there is no attention.
        weight_norm: wraps all layers, the label's embedding among them, see `genjax.nn.weight_norm`; None: no
            normalisation.
        dtype: type of the computation.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.models.gan.biggan import biggan_discriminator
        >>> network = biggan_discriminator(10, channels=(4, 8), halvings=2)
        >>> images, told = jnp.zeros((2, 16, 16, 3)), {"label": jnp.array([3, 7])}
        >>> (logits, _), variables = jax.eval_shape(network.init_with_output, jax.random.key(0), images, told)
        >>> logits.shape, variables["params"]["projection"]["embed"]["kernel"].shape
        ((2,), (10, 8))
    """
    return ResidualDiscriminator(
        channels,
        halvings,
        attention=attention,
        projection=Projection(num_classes, weight_norm),
        weight_norm=weight_norm,
        kernel_init=_ORTHOGONAL,
        dtype=dtype,
    )


@dataclasses.dataclass(frozen=True)
class BigGANConfig:
    """The networks: class-conditional residual networks with self-attention (genjax.models.gan.biggan).

    Attributes:
        channels: Channels of the generator's blocks. Each block doubles the size.
        discriminator_channels: Channels of the discriminator's blocks.
        halvings: Number of the discriminator's first blocks that halve the size.
        embedding: Width of the embedding of a class.
        attention: Height of the feature maps that get self-attention, in both networks. Without it, there is no
            attention.
        weight_norm: Normalisation of the weights of both networks.
    """

    conditionings: ClassVar[tuple[str, ...]] = ("projection",)
    channels: Counts = (128, 128)
    discriminator_channels: Counts = (128, 128, 128)
    halvings: Count = 2
    embedding: Count = 32
    attention: Count | None = 14
    weight_norm: WeightNormName = "spectral"


def _adversaries(
    config: BigGANConfig, image_shape: tuple[int, int, int], conditioning: Conditioning
) -> tuple[nn.Module, nn.Module]:
    assert conditioning.num_classes is not None, "`conditionings` is checked before"
    shared: dict[str, Any] = {
        "attention": config.attention,
        "weight_norm": WEIGHT_NORMS[config.weight_norm],
    }
    generator = BigGANGenerator(
        conditioning.num_classes, image_shape, config.channels, config.embedding, **shared
    )
    discriminator = biggan_discriminator(
        conditioning.num_classes, config.discriminator_channels, config.halvings, **shared
    )
    return generator, discriminator


NETWORK = NetworkKind(
    BigGANConfig,
    {"adversaries": _adversaries},
    conditions=("label",),
    small={
        "channels": (4,),
        "discriminator_channels": (4, 4),
        "halvings": 1,
        "embedding": 4,
        "attention": None,
    },
)
