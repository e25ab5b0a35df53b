"""Discriminators: images to logits, large for real ones, and the features on the way.

They normalise by groups where the papers normalise by batches: there is no state, and the logit of an image does not
depend on the images beside it, or on how many devices a batch is spread over.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from genjax.nn import Conv, GroupNorm
from genjax.typing import Array, Condition, UserError


class PatchDiscriminator(nn.Module):
    """Judges overlapping patches, and not the image as a whole.

    A logit sees 16, 34, 70 pixels in each direction with 1, 2, 3 layers; the moments of the normalisation are of the
    whole image.

    Attributes:
        layers: number of strided convolutions, at least 1; images need a height and width of ``3 * 2**layers``.
        channels: width of the first one; it doubles with each layer, up to 8 times.
        norm: makes the normalisation of all layers but the first and the last; None: no normalisation.
        dtype: type of the computation (bfloat16 for mixed precision); parameters, logits and features are float32.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.models.gan.discriminator import PatchDiscriminator
        >>> network, images = PatchDiscriminator(layers=2, channels=4), jnp.zeros((2, 32, 32, 3))
        >>> (logits, features), _ = jax.eval_shape(network.init_with_output, jax.random.key(0), images)
        >>> logits.shape, [feature.shape[1:] for feature in features]  # a logit for each patch
        ((2, 6, 6), [(16, 16, 4), (8, 8, 8), (7, 7, 16)])

    References:
        Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks" (2017), section 3.2.2 and
        appendix 6.1.2.
    """

    layers: int = 3
    channels: int = 64
    norm: Callable[..., Any] | None = GroupNorm
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(
        self, x: Array, condition: Condition | None = None, *, train: bool = False
    ) -> tuple[Array, tuple[Array, ...]]:
        """float[B,H,W,C] in [-1, 1] -> logits float32[B,h,w], features (float32[B,h_i,w_i,c_i], ...).

        Conditions are ignored, and training changes nothing.
        """
        if self.layers < 1 or min(x.shape[1:3]) < 3 * 2**self.layers:
            raise UserError(
                f"layers={self.layers} with images of {x.shape[1]}x{x.shape[2]}: valid are 1 and more layers, and "
                f"images of at least 3 * 2**layers = {3 * 2**self.layers} pixels in each direction"
            )

        def convolve(x: Array, width: int, stride: int, name: str) -> Array:
            init = nn.initializers.normal(0.02)
            around = ((1, 1), (1, 1))
            layer = Conv(
                width, (4, 4), (stride, stride), around, dtype=self.dtype, kernel_init=init, name=name
            )
            return layer(x)

        features = []
        for i in range(self.layers + 1):
            stride = 2 if i < self.layers else 1
            x = _normalized(self, convolve(x, self.channels * min(2**i, 8), stride, f"conv_{i}"), i)
            x = nn.leaky_relu(x, 0.2)
            features.append(x.astype(jnp.float32))
        return convolve(x, 1, 1, "logits")[..., 0].astype(jnp.float32), tuple(features)


class ImageDiscriminator(nn.Module):
    """Judges the image as a whole: 5x5 convolutions, all but the first of them strided, and two dense layers.

    Attributes:
        channels: widths of the convolutions, whose outputs are the features.
        hidden: width of the first dense layer.
        norm: makes the normalisation of all convolutions but the first; None: no normalisation.
        dtype: type of the computation (bfloat16 for mixed precision); parameters, logits and features are float32.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.models.gan.discriminator import ImageDiscriminator
        >>> network, images = ImageDiscriminator(channels=(4, 8), hidden=16), jnp.zeros((2, 8, 8, 3))
        >>> (logits, features), _ = jax.eval_shape(network.init_with_output, jax.random.key(0), images)
        >>> logits.shape, [feature.shape[1:] for feature in features]
        ((2,), [(8, 8, 4), (4, 4, 8)])

    References:
        Larsen et al., "Autoencoding beyond pixels using a learned similarity metric" (2016), table 1.
    """

    channels: tuple[int, ...] = (32, 128, 256, 256)
    hidden: int = 512
    norm: Callable[..., Any] | None = GroupNorm
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(
        self, x: Array, condition: Condition | None = None, *, train: bool = False
    ) -> tuple[Array, tuple[Array, ...]]:
        """float[B,H,W,C] in [-1, 1] -> logits float32[B], features (float32[B,h_i,w_i,c_i], ...).

        Conditions are ignored, and training changes nothing.
        """
        features = []
        for i, width in enumerate(self.channels):
            stride = 2 if i else 1
            layer = Conv(width, (5, 5), (stride, stride), dtype=self.dtype, name=f"conv_{i}")
            x = nn.relu(_normalized(self, layer(x), i))
            features.append(x.astype(jnp.float32))
        h = nn.relu(nn.Dense(self.hidden, dtype=self.dtype, name="hidden")(x.reshape(x.shape[0], -1)))
        logits = nn.Dense(1, dtype=self.dtype, name="logits")(h)
        return logits[:, 0].astype(jnp.float32), tuple(features)


def _normalized(network: PatchDiscriminator | ImageDiscriminator, x: Array, i: int) -> Array:
    """The normalisation after convolution i, where there is one; called inside of the network."""
    if not i or network.norm is None:
        return x
    y: Array = network.norm(dtype=network.dtype, name=f"norm_{i}")(x)
    return y
