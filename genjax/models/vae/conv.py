"""Convolutions as encoder and decoder of one code, for variational and plain autoencoders."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from genjax.models.kind import num_classes
from genjax.models.labels import with_label
from genjax.models.vae.vae import PosteriorFlow, PriorFlow, one_code
from genjax.nn import Conv, ConvTranspose
from genjax.ranges import Count, Counts
from genjax.typing import Array, Condition, UserError


class ConvEncoder(nn.Module):
    """Strided convolutions, each halving the resolution, and a dense layer.

    Attributes:
        channels: widths of the convolutions.
        hidden: width of the dense layer.
        num_classes: number of classes of a conditional network: the label's one-hot code joins the image as constant
            channels.
        kernel: side of the convolutions' kernels.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.models.vae.conv import ConvEncoder
        >>> network = ConvEncoder(channels=(4, 8), hidden=16)
        >>> y, variables = jax.eval_shape(network.init_with_output, jax.random.key(0), jnp.zeros((2, 8, 8, 1)), None)
        >>> y.shape, variables["params"]["hidden"]["kernel"].shape  # of 2x2 positions with 8 channels
        ((2, 16), (32, 16))
    """

    channels: tuple[int, ...] = (32, 64)
    hidden: int = 256
    num_classes: int | None = None
    kernel: int = 4

    @nn.compact
    def __call__(self, x: Array, condition: Condition | None) -> Array:
        """float[B,H,W,C] -> float[B,F]."""
        h = with_label(x, condition, self.num_classes)
        for i, width in enumerate(self.channels):
            h = nn.relu(Conv(width, (self.kernel, self.kernel), strides=(2, 2), name=f"down_{i}")(h))
        return nn.relu(nn.Dense(self.hidden, name="hidden")(h.reshape(h.shape[0], -1)))


class ConvDecoder(nn.Module):
    """The mirror image of `ConvEncoder`, with transposed convolutions.

    Attributes:
        outputs: (H, W, P) of the outputs; H and W are multiples of ``2 ** len(channels)``.
        channels: widths, in the order of the encoder.
        hidden: width of the dense layer; None: only the one to the smallest feature map.
        num_classes: number of classes of a conditional network: the label's one-hot code joins the latent variables.
        kernel: side of the convolutions' kernels.
        extra: one more convolution, which does not double the resolution, makes the outputs; else the last one that
            does makes them.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.models.vae.conv import ConvDecoder
        >>> network = ConvDecoder((8, 8, 3), channels=(4, 8), hidden=None)
        >>> y, variables = jax.eval_shape(network.init_with_output, jax.random.key(0), jnp.zeros((2, 4)), None)
        >>> y.shape, variables["params"]["reshape"]["kernel"].shape  # to 2x2 positions with 8 channels
        ((2, 8, 8, 3), (4, 32))
    """

    outputs: tuple[int, int, int]
    channels: tuple[int, ...] = (32, 64)
    hidden: int | None = 256
    num_classes: int | None = None
    kernel: int = 4
    extra: bool = False

    @nn.compact
    def __call__(self, z: Array, condition: Condition | None) -> Array:
        """float[B,D] -> float[B,H,W,P]."""
        height, width, channels = self.outputs
        factor = 2 ** len(self.channels)
        if height % factor or width % factor:
            raise UserError(
                f"channels={self.channels}: {len(self.channels)} halvings need images whose sides are multiples of "
                f"{factor}, not {height}x{width}"
            )
        h = with_label(z, condition, self.num_classes)
        if self.hidden is not None:
            h = nn.relu(nn.Dense(self.hidden, name="hidden")(h))
        first = height // factor, width // factor, self.channels[-1]
        h = nn.relu(nn.Dense(math.prod(first), name="reshape")(h)).reshape(-1, *first)
        kernel = self.kernel, self.kernel
        for i, features in enumerate(reversed(self.channels if self.extra else self.channels[:-1])):
            h = nn.relu(ConvTranspose(features, kernel, strides=(2, 2), name=f"up_{i}")(h))
        return ConvTranspose(channels, kernel, strides=(1, 1) if self.extra else (2, 2), name="out")(h)


@dataclasses.dataclass(frozen=True)
class ConvConfig:
    """The networks: convolutions (genjax.models.vae.conv).

    Attributes:
        latent: Number of latent variables.
        channels: Widths of the encoder's strided convolutions. The decoder has the same widths in reverse.
        dense: Width of the dense layers between convolutions and latent variables.
        decoder_dense: Give the decoder a dense layer of this width too. Otherwise a single dense layer leads to its
            convolutions.
        kernel: Side of the convolutions' kernels.
        extra: Add a last convolution to the decoder that does not double the resolution.
        posterior_flow: Normalising flow that transforms the posterior's normal distribution.
        prior_flow: Normalising flow that transforms the prior's normal distribution.
        flow_steps: Number of steps of each flow.
    """

    latent: Count = 32
    channels: Counts = (32, 64)
    dense: Count = 256
    decoder_dense: bool = True
    kernel: Count = 4
    extra: bool = False
    posterior_flow: PosteriorFlow = "none"
    prior_flow: PriorFlow = "none"
    flow_steps: Count = 4


def _halves(
    config: ConvConfig, outputs: tuple[int, int, int], conditions: Mapping[str, Any]
) -> tuple[nn.Module, nn.Module]:
    classes = num_classes(conditions)
    hidden = config.dense if config.decoder_dense else None
    return (
        ConvEncoder(config.channels, config.dense, classes, config.kernel),
        ConvDecoder(outputs, config.channels, hidden, classes, config.kernel, config.extra),
    )


NETWORK = one_code(ConvConfig, _halves, small={"latent": 4, "channels": (4, 8), "dense": 16})
