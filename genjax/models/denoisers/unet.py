"""The U-Net of denoising diffusion models.

The network of DDPM with the improvements of ADM: the time and class embedding scales and shifts the features of every
block, resampling happens inside residual blocks, attention at chosen resolutions, outputs of blocks start at zero.

References:
    Ho, Jain and Abbeel, "Denoising Diffusion Probabilistic Models" (2020), appendix B; Dhariwal and Nichol, "Diffusion
    Models Beat GANs on Image Synthesis" (2021), section 3.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeAlias

import flax.linen as nn
import jax.numpy as jnp

from genjax.models.kind import NetworkKind, num_classes, options
from genjax.models.labels import label_of
from genjax.nn import (
    Conv,
    Dropout,
    GroupNorm,
    SelfAttention,
    downsample,
    materialize,
    sinusoidal_embedding,
    upsample,
)
from genjax.ranges import Count, Counts, Range, Share
from genjax.typing import Array, Condition, UserError

Resample: TypeAlias = Callable[[Array], Array] | None

_ZEROS = nn.initializers.zeros
TIME_SCALE = 1000.0
"""Of the noise level, which is of order 1, before its sines and cosines."""


class ResBlock(nn.Module):
    """Residual block conditioned on an embedding, which may halve or double the resolution.

    Attributes:
        channels: number of output channels.
        dropout: rate of dropout before the second convolution.
        resample: applied to the features and to the shortcut (`downsample`, `upsample`), None to keep the resolution.
        dtype: type of the computation; parameters are float32.
    """

    channels: int
    dropout: float = 0.0
    resample: Resample = None
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: Array, embedding: Array, dropout_index: Array | None) -> Array:
        """float[B,H,W,C_in], float[B,E], int32[B] -> float[B,H',W',channels]."""
        h = nn.silu(GroupNorm(dtype=self.dtype, name="norm_1")(x))
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = Conv(self.channels, (3, 3), dtype=self.dtype, name="conv_1")(h)

        modulation = nn.Dense(2 * self.channels, dtype=self.dtype, name="embed")(nn.silu(embedding))
        scale, shift = jnp.split(modulation.astype(jnp.float32), 2, axis=-1)
        h = nn.silu(GroupNorm(dtype=self.dtype, name="norm_2")(h, scale, shift))
        h = Dropout(self.dropout, name="dropout")(h, dropout_index)
        h = Conv(self.channels, (3, 3), dtype=self.dtype, kernel_init=_ZEROS, name="conv_2")(h)

        if x.shape[-1] != self.channels:
            x = Conv(self.channels, (1, 1), dtype=self.dtype, name="shortcut")(x)
        return materialize(x + h)


class UNet(nn.Module):
    """F(c_in * x_t, c_noise, condition): the network of a diffusion model.

    Attributes:
        channels: width at full resolution.
        multipliers: width of each resolution, as multiples of `channels`; each further one halves the resolution.
        blocks: residual blocks per resolution on the way down (one more on the way up).
        attention: resolutions (image heights) at which blocks are followed by self-attention; the innermost has it
            between its two middle blocks in any case.
        head_channels: width of an attention head.
        out_channels: channels of the output; None: the same as the input.
        num_classes: number of classes of the condition "label", None for an unconditional network. Class `num_classes`
            is the null class, which stands for "no class" in classifier-free guidance.
        dropout: rate of dropout inside the blocks.
        dtype: type of the computation (bfloat16 for mixed precision); parameters and the output are float32.
        remat: recompute each block's activations in the backward pass instead of storing them.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax import models
        >>> network = models.UNet(channels=8, multipliers=(1, 2), num_classes=10)
        >>> x, c_noise, told = jnp.zeros((2, 8, 8, 1)), jnp.zeros(2), {"label": jnp.array([3, 7])}
        >>> y, variables = jax.eval_shape(network.init_with_output, jax.random.key(0), x, c_noise, told)
        >>> y.shape, variables["params"]["class"]["embedding"].shape  # class 10 is "no class"
        ((2, 8, 8, 1), (11, 32))
    """

    channels: int = 64
    multipliers: tuple[int, ...] = (1, 2, 2)
    blocks: int = 2
    attention: tuple[int, ...] = ()
    head_channels: int = 64
    out_channels: int | None = None
    num_classes: int | None = None
    dropout: float = 0.0
    dtype: jnp.dtype | None = None
    remat: bool = False

    @nn.compact
    def __call__(
        self,
        x: Array,
        c_noise: Array,
        condition: Condition | None = None,
        *,
        dropout_index: Array | None = None,
    ) -> Array:
        """Apply the network.

        Args:
            x: float[B,H,W,C], scaled noisy images; H and W divisible by 2 ** (len(multipliers) - 1).
            c_noise: float[B], the noise level as the prediction passes it, of order 1; its features are sines and
                cosines of 1,000 times as much.
            condition: "label" int32[B] in [0, num_classes), see `genjax.conditions`; examples without it have the null
                class, and so has None.
            dropout_index: int32[B], positions in the global batch, which choose each example's dropout mask;
                None: no dropout.

        Returns:
            float32[B,H,W,out_channels].

        Raises:
            UserError: if H or W is not divisible, or a label is given to an unconditional network.
        """
        halvings = 2 ** (len(self.multipliers) - 1)
        if x.shape[1] % halvings or x.shape[2] % halvings:
            raise UserError(
                f"image size {x.shape[1]}x{x.shape[2]} is not divisible by {halvings}, which a U-Net with "
                f"{len(self.multipliers)} resolutions (multipliers={self.multipliers}) needs"
            )
        out_channels = self.out_channels or x.shape[-1]
        embedding = self._embedding(c_noise, condition)
        block = nn.remat(ResBlock) if self.remat else ResBlock

        def res(h: Array, width: int, name: str, resample: Resample = None) -> Array:
            module = block(width, self.dropout, resample, self.dtype, name=name)
            return module(h, embedding, dropout_index)

        def attend(h: Array, name: str, always: bool = False) -> Array:
            if not always and h.shape[1] not in self.attention:
                return h
            return SelfAttention(self.head_channels, self.dtype, name=name)(h)

        h = Conv(self.channels, (3, 3), dtype=self.dtype, name="conv_in")(x)
        skips = [h]
        widths = [self.channels * m for m in self.multipliers]
        for level, width in enumerate(widths):
            if level:
                h = res(h, widths[level - 1], f"down_{level}_resample", downsample)
                skips.append(h)
            for i in range(self.blocks):
                h = attend(res(h, width, f"down_{level}_{i}"), f"down_{level}_{i}_attention")
                skips.append(h)

        h = res(h, widths[-1], "middle_0")
        h = res(attend(h, "middle_attention", always=True), widths[-1], "middle_1")

        for level, width in reversed(list(enumerate(widths))):
            for i in range(self.blocks + 1):
                h = res(jnp.concatenate([h, skips.pop()], axis=-1), width, f"up_{level}_{i}")
                h = attend(h, f"up_{level}_{i}_attention")
            if level:
                h = res(h, width, f"up_{level}_resample", upsample)

        h = nn.silu(GroupNorm(dtype=self.dtype, name="norm_out")(h))
        h = Conv(out_channels, (3, 3), dtype=self.dtype, kernel_init=_ZEROS, name="conv_out")(h)
        return h.astype(jnp.float32)

    def _embedding(self, c_noise: Array, condition: Condition | None) -> Array:
        """float[B, 4 * channels]: the noise level and the class, which add up."""
        width = 4 * self.channels
        time = sinusoidal_embedding(TIME_SCALE * c_noise, self.channels)
        time = nn.silu(nn.Dense(width, dtype=self.dtype, name="time_1")(time))
        embedding = nn.Dense(width, dtype=self.dtype, name="time_2")(time)
        label = label_of(condition, self.num_classes, c_noise.shape[0])
        if label is None or self.num_classes is None:
            return embedding
        return embedding + nn.Embed(self.num_classes + 1, width, dtype=self.dtype, name="class")(label)


@dataclasses.dataclass(frozen=True)
class UNetConfig:
    """The network: a U-Net (genjax.models.UNet).

    Attributes:
        channels: Number of channels at full resolution.
        multipliers: Width at each resolution, as a multiple of channels, from the full resolution down. Each resolution
            is half of the one before.
        blocks: Number of residual blocks per resolution.
        attention: Heights of the feature maps that have self-attention.
        head_channels: Number of channels of an attention head.
        dropout: Rate of dropout in the blocks.
        dtype: Type of the computation. Parameters are always float32.
        remat: Recompute activations in the backward pass instead of storing them.
    """

    channels: Annotated[int, Range("[2, inf)")] = 32
    multipliers: Counts = (1, 2, 2)
    blocks: Count = 1
    attention: Counts = ()
    head_channels: Count = 64
    dropout: Share = 0.0
    dtype: Literal["float32", "bfloat16"] = "float32"
    remat: bool = False


def _build(config: UNetConfig, image_shape: tuple[int, int, int], conditions: Mapping[str, Any]) -> UNet:
    return UNet(**options(config), num_classes=num_classes(conditions))


def _check(config: UNetConfig, image_shape: tuple[int, int, int]) -> None:
    if not config.multipliers:
        raise UserError("model.multipliers=(): at least one is needed")
    heights = [image_shape[0] // 2**level for level in range(len(config.multipliers))]
    unknown = sorted(set(config.attention) - set(heights))
    if unknown:
        raise UserError(
            f"model.attention={config.attention}: no features have height {unknown[0]}; valid are {heights}"
        )
    widths = {height: config.channels * m for height, m in zip(heights, config.multipliers, strict=True)}
    for height in {*config.attention, heights[-1]}:
        width = widths[height]
        if width % max(1, width // config.head_channels):
            raise UserError(
                f"model.head_channels={config.head_channels}: {width} channels at height {height} cannot be "
                f"divided into {width // config.head_channels} heads"
            )


NETWORK = NetworkKind(
    UNetConfig,
    {"denoiser": _build},
    conditions=("label",),
    check=_check,
    small={"channels": 8, "multipliers": (1,)},
)
