"""The residual network of CycleGAN, a generator whose input is an image."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from genjax.models.gan.instance_norm import InstanceNorm
from genjax.models.gan.sizes import check_halvings
from genjax.models.kind import NetworkKind, options
from genjax.nn.convolution import Conv, ConvTranspose
from genjax.nn.materialize import materialize
from genjax.ranges import Count, CountOrZero
from genjax.typing import Array, Condition, UserError

_NORMAL = nn.initializers.normal(0.02)


class ResidualTranslator(nn.Module):
    """Two halvings, residual blocks, two doublings; images are reflected at their borders, not padded with zeros.

    Attributes:
        out_channels: channels of the images that it makes; None: the channels of the images that it is given.
        channels: channels of the largest feature map; the number doubles with each halving.
        blocks: number of residual blocks: 6 for images of 128 pixels, 9 for 256 and more.
        halvings: number of times that the size is halved.
        norm: makes the normalisation, called with `train`, of all layers but the last.
        dtype: type of the computation; parameters and images are float32.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.models.gan.residual_translator import ResidualTranslator
        >>> network, images = ResidualTranslator(out_channels=1, channels=4, blocks=1), jnp.zeros((2, 16, 16, 3))
        >>> jax.eval_shape(network.init_with_output, jax.random.key(0), images)[0].shape
        (2, 16, 16, 1)

    References:
        Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks" (2017), appendix
        7.2.
    """

    out_channels: int | None = None
    channels: int = 64
    blocks: int = 9
    halvings: int = 2
    norm: Callable[..., Any] = InstanceNorm
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
        """float[B,H,W,C] in [-1, 1] -> float32[B,H,W,out_channels] in [-1, 1].

        Conditions are ignored, and so is `dropout_index`: there is no dropout.

        Raises:
            UserError: if H or W cannot be halved so often, or is too short to be reflected.
        """
        check_halvings(images.shape, self.halvings, "halvings")
        if min(images.shape[1:3]) < max(4, 2 ** (self.halvings + 1)):
            raise UserError(
                f"images of {images.shape[1]}x{images.shape[2]}: valid with halvings={self.halvings} are sides of "
                f"{max(4, 2 ** (self.halvings + 1))} pixels and more"
            )

        def convolve(
            h: Array, width: int, size: int, name: str, stride: int = 1, reflect: bool = False
        ) -> Array:
            around = size // 2
            if reflect:
                h = jnp.pad(h, ((0, 0), (around, around), (around, around), (0, 0)), mode="reflect")
            padding = ((0, 0) if reflect else (around, around),) * 2
            layer = Conv(
                width,
                (size, size),
                (stride, stride),
                padding,
                use_bias=name == "out",  # elsewhere the normalisation would take it away
                dtype=self.dtype,
                kernel_init=_NORMAL,
                name=name,
            )
            return layer(h)

        def normalized(h: Array, name: str) -> Array:
            y: Array = self.norm(dtype=self.dtype, name=f"{name}_norm")(h, train=train)
            return y

        h = nn.relu(normalized(convolve(images, self.channels, 7, "in", reflect=True), "in"))
        for i in range(self.halvings):
            name = f"down_{i}"
            h = nn.relu(normalized(convolve(h, self.channels * 2 ** (i + 1), 3, name, 2), name))
        for i in range(self.blocks):
            first, second = f"block_{i}_1", f"block_{i}_2"
            y = nn.relu(normalized(convolve(h, h.shape[-1], 3, first, reflect=True), first))
            h = materialize(h + normalized(convolve(y, h.shape[-1], 3, second, reflect=True), second))
        for i in reversed(range(self.halvings)):
            name = f"up_{i}"
            # The adjoint of the convolution on the way down, which has one pixel of zeros around.
            up = ConvTranspose(
                self.channels * 2**i,
                (3, 3),
                (2, 2),
                ((1, 2), (1, 2)),
                use_bias=False,
                dtype=self.dtype,
                kernel_init=_NORMAL,
                name=name,
            )
            h = nn.relu(normalized(up(h), name))
        h = convolve(h, self.out_channels or images.shape[-1], 7, "out", reflect=True)
        return jnp.tanh(h.astype(jnp.float32))


@dataclasses.dataclass(frozen=True)
class ResidualTranslatorConfig:
    """The generators: residual blocks at a reduced size (genjax.models.gan.residual_translator).

    Attributes:
        channels: Channels of the largest feature map. The number doubles with each halving.
        blocks: Number of residual blocks.
        halvings: Number of times that the size of the images is halved.
    """

    channels: Count = 64
    blocks: CountOrZero = 9
    halvings: CountOrZero = 2


def _translator(config: ResidualTranslatorConfig, out_channels: int) -> nn.Module:
    return ResidualTranslator(out_channels, **options(config))


NETWORK = NetworkKind(
    ResidualTranslatorConfig, {"translator": _translator}, small={"channels": 4, "blocks": 1, "halvings": 1}
)
