"""DCGAN: strided convolutions down, transposed ones up, batch normalisation in between."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp

from genjax.models.gan.conditioning import Conditioning, joined, projected, seen
from genjax.models.gan.sizes import doublings
from genjax.models.gan.weight_norms import WEIGHT_NORMS, WeightNormName
from genjax.models.kind import NetworkKind
from genjax.nn.batch_norm import BatchNorm
from genjax.nn.convolution import Conv, ConvTranspose
from genjax.nn.weight_norm import WeightNorm, apply_layer
from genjax.ranges import Count
from genjax.typing import Array, Condition

_NORMAL = nn.initializers.normal(0.02)


def scale_init(key: Any, shape: Any, dtype: Any = jnp.float32) -> Array:
    """Gains of the batch normalisation: N(1, 0.02^2)."""
    return 1 + _NORMAL(key, shape, dtype)


DCGANNorm = functools.partial(BatchNorm, scale_init=scale_init)
"""The batch normalisation of both networks."""


class DCGANGenerator(nn.Module):
    """A linear map to the smallest feature map, and transposed 4x4 convolutions that double it.

    The linear map is the transposed convolution of latent variables with one position. Sizes follow from
    `image_shape`: 28 = 7 * 4, 32 = 4 * 8, 64 = 4 * 16.

    Attributes:
        image_shape: H, W, C of the images.
        channels: channels of the largest feature map; the number doubles with each halving of the size.
        join: how a label joins z, see `genjax.models.gan.conditioning.Join`; None: an unconditional generator.
        norm: makes the normalisation, called with `train`, of all layers but the last; None: no normalisation.
        hidden: width of a fully connected layer before the linear map; None: there is no such layer. Images of 28
            pixels have only two transposed convolutions, which see little of the whole.
        dtype: type of the computation; parameters and images are float32.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.models.gan.dcgan import DCGANGenerator
        >>> network, z = DCGANGenerator(image_shape=(28, 28, 1), channels=4), jnp.zeros((2, 16))
        >>> images, variables = jax.eval_shape(network.init_with_output, jax.random.key(0), z)
        >>> images.shape, variables["params"]["project"]["kernel"].shape  # to 7x7 positions with 8 channels
        ((2, 28, 28, 1), (16, 392))

    References:
        Radford, Metz and Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative
        Adversarial Networks" (2016), sections 3 and 4, figure 1.
    """

    image_shape: tuple[int, int, int] = (64, 64, 3)
    channels: int = 64
    join: nn.Module | None = None
    norm: Callable[..., Any] | None = DCGANNorm
    hidden: int | None = None
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, z: Array, condition: Condition | None = None, *, train: bool = False) -> Array:
        """float[B,Z] -> float32[B,H,W,C] in [-1, 1]; `train` as in `genjax.nn.batch_norm`.

        Raises:
            UserError: if doubling a map of 4 to 7 pixels does not lead to the size of the images.
        """
        count, (height, width) = doublings(self.image_shape)
        h = joined(self.join, z, condition)
        if self.hidden is not None:
            dense = nn.Dense(
                self.hidden, use_bias=False, dtype=self.dtype, kernel_init=_NORMAL, name="hidden"
            )
            h = dense(h)
            if self.norm is not None:
                h = self.norm(dtype=self.dtype, name="norm_hidden")(h, train=train)
            h = nn.relu(h)
        for i in range(count + 1):
            features = self.channels * 2 ** (count - 1 - i) if i < count else self.image_shape[-1]
            if i == 0:
                linear = nn.Dense(
                    height * width * features,
                    use_bias=False,
                    dtype=self.dtype,
                    kernel_init=_NORMAL,
                    name="project",
                )
                h = linear(h).reshape(-1, height, width, features)
            else:
                up = ConvTranspose(
                    features,
                    (4, 4),
                    (2, 2),
                    use_bias=False,
                    dtype=self.dtype,
                    kernel_init=_NORMAL,
                    name=f"up_{i}",
                )
                h = up(h)
            if i < count:
                if self.norm is not None:
                    h = self.norm(dtype=self.dtype, name=f"norm_{i}")(h, train=train)
                h = nn.relu(h)
        return jnp.tanh(h.astype(jnp.float32))


class DCGANDiscriminator(nn.Module):
    """The mirror image: strided 4x4 convolutions with leaky units, and a linear map of the smallest feature map.

    Attributes:
        channels: channels of the largest feature map; the number doubles with each halving of the size.
        join: how a label joins the image, as constant channels, see `genjax.models.gan.conditioning.Join`.
        projection: projection of the smallest feature map's sum over positions, or of the fully connected layer, see
            `genjax.models.gan.conditioning.Projection`.
        norm: makes the normalisation, called with `train`, of all layers but the first and last; None: no
            normalisation, as gradient penalties need it.
        weight_norm: wraps all layers, see `genjax.nn.weight_norm`; None: no normalisation.
        hidden: width of a fully connected layer after the smallest feature map; None: there is no such layer. If there
            is one, it is the last of the features.
        dtype: type of the computation; parameters, logits and features are float32.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.models.gan.dcgan import DCGANDiscriminator
        >>> network, images = DCGANDiscriminator(channels=4), jnp.zeros((2, 28, 28, 1))
        >>> (logits, features), _ = jax.eval_shape(network.init_with_output, jax.random.key(0), images)
        >>> logits.shape, [feature.shape for feature in features]
        ((2,), [(2, 14, 14, 4), (2, 7, 7, 8)])

    References:
        As `DCGANGenerator`.
    """

    channels: int = 64
    join: nn.Module | None = None
    projection: nn.Module | None = None
    norm: Callable[..., Any] | None = DCGANNorm
    weight_norm: WeightNorm | None = None
    hidden: int | None = None
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(
        self, images: Array, condition: Condition | None = None, *, train: bool = False
    ) -> tuple[Array, tuple[Array, ...]]:
        """float[B,H,W,C] in [-1, 1] -> logits float32[B], features (float32[B,h_i,w_i,c_i], ...).

        Raises:
            UserError: if halving images does not lead to a map of 4 to 7 pixels.
        """
        count, _ = doublings(images.shape[1:])
        h = seen(self.join, images, condition)
        features = []
        for i in range(count):
            down = Conv(
                self.channels * 2**i,
                (4, 4),
                (2, 2),
                ((1, 1), (1, 1)),
                use_bias=False,
                dtype=self.dtype,
                kernel_init=_NORMAL,
                name=f"down_{i}",
            )
            h = apply_layer(self.weight_norm, down, h, train)
            if i and self.norm is not None:
                h = self.norm(dtype=self.dtype, name=f"norm_{i}")(h, train=train)
            h = nn.leaky_relu(h, 0.2)
            features.append(h.astype(jnp.float32))
        flat, pooled = h.reshape(h.shape[0], -1), h.sum((1, 2))
        if self.hidden is not None:
            dense = nn.Dense(
                self.hidden, use_bias=False, dtype=self.dtype, kernel_init=_NORMAL, name="hidden"
            )
            h = apply_layer(self.weight_norm, dense, flat, train)
            if self.norm is not None:
                h = self.norm(dtype=self.dtype, name="norm_hidden")(h, train=train)
            flat = pooled = nn.leaky_relu(h, 0.2)
            features.append(flat.astype(jnp.float32)[:, None, None])
        linear = nn.Dense(1, use_bias=False, dtype=self.dtype, kernel_init=_NORMAL, name="logits")
        logits = apply_layer(self.weight_norm, linear, flat, train)[:, 0]
        logits = projected(self.projection, logits, pooled, condition, train)
        return logits.astype(jnp.float32), tuple(features)


@dataclasses.dataclass(frozen=True)
class DCGANConfig:
    """The networks: strided and transposed convolutions (genjax.models.gan.dcgan).

    Attributes:
        channels: Channels of the largest feature maps. The number doubles with each halving of the size.
        hidden: Width of a fully connected layer at the smallest feature maps of both networks. Without it, there is no
            such layer.
        discriminator_norm: Normalisation in the discriminator. The generator always has batch normalisation.
        weight_norm: Normalisation of the discriminator's weights: by the spectral norm of the kernel as a matrix, or by
            the spectral norm of the convolution as an operator.
    """

    channels: Count = 64
    hidden: Count | None = None
    discriminator_norm: Literal["batch", "none"] = "batch"
    weight_norm: WeightNormName = "none"


def _adversaries(
    config: DCGANConfig, image_shape: tuple[int, int, int], conditioning: Conditioning
) -> tuple[nn.Module, nn.Module]:
    weight_norm = WEIGHT_NORMS[config.weight_norm]
    join, judged = conditioning.layers(weight_norm)
    discriminator = DCGANDiscriminator(
        config.channels,
        hidden=config.hidden,
        norm={"batch": DCGANNorm, "none": None}[config.discriminator_norm],
        weight_norm=weight_norm,
        **judged,
    )
    return DCGANGenerator(image_shape, config.channels, join, hidden=config.hidden), discriminator


NETWORK = NetworkKind(
    DCGANConfig, {"adversaries": _adversaries}, conditions=("label",), small={"channels": 4}
)
