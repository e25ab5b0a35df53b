"""The U-Net of pix2pix, a generator whose input is an image."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp

from genjax.models.gan.instance_norm import InstanceNorm
from genjax.models.gan.sizes import check_halvings
from genjax.models.kind import NetworkKind, options
from genjax.nn.batch_norm import BatchNorm
from genjax.nn.convolution import Conv, ConvTranspose
from genjax.nn.dropout import Dropout
from genjax.ranges import Count, CountOrZero, Share
from genjax.typing import Array, Condition, UserError

_NORMAL = nn.initializers.normal(0.02)


class UNetGenerator(nn.Module):
    """Strided 4x4 convolutions to a small map, transposed ones back, and the maps of each size joined.

    Attributes:
        out_channels: channels of the images that it makes; None: the channels of the images that it is given.
        channels: channels of the largest feature map; the number doubles with each halving, up to 8 times.
        levels: number of halvings; 8 for images of 256 pixels, which leaves one pixel.
        norm: makes the normalisation, called with `train`, of all layers but the first, the innermost on the way down
            and the last; `InstanceNorm` for batches of one image.
        dropout: rate, in the innermost layers on the way up.
        dropout_levels: number of innermost layers that have dropout.
        dtype: type of the computation; parameters and images are float32.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.models.gan.translation_unet import UNetGenerator
        >>> network, images = UNetGenerator(out_channels=1, channels=4, levels=2), jnp.zeros((2, 16, 16, 3))
        >>> y, variables = jax.eval_shape(network.init_with_output, jax.random.key(0), images)
        >>> y.shape, variables["params"]["up_0"]["kernel"].shape  # of 4 + 4 channels: the first map joins
        ((2, 16, 16, 1), (4, 4, 8, 1))

    References:
        Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks" (2017), section 3.2.1 and
        appendix 6.1.1.
    """

    out_channels: int | None = None
    channels: int = 64
    levels: int = 8
    norm: Callable[..., Any] = BatchNorm
    dropout: float = 0.5
    dropout_levels: int = 3
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(
        self,
        images: Array,
        condition: Condition | None = None,
        *,
        train: bool = False,
        dropout_index: Array | None = None,
    ) -> Array:
        """Translate images.

        Args:
            images: float[B,H,W,C] in [-1, 1]; H and W are multiples of ``2 ** levels``.
            condition: ignored.
            train: as in `genjax.nn.batch_norm`.
            dropout_index: int32[B], positions in the global batch, which choose each example's dropout mask from the
                stream "dropout"; None: no dropout. It is the only noise of this generator, so the paper keeps it when
                it draws images.

        Returns:
            float32[B,H,W,out_channels] in [-1, 1].

        Raises:
            UserError: if there are no levels, or H or W cannot be halved so often.
        """
        if self.levels < 1:
            raise UserError(f"levels={self.levels}: valid are 1 and more")
        check_halvings(images.shape, self.levels, "levels")
        last = self.levels - 1

        def normalized(h: Array, name: str) -> Array:
            y: Array = self.norm(dtype=self.dtype, name=name)(h, train=train)
            return y

        h, skips = images, []
        for i in range(self.levels):
            inner = 0 < i < last
            down = Conv(
                self.channels * min(2**i, 8),
                (4, 4),
                (2, 2),
                ((1, 1), (1, 1)),
                use_bias=not inner,
                dtype=self.dtype,
                kernel_init=_NORMAL,
                name=f"down_{i}",
            )
            h = down(nn.leaky_relu(h, 0.2) if i else h)
            h = normalized(h, f"down_norm_{i}") if inner else h
            skips.append(h)
        skips.pop()
        for i in reversed(range(self.levels)):
            width = self.channels * min(2 ** (i - 1), 8) if i else self.out_channels or images.shape[-1]
            up = ConvTranspose(
                width,
                (4, 4),
                (2, 2),
                use_bias=i == 0,
                dtype=self.dtype,
                kernel_init=_NORMAL,
                name=f"up_{i}",
            )
            h = up(nn.relu(h))
            if i:
                h = normalized(h, f"up_norm_{i}")
                if i > last - self.dropout_levels:
                    h = Dropout(self.dropout, name=f"dropout_{i}")(h, dropout_index)
                h = jnp.concatenate([skips.pop(), h], axis=-1)
        return jnp.tanh(h.astype(jnp.float32))


@dataclasses.dataclass(frozen=True)
class TranslationUNetConfig:
    """The generator: a U-Net of strided convolutions (genjax.models.gan.translation_unet).

    Attributes:
        channels: Channels of the largest feature map. The number doubles with each halving, up to 8 times the first
            number.
        levels: Number of times that the size of the images is halved.
        norm: Batch normalisation, or normalisation of each image by itself.
        dropout: Rate of dropout in the innermost layers on the way up.
        dropout_levels: Number of innermost layers that have dropout.
    """

    channels: Count = 64
    levels: Count = 2
    norm: Literal["batch", "instance"] = "batch"
    dropout: Share = 0.5
    dropout_levels: CountOrZero = 1


_NORMS = {"batch": BatchNorm, "instance": InstanceNorm}


def _translator(config: TranslationUNetConfig, out_channels: int) -> nn.Module:
    return UNetGenerator(out_channels, norm=_NORMS[config.norm], **options(config, "norm"))


NETWORK = NetworkKind(TranslationUNetConfig, {"translator": _translator}, small={"channels": 4})
