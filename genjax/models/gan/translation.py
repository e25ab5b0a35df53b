"""Generators whose input is an image: the U-Net of pix2pix and the residual network of CycleGAN."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax.models.gan.sizes import check_halvings
from genjax.nn.batch_norm import BatchNorm
from genjax.nn.convolution import Conv, ConvTranspose
from genjax.nn.dropout import Dropout
from genjax.nn.materialize import materialize
from genjax.typing import Array, UserError

_NORMAL = nn.initializers.normal(0.02)


class InstanceNorm(nn.Module):
    """Zero mean and unit variance of every channel of every image, without parameters.

    Attributes:
        epsilon: added to the variance.
        dtype: type of the result; moments are always float32.

    References:
        Ulyanov, Vedaldi and Lempitsky, "Instance Normalization: The Missing Ingredient for Fast Stylization" (2016).
    """

    epsilon: float = 1e-5
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Array:
        """float[B,H,W,C] -> float[B,H,W,C]; training changes nothing."""
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        mean = wide.mean((1, 2))
        variance = jnp.maximum(jnp.square(wide).mean((1, 2)) - jnp.square(mean), 0.0)
        factor = jax.lax.rsqrt(variance + self.epsilon)
        y = wide * factor[:, None, None] - (mean * factor)[:, None, None]
        return y.astype(self.dtype or x.dtype)


class UNetGenerator(nn.Module):
    """Strided 4x4 convolutions to a small map, transposed ones back, and the maps of each size joined.

    Attributes:
        out_channels: of the images that it makes; None: as many as it is given.
        channels: of the largest feature map; they double with each halving, up to 8 times.
        levels: number of halvings; 8 for images of 256 pixels, which leaves one pixel.
        norm: makes the normalisation, called with `train`, of all layers but the first, the innermost on the way down
            and the last; `InstanceNorm` for batches of one image.
        dropout: rate, in the innermost layers on the way up.
        dropout_levels: how many of these have it.
        dtype: type of the computation; parameters and images are float32.

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
        label: Array | None = None,
        *,
        train: bool = False,
        dropout_index: Array | None = None,
    ) -> Array:
        """Translate images.

        Args:
            images: float[B,H,W,C] in [-1, 1]; H and W are multiples of ``2 ** levels``.
            label: ignored.
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


class ResidualTranslator(nn.Module):
    """Two halvings, residual blocks, two doublings; images are reflected at their borders, not padded with zeros.

    Attributes:
        out_channels: of the images that it makes; None: as many as it is given.
        channels: of the largest feature map; they double with each halving.
        blocks: number of residual blocks: 6 for images of 128 pixels, 9 for 256 and more.
        halvings: of the size.
        norm: makes the normalisation, called with `train`, of all layers but the last.
        dtype: type of the computation; parameters and images are float32.

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
    def __call__(self, images: Array, label: Array | None = None, *, train: bool = False) -> Array:
        """float[B,H,W,C] in [-1, 1] -> float32[B,H,W,out_channels] in [-1, 1]; labels are ignored.

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
