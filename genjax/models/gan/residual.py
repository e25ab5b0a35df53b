"""Residual networks of SNGAN and WGAN-GP.

Blocks activate before they convolve, double by nearest neighbours and halve by means of 2x2 pixels. Weights can
be normalised by plugging in `genjax.nn.spectral_norm.SpectralNorm` as `weight_norm`.

References:
    Miyato et al., "Spectral Normalization for Generative Adversarial Networks" (2018), appendix B.4; Gulrajani et al.,
    "Improved Training of Wasserstein GANs" (2017), appendix F.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp

from genjax.conditions import label_or_null
from genjax.models.gan.attention import SpatialAttention
from genjax.models.gan.conditioning import Conditioning, joined, projected, seen
from genjax.models.gan.sizes import base_of, check_halvings
from genjax.models.gan.weight_norms import WEIGHT_NORMS, WeightNormName
from genjax.models.kind import NetworkKind
from genjax.nn.batch_norm import BatchNorm, ConditionalBatchNorm
from genjax.nn.convolution import Conv
from genjax.nn.materialize import materialize
from genjax.nn.resampling import downsample, upsample
from genjax.nn.weight_norm import WeightNorm, apply_layer
from genjax.ranges import Count, Counts
from genjax.typing import Array, Condition, UserError


def sum_pool(x: Array) -> Array:
    """float[B,H,W,C] -> float[B,C]: the sum over positions."""
    return x.sum((1, 2))


def mean_pool(x: Array) -> Array:
    """float[B,H,W,C] -> float[B,C]: the mean over positions."""
    return x.mean((1, 2))


class UpBlock(nn.Module):
    """A residual block of a generator, which doubles the size: norm, ReLU, doubling, 3x3, norm, ReLU, 3x3.

    Attributes:
        channels: channels of the output.
        norm: makes the normalisation, called with the condition, if there is one, and with `train`.
        weight_norm: wraps the convolutions, see `genjax.nn.weight_norm`; None: no normalisation.
        kernel_init: initialiser of all kernels.
        dtype: type of the computation.
    """

    channels: int
    norm: Callable[..., Any] = BatchNorm
    weight_norm: WeightNorm | None = None
    kernel_init: Callable[..., Any] = nn.initializers.glorot_uniform()
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: Array, *condition: Array, train: bool) -> Array:
        """float[B,H,W,C_in], the arguments of a conditional normalisation -> float[B,2H,2W,channels]."""

        def conv(x: Array, size: tuple[int, int], name: str) -> Array:
            layer = Conv(self.channels, size, dtype=self.dtype, kernel_init=self.kernel_init, name=name)
            return apply_layer(self.weight_norm, layer, x, train)

        h = nn.relu(self.norm(dtype=self.dtype, name="norm_1")(x, *condition, train=train))
        h = conv(upsample(h), (3, 3), "conv_1")
        h = nn.relu(self.norm(dtype=self.dtype, name="norm_2")(h, *condition, train=train))
        h = conv(h, (3, 3), "conv_2")
        # A 1x1 convolution of doubled images is the double of one, at a quarter of the price.
        return materialize(h + upsample(conv(x, (1, 1), "shortcut")))


class DownBlock(nn.Module):
    """A residual block of a discriminator: ReLU, 3x3, ReLU, 3x3, and where it halves the size, means.

    Attributes:
        channels: channels of the output.
        halve: the size.
        first: the input are images, which are not to be rectified.
        weight_norm: wraps the convolutions, see `genjax.nn.weight_norm`; None: no normalisation.
        kernel_init: initialiser of all kernels.
        dtype: type of the computation.
    """

    channels: int
    halve: bool = True
    first: bool = False
    weight_norm: WeightNorm | None = None
    kernel_init: Callable[..., Any] = nn.initializers.glorot_uniform()
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Array:
        """float[B,H,W,C_in] -> float[B,H',W',channels]."""

        def conv(x: Array, size: tuple[int, int], name: str) -> Array:
            layer = Conv(self.channels, size, dtype=self.dtype, kernel_init=self.kernel_init, name=name)
            return apply_layer(self.weight_norm, layer, x, train)

        h = conv(x if self.first else nn.relu(x), (3, 3), "conv_1")
        h = conv(nn.relu(h), (3, 3), "conv_2")
        if self.halve:
            h, x = downsample(h), downsample(x)
        if self.first or self.halve or x.shape[-1] != self.channels:
            x = conv(x, (1, 1), "shortcut")
        return materialize(h + x)


class ResidualGenerator(nn.Module):
    """A linear map to the smallest feature map, and a residual block for each doubling.

    Attributes:
        image_shape: H, W, C of the images; sides are multiples of ``2 ** len(channels)``.
        channels: channels of the blocks.
        join: how a label joins z, see `genjax.models.gan.conditioning.Join`.
        num_classes: the label chooses gains and biases of all normalisations inside blocks; None: it does not.
        dtype: type of the computation; parameters and images are float32.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.models.gan.residual import ResidualGenerator
        >>> network = ResidualGenerator(image_shape=(16, 16, 3), channels=(8, 4), num_classes=10)
        >>> z, told = jnp.zeros((2, 16)), {"label": jnp.array([3, 7])}
        >>> images, variables = jax.eval_shape(network.init_with_output, jax.random.key(0), z, told)
        >>> images.shape, variables["params"]["block_0"]["norm_1"]["scale"]["kernel"].shape  # a gain for each class
        ((2, 16, 16, 3), (10, 8))
    """

    image_shape: tuple[int, int, int] = (32, 32, 3)
    channels: tuple[int, ...] = (256, 256, 256)
    join: nn.Module | None = None
    num_classes: int | None = None
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, z: Array, condition: Condition | None = None, *, train: bool = False) -> Array:
        """float[B,Z] -> float32[B,H,W,C] in [-1, 1]; `train` as in `genjax.nn.batch_norm`.

        Raises:
            UserError: if the sides of the images cannot be halved so often.
        """
        first = *base_of(self.image_shape, len(self.channels), "channels"), self.channels[0]
        label: tuple[Array, ...] = ()
        norm: Callable[..., Any] = BatchNorm
        if self.num_classes is not None:
            label = (label_or_null(condition, "label", self.num_classes, z.shape[0]),)
            norm = functools.partial(ConditionalBatchNorm, self.num_classes)
        h = joined(self.join, z, None if self.join is None and label else condition)
        init = nn.initializers.glorot_uniform()
        h = nn.Dense(math.prod(first), dtype=self.dtype, kernel_init=init, name="project")(h)
        h = h.reshape(-1, *first)
        for i, width in enumerate(self.channels):
            h = UpBlock(width, norm, dtype=self.dtype, name=f"block_{i}")(h, *label, train=train)
        h = nn.relu(BatchNorm(dtype=self.dtype, name="norm_out")(h, train=train))
        h = Conv(self.image_shape[-1], (3, 3), dtype=self.dtype, kernel_init=init, name="out")(h)
        return jnp.tanh(h.astype(jnp.float32))


class ResidualDiscriminator(nn.Module):
    """Residual blocks, of which the first ones halve the size, and a linear map of what is left.

    Features are not normalised, so a gradient penalty depends on one image only: with plain layers this is the critic
    of WGAN-GP.

    Attributes:
        channels: channels of the blocks, whose outputs are the features.
        halvings: number of blocks that halve the size.
        join: how a label joins the image, as constant channels, see `genjax.models.gan.conditioning.Join`.
        attention: height of the feature map that is followed by self-attention; None: there is no attention.
        projection: projection of the pooled features, see `genjax.models.gan.conditioning.Projection`.
        pool: pooling of the last features: `sum_pool` as in SNGAN, or `mean_pool` as in WGAN-GP.
        weight_norm: wraps all layers, see `genjax.nn.weight_norm`; None: no normalisation.
        kernel_init: initialiser of all kernels.
        dtype: type of the computation; parameters, logits and features are float32.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax import nn
        >>> from genjax.models.gan.residual import ResidualDiscriminator
        >>> network = ResidualDiscriminator(channels=(4, 8, 8), halvings=2, weight_norm=nn.SpectralNorm)
        >>> images = jnp.zeros((2, 16, 16, 3))
        >>> (logits, features), variables = jax.eval_shape(network.init_with_output, jax.random.key(0), images)
        >>> logits.shape, [feature.shape[1:] for feature in features], sorted(variables)
        ((2,), [(8, 8, 4), (4, 4, 8), (4, 4, 8)], ['params', 'spectral'])
    """

    channels: tuple[int, ...] = (128, 128, 128, 128)
    halvings: int = 2
    attention: int | None = None
    join: nn.Module | None = None
    projection: nn.Module | None = None
    pool: Callable[[Array], Array] = sum_pool
    weight_norm: WeightNorm | None = None
    kernel_init: Callable[..., Any] = nn.initializers.glorot_uniform()
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(
        self, images: Array, condition: Condition | None = None, *, train: bool = False
    ) -> tuple[Array, tuple[Array, ...]]:
        """float[B,H,W,C] in [-1, 1] -> logits float32[B], features (float32[B,h_i,w_i,c_i], ...).

        Raises:
            UserError: if there are fewer blocks than halvings, images cannot be halved so often, or no feature map has
                the height `attention`.
        """
        if not 0 <= self.halvings <= len(self.channels):
            raise UserError(
                f"halvings={self.halvings}: valid are 0..{len(self.channels)}, of that many blocks"
            )
        check_halvings(images.shape, self.halvings, "halvings")
        heights = [images.shape[1] >> min(i + 1, self.halvings) for i in range(len(self.channels))]
        attended = level_of(self.attention, heights)
        h = seen(self.join, images, condition)
        layers: dict[str, Any] = {
            "weight_norm": self.weight_norm,
            "kernel_init": self.kernel_init,
            "dtype": self.dtype,
        }
        features = []
        for i, width in enumerate(self.channels):
            h = DownBlock(width, i < self.halvings, i == 0, **layers, name=f"block_{i}")(h, train=train)
            if i == attended:
                h = SpatialAttention(**layers, name="attention")(h, train=train)
            features.append(h.astype(jnp.float32))
        pooled = self.pool(nn.relu(h))
        linear = nn.Dense(1, dtype=self.dtype, kernel_init=self.kernel_init, name="logits")
        logits = apply_layer(self.weight_norm, linear, pooled, train)[:, 0]
        return projected(self.projection, logits, pooled, condition, train).astype(jnp.float32), tuple(
            features
        )


def level_of(attention: int | None, heights: Sequence[int]) -> int | None:
    """Number of the first feature map of the height after which attention is asked for; None: it is not.

    Raises:
        UserError: if there is no such map.
    """
    if attention is None:
        return None
    if attention not in heights:
        raise UserError(f"attention={attention}: feature maps have the heights {sorted(set(heights))}")
    return heights.index(attention)


@dataclasses.dataclass(frozen=True)
class ResidualGANConfig:
    """The networks: residual networks of SNGAN and WGAN-GP (genjax.models.gan.residual).

    Attributes:
        channels: Channels of the generator's blocks. Each block doubles the size.
        discriminator_channels: Channels of the discriminator's blocks.
        halvings: Number of the discriminator's first blocks that halve the size.
        pool: How the discriminator pools its last features over positions: "sum" as SNGAN does, "mean" as WGAN-GP does.
        weight_norm: Normalisation of the discriminator's weights.
    """

    channels: Counts = (128, 128)
    discriminator_channels: Counts = (128, 128, 128)
    halvings: Count = 2
    pool: Literal["sum", "mean"] = "sum"
    weight_norm: WeightNormName = "spectral"


def _adversaries(
    config: ResidualGANConfig, image_shape: tuple[int, int, int], conditioning: Conditioning
) -> tuple[nn.Module, nn.Module]:
    weight_norm = WEIGHT_NORMS[config.weight_norm]
    join, judged = conditioning.layers(weight_norm)
    # Where the discriminator projects, the papers' generator has a gain and a bias for each class.
    by_gains = conditioning.num_classes if conditioning.projects else None
    generator = ResidualGenerator(
        image_shape, config.channels, None if by_gains is not None else join, by_gains
    )
    discriminator = ResidualDiscriminator(
        config.discriminator_channels,
        config.halvings,
        pool={"sum": sum_pool, "mean": mean_pool}[config.pool],
        weight_norm=weight_norm,
        **judged,
    )
    return generator, discriminator


NETWORK = NetworkKind(
    ResidualGANConfig,
    {"adversaries": _adversaries},
    conditions=("label",),
    small={"channels": (4,), "discriminator_channels": (4, 4), "halvings": 1},
)
