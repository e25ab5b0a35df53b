"""The gated PixelCNN: an autoregressive model of a grid of codes.

A code depends on those before it in raster order: row by row from the top, in a row from the left. Two stacks of
convolutions see to it without a blind spot: the vertical one sees the rows above, the horizontal one the codes to the
left, and what the vertical one found.

No mask is needed: both stacks get the codes once shifted, by a row and by a column, and their kernels end at the
position itself. There is no normalisation over positions, which would show a code those after it.
"""

import flax.linen as nn
import jax.numpy as jnp

from genjax.models.codes.autoregressive import Autoregressive
from genjax.nn import Conv, Dropout, materialize
from genjax.typing import Array, UserError


class GatedLayer(nn.Module):
    """One layer of both stacks.

    Attributes:
        channels: width C of either stack.
        kernel_size: odd; of the masked kernels that the two stacks make up together.
        num_classes: number of classes, None for an unconditional network.
        dropout: rate of dropout in the horizontal stack.
        dtype: type of the computation; parameters are float32.

    References:
        van den Oord et al., "Conditional Image Generation with PixelCNN Decoders" (2016), figure 2.
    """

    channels: int
    kernel_size: int
    num_classes: int | None = None
    dropout: float = 0.0
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(
        self,
        vertical: Array,
        horizontal: Array,
        label: Array | None,
        coarser: Array | None,
        dropout_index: Array | None,
    ) -> tuple[Array, Array]:
        """float[B,h,w,C] each, int32[B], features float[B,h,w,C'] -> the stacks' next features."""
        reach, double = self.kernel_size // 2, 2 * self.channels
        # These kernels are not square on purpose: the fast algorithm for small square ones lets rounding errors
        # of a code reach the positions before it.
        above, beside = ((reach, 0), (reach, reach)), ((0, 0), (reach, 0))
        v = Conv(double, (reach + 1, 2 * reach + 1), padding=above, dtype=self.dtype, name="vertical")(
            vertical
        )
        h = Conv(double, (1, reach + 1), padding=beside, dtype=self.dtype, name="horizontal")(horizontal)
        h = h + nn.Dense(double, dtype=self.dtype, name="vertical_to_horizontal")(v)
        if label is not None:  # equation 4
            table = nn.Embed((self.num_classes or 0) + 1, 2 * double, dtype=self.dtype, name="class")
            for_v, for_h = jnp.split(table(label)[:, None, None], 2, axis=-1)
            v, h = v + for_v, h + for_h
        if coarser is not None:  # equation 5
            features = nn.Dense(2 * double, use_bias=False, dtype=self.dtype, name="coarser")(coarser)
            for_v, for_h = jnp.split(features, 2, axis=-1)
            v, h = v + for_v, h + for_h
        h = Dropout(self.dropout, name="dropout")(_gate(h), dropout_index)
        h = nn.Dense(self.channels, dtype=self.dtype, name="out")(h)
        return materialize(_gate(v)), materialize(horizontal + h)


def _gate(x: Array) -> Array:
    """tanh of one half of the channels times the sigmoid of the other (equation 2)."""
    signal, gate = jnp.split(x, 2, axis=-1)
    return jnp.tanh(signal) * nn.sigmoid(gate)


class PixelCNN(Autoregressive):
    """A stack of gated layers; see `Autoregressive` for the attributes that are not here.

    An input j has no effect on the logits at i <= j: the derivative is exactly 0. A code is reached by all before it
    if ``depth * (kernel_size // 2) + 1`` is at least the height and the width of the grid. The height of the
    coarser codes must divide the height of the codes, and so must the widths.

    Attributes:
        channels: width of the two stacks.
        depth: number of layers.
        kernel_size: odd, at least 3.
        coarser_blocks: residual blocks that spread the coarser codes over their neighbourhood.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.models.codes.pixel_cnn import PixelCNN
        >>> network, codes = PixelCNN(num_codes=16, num_classes=10, channels=8, depth=2), jnp.zeros((2, 4, 4), int)
        >>> told = {"label": jnp.array([3, 7])}
        >>> jax.eval_shape(network.init_with_output, jax.random.key(0), codes, told)[0].shape  # logits of each code
        (2, 4, 4, 16)

    References:
        van den Oord et al., "Conditional Image Generation with PixelCNN Decoders" (2016), section 2.
        Razavi et al., "Generating Diverse High-Fidelity Images with VQ-VAE-2" (2019), section 3.2: the coarser level.
    """

    channels: int = 64
    depth: int = 8
    kernel_size: int = 5
    coarser_blocks: int = 2

    head = "out_2"

    @property
    def features(self) -> int:
        """The width of both stacks."""
        return self.channels

    def body(
        self, codes: Array, label: Array | None, coarser: Array | None, dropout_index: Array | None
    ) -> Array:
        """See `Autoregressive.body`."""
        if self.kernel_size < 3 or self.kernel_size % 2 == 0:
            raise UserError(f"kernel_size={self.kernel_size}: valid are odd numbers from 3")
        above = None if coarser is None else self._spread(coarser, codes.shape[1:3])
        x = self.embed(codes, self.num_codes, "codes")
        vertical = jnp.pad(x, ((0, 0), (1, 0), (0, 0), (0, 0)))[:, :-1]
        horizontal = jnp.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]
        for i in range(self.depth):
            layer = GatedLayer(
                self.channels, self.kernel_size, self.num_classes, self.dropout, self.dtype, name=f"layer_{i}"
            )
            vertical, horizontal = layer(vertical, horizontal, label, above, dropout_index)
        return nn.relu(nn.Dense(self.channels, dtype=self.dtype, name="out_1")(nn.relu(horizontal)))

    def _spread(self, coarser: Array, size: tuple[int, ...]) -> Array:
        """int32[B,h',w'] -> float[B,h,w,C]."""
        if size[0] % coarser.shape[1] or size[1] % coarser.shape[2]:
            raise UserError(
                f"coarser codes of {coarser.shape[1]}x{coarser.shape[2]} do not divide codes of {size[0]}x{size[1]}"
            )
        height, width = size[0] // coarser.shape[1], size[1] // coarser.shape[2]
        x = self.embed(coarser, self.coarser_codes or 0, "coarser")
        for i in range(self.coarser_blocks):
            h = Conv(self.channels, (3, 3), dtype=self.dtype, name=f"coarser_{i}_1")(nn.relu(x))
            h = Conv(self.channels, (3, 3), dtype=self.dtype, name=f"coarser_{i}_2")(nn.relu(h))
            x = materialize(x + h)
        return jnp.repeat(jnp.repeat(x, height, axis=1), width, axis=2)
