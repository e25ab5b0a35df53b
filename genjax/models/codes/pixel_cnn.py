"""The gated PixelCNN: an autoregressive model of a grid of codes.

A code depends on those before it in raster order: row by row from the top, in a row from the left. Two stacks of
convolutions see to it without a blind spot: the vertical one sees the rows above, the horizontal one the codes to the
left, and what the vertical one found.

No mask is needed: both stacks get the codes once shifted, by a row and by a column, and their kernels end at the
position itself. There is no normalisation over positions, which would show a code those after it.
"""

import flax.linen as nn
import jax.numpy as jnp

from genjax.nn import Conv, Dropout, materialize
from genjax.typing import Array, UserError


class GatedLayer(nn.Module):
    """One layer of both stacks (van den Oord et al. 2016, figure 2).

    Attributes:
        channels: width C of either stack.
        kernel_size: odd; of the masked kernels that the two stacks make up together.
        num_classes: number of classes, None for an unconditional network.
        dropout: rate of dropout in the horizontal stack.
        dtype: type of the computation; parameters are float32.
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


class PixelCNN(nn.Module):
    """p(code | the codes before it, the class, the codes of the next coarser level), as logits.

    An input j has no effect on the logits at i <= j: the derivative is exactly 0. A code is reached by all before it
    if ``depth * (kernel_size // 2) + 1`` is at least the height and the width of the grid.

    Attributes:
        num_codes: number K of values of a code.
        channels: width of the two stacks.
        depth: number of layers.
        kernel_size: odd, at least 3.
        num_classes: number of classes, None for an unconditional network. Label `num_classes` is the null label.
        coarser_codes: number of values of a code of the coarser level; None where there is no such level.
        coarser_blocks: residual blocks that spread the coarser codes over their neighbourhood.
        dropout: rate of dropout inside the layers.
        dtype: type of the computation (bfloat16 for mixed precision); parameters and the output are float32.

    References:
        van den Oord et al., "Conditional Image Generation with PixelCNN Decoders" (2016), section 2.
        Razavi et al., "Generating Diverse High-Fidelity Images with VQ-VAE-2" (2019), section 3.2: the coarser level.
    """

    num_codes: int
    channels: int = 64
    depth: int = 8
    kernel_size: int = 5
    num_classes: int | None = None
    coarser_codes: int | None = None
    coarser_blocks: int = 2
    dropout: float = 0.0
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(
        self,
        codes: Array,
        label: Array | None = None,
        coarser: Array | None = None,
        *,
        dropout_index: Array | None = None,
    ) -> Array:
        """Apply the network.

        Args:
            codes: int32[B,h,w] in [0, num_codes).
            label: int32[B] in [0, num_classes]; None is the null label.
            coarser: int32[B,h',w'] in [0, coarser_codes), where h' divides h and w' divides w.
            dropout_index: int32[B], positions in the global batch, which choose each example's dropout mask;
                None: no dropout.

        Returns:
            float32[B,h,w,num_codes], the logits of each code given those before it.

        Raises:
            UserError: for arguments that do not go with the attributes.
        """
        if self.kernel_size < 3 or self.kernel_size % 2 == 0:
            raise UserError(f"kernel_size={self.kernel_size}: valid are odd numbers from 3")
        label = checked_label(codes, label, self.num_classes)
        check_coarser(coarser, self.coarser_codes)
        features = None if coarser is None else self._features(coarser, codes.shape[1:])

        x = nn.Embed(self.num_codes, self.channels, dtype=self.dtype, name="codes")(codes)
        vertical = jnp.pad(x, ((0, 0), (1, 0), (0, 0), (0, 0)))[:, :-1]
        horizontal = jnp.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]
        for i in range(self.depth):
            layer = GatedLayer(
                self.channels, self.kernel_size, self.num_classes, self.dropout, self.dtype, name=f"layer_{i}"
            )
            vertical, horizontal = layer(vertical, horizontal, label, features, dropout_index)
        x = nn.Dense(self.channels, dtype=self.dtype, name="out_1")(nn.relu(horizontal))
        x = nn.Dense(self.num_codes, dtype=self.dtype, name="out_2")(nn.relu(x))
        return x.astype(jnp.float32)

    def _features(self, coarser: Array, size: tuple[int, ...]) -> Array:
        """int32[B,h',w'] -> float[B,h,w,C]."""
        if size[0] % coarser.shape[1] or size[1] % coarser.shape[2]:
            raise UserError(
                f"coarser codes of {coarser.shape[1]}x{coarser.shape[2]} do not divide codes of {size[0]}x{size[1]}"
            )
        x = nn.Embed(self.coarser_codes or 0, self.channels, dtype=self.dtype, name="coarser")(coarser)
        for i in range(self.coarser_blocks):
            h = Conv(self.channels, (3, 3), dtype=self.dtype, name=f"coarser_{i}_1")(nn.relu(x))
            h = Conv(self.channels, (3, 3), dtype=self.dtype, name=f"coarser_{i}_2")(nn.relu(h))
            x = materialize(x + h)
        x = jnp.repeat(x, size[0] // coarser.shape[1], axis=1)
        return jnp.repeat(x, size[1] // coarser.shape[2], axis=2)


def checked_label(codes: Array, label: Array | None, num_classes: int | None) -> Array | None:
    """int32[B]: `label`, or the null label where it is None; None for an unconditional network.

    Raises:
        UserError: if a label is given to an unconditional network.
    """
    if num_classes is None:
        if label is not None:
            raise UserError("label is given, but the network is unconditional (num_classes=None)")
        return None
    return jnp.full(codes.shape[:1], num_classes, jnp.int32) if label is None else label


def check_coarser(coarser: Array | None, coarser_codes: int | None) -> None:
    """Raises UserError unless coarser codes are given exactly where the network has a table for them."""
    if (coarser is None) != (coarser_codes is None):
        given = "no coarser codes are given" if coarser is None else "coarser codes are given"
        raise UserError(f"{given}, but the network has coarser_codes={coarser_codes}")
