"""R3GAN: residual networks without normalisation, with grouped convolutions and bilinear resampling.

References:
    Huang, Gokaslan, Kuleshov and Tompkin, "The GAN is dead; long live the GAN! A Modern Baseline GAN" (2024), section
    3; Zhang, Dauphin and Ma, "Fixup Initialization: Residual Learning Without Normalization" (2019), section 3; Xie et
    al., "Aggregated Residual Transformations for Deep Neural Networks" (2017), section 3.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from genjax.models.gan.bilinear import bilinear_downsample, bilinear_upsample
from genjax.models.gan.conditioning import Conditioning, joined, projected, seen
from genjax.models.gan.grouped import GroupedConv
from genjax.models.gan.sizes import base_of, check_halvings
from genjax.models.kind import NetworkKind, options
from genjax.nn.convolution import Conv
from genjax.nn.materialize import materialize
from genjax.ranges import Count, Counts
from genjax.typing import Array, Condition, UserError

SLOPE = 0.2
"""Of the leaky rectified linear units, for negative numbers."""

_linear_init = nn.initializers.variance_scaling(1.0, "fan_in", "normal")


class R3GANBlock(nn.Module):
    """x + f(x), with f of convolutions 1x1, 3x3 in groups, 1x1, and leaky units in between.

    The last kernel is zero at the start, so that a block is the identity; the others are scaled by L^(-1/4) with L the
    number of blocks of the network (Fixup, with three layers a block).

    Attributes:
        blocks: L, of the whole network.
        expansion: the channels in between, as a multiple of the input's.
        group_channels: of these, in one group.
        dtype: type of the computation.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.models.gan.r3gan import R3GANBlock
        >>> block, x = R3GANBlock(blocks=8, group_channels=4), jnp.arange(16.0).reshape(1, 2, 2, 4)
        >>> y, _ = jax.jit(block.init_with_output)(jax.random.key(0), x)
        >>> bool((y == x).all())  # at initialisation nothing is added
        True
    """

    blocks: int
    expansion: int = 2
    group_channels: int = 16
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """float[B,H,W,C] -> float[B,H,W,C].

        Raises:
            UserError: if `group_channels` does not divide the channels in between.
        """
        channels = x.shape[-1]
        wide = channels * self.expansion
        if self.group_channels < 1 or wide % self.group_channels:
            raise UserError(
                f"group_channels={self.group_channels}: valid are divisors of {wide}, the channels inside of a block"
            )
        gain = 2 / (1 + SLOPE**2) / math.sqrt(self.blocks)  # of the variance
        scaled: dict[str, Any] = {
            "dtype": self.dtype,
            "kernel_init": nn.initializers.variance_scaling(gain, "fan_in", "normal"),
        }
        h = nn.leaky_relu(Conv(wide, (1, 1), **scaled, name="conv_1")(x), SLOPE)
        groups = wide // self.group_channels
        h = GroupedConv(wide, (3, 3), feature_group_count=groups, **scaled, name="conv_2")(h)
        out = Conv(
            channels,
            (1, 1),
            use_bias=False,
            dtype=self.dtype,
            kernel_init=nn.initializers.zeros,
            name="conv_3",
        )
        h = out(nn.leaky_relu(h, SLOPE))
        return materialize(x + h)


class R3GANGenerator(nn.Module):
    """A learned map whose channels z weighs, and stages of blocks at growing sizes.

    Attributes:
        image_shape: H, W, C of the images; sides are multiples of ``2 ** (len(channels) - 1)``.
        channels: channels of the stages, from the smallest size to the size of the images.
        blocks: number of blocks of each stage.
        expansion: see `R3GANBlock`.
        group_channels: see `R3GANBlock`.
        join: how a label joins z, see `genjax.models.gan.conditioning.Join`; None: an unconditional generator.
        output: what keeps images in [-1, 1]; the paper has nothing there.
        dtype: type of the computation; parameters and images are float32.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.models.gan.r3gan import R3GANGenerator
        >>> network = R3GANGenerator(image_shape=(16, 16, 3), channels=(16, 8), blocks=1, group_channels=4)
        >>> images, variables = jax.eval_shape(network.init_with_output, jax.random.key(0), jnp.zeros((2, 16)))
        >>> images.shape, variables["params"]["basis"].shape  # one doubling
        ((2, 16, 16, 3), (8, 8, 16))
    """

    image_shape: tuple[int, int, int] = (32, 32, 3)
    channels: tuple[int, ...] = (96, 96, 64, 32)
    blocks: int = 2
    expansion: int = 2
    group_channels: int = 16
    join: nn.Module | None = None
    output: Callable[[Array], Array] = jnp.tanh
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, z: Array, condition: Condition | None = None, *, train: bool = False) -> Array:
        """float[B,Z] -> float32[B,H,W,C] in [-1, 1]; training changes nothing.

        Raises:
            UserError: if the sides of the images cannot be halved so often.
        """
        base = base_of(self.image_shape, len(self.channels) - 1, "channels")
        width = self.channels[0]
        basis = self.param("basis", nn.initializers.normal(1.0), (*base, width), jnp.float32)
        h = nn.Dense(width, use_bias=False, dtype=self.dtype, kernel_init=_linear_init, name="project")(
            joined(self.join, z, condition)
        )
        h = h[:, None, None] * basis[None].astype(h.dtype)
        for i, width in enumerate(self.channels):
            if i:
                h = bilinear_upsample(_to_width(h, width, self.dtype, f"transition_{i}"))
            h = _stage(self, h, i)
        out = Conv(
            self.image_shape[-1],
            (1, 1),
            use_bias=False,
            dtype=self.dtype,
            kernel_init=_linear_init,
            name="out",
        )
        return self.output(out(h).astype(jnp.float32))


class R3GANDiscriminator(nn.Module):
    """Stages of blocks at shrinking sizes, a learned weight for each position and channel, and a linear map.

    Attributes:
        channels: channels of the stages, from the size of the images to the smallest.
        blocks: number of blocks of each stage; the features are the stages' outputs.
        expansion: see `R3GANBlock`.
        group_channels: see `R3GANBlock`.
        join: how a label joins the image, as constant channels, see `genjax.models.gan.conditioning.Join`.
        projection: projection of the weighed features, see `genjax.models.gan.conditioning.Projection`.
        dtype: type of the computation; parameters, logits and features are float32.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.models.gan.r3gan import R3GANDiscriminator
        >>> network = R3GANDiscriminator(channels=(8, 16), blocks=1, group_channels=4)
        >>> images = jnp.zeros((2, 16, 16, 3))
        >>> (logits, features), _ = jax.eval_shape(network.init_with_output, jax.random.key(0), images)
        >>> logits.shape, [feature.shape for feature in features]
        ((2,), [(2, 16, 16, 8), (2, 8, 8, 16)])
    """

    channels: tuple[int, ...] = (32, 64, 96, 96)
    blocks: int = 2
    expansion: int = 2
    group_channels: int = 16
    join: nn.Module | None = None
    projection: nn.Module | None = None
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(
        self, images: Array, condition: Condition | None = None, *, train: bool = False
    ) -> tuple[Array, tuple[Array, ...]]:
        """float[B,H,W,C] in [-1, 1] -> logits float32[B], features (float32[B,h_i,w_i,c_i], ...).

        Raises:
            UserError: if the sides of the images cannot be halved so often.
        """
        check_halvings(images.shape, len(self.channels) - 1, "channels")
        h = _to_width(seen(self.join, images, condition), self.channels[0], self.dtype, "in", always=True)
        features = []
        for i, width in enumerate(self.channels):
            if i:
                h = _to_width(bilinear_downsample(h), width, self.dtype, f"transition_{i}")
            h = _stage(self, h, i)
            features.append(h.astype(jnp.float32))
        shape = h.shape[1:]
        init = nn.initializers.normal(1 / math.sqrt(math.prod(shape[:2])))
        basis = self.param("basis", init, shape, jnp.float32)
        pooled = jnp.einsum("bhwc,hwc->bc", h, basis.astype(h.dtype))
        logits = nn.Dense(1, dtype=self.dtype, kernel_init=_linear_init, name="logits")(pooled)[:, 0]
        return projected(self.projection, logits, pooled, condition, train).astype(jnp.float32), tuple(
            features
        )


def _stage(network: R3GANGenerator | R3GANDiscriminator, h: Array, i: int) -> Array:
    """The blocks of stage i; called inside of the network."""
    total = len(network.channels) * network.blocks
    for j in range(network.blocks):
        block = R3GANBlock(
            total, network.expansion, network.group_channels, network.dtype, name=f"stage_{i}_{j}"
        )
        h = block(h)
    return h


def _to_width(h: Array, width: int, dtype: jnp.dtype | None, name: str, always: bool = False) -> Array:
    """A 1x1 convolution, where the number of channels changes."""
    if h.shape[-1] == width and not always:
        return h
    return Conv(width, (1, 1), use_bias=False, dtype=dtype, kernel_init=_linear_init, name=name)(h)


@dataclasses.dataclass(frozen=True)
class R3GANConfig:
    """The networks: residual networks without normalisation (genjax.models.gan.r3gan).

    Attributes:
        channels: Channels of the generator's stages, from the smallest size up. The discriminator has the same numbers
            in reverse.
        blocks: Number of blocks in each stage.
        expansion: Width of a block's grouped convolution, as a multiple of the stage's channels.
        group_channels: Channels in each group of the grouped convolution.
    """

    channels: Counts = (96, 64, 32)
    blocks: Count = 1
    expansion: Count = 2
    group_channels: Count = 16


def _adversaries(
    config: R3GANConfig, image_shape: tuple[int, int, int], conditioning: Conditioning
) -> tuple[nn.Module, nn.Module]:
    join, judged = conditioning.layers()
    blocks = options(config, "channels")
    generator = R3GANGenerator(image_shape, config.channels, join=join, **blocks)
    return generator, R3GANDiscriminator(config.channels[::-1], **judged, **blocks)


NETWORK = NetworkKind(
    R3GANConfig,
    {"adversaries": _adversaries},
    conditions=("label",),
    small={"channels": (8, 4), "group_channels": 4},
)
