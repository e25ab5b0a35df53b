"""The networks of VQ-VAE and VQ-VAE-2: convolutional encoders and decoders around quantisers.

van den Oord, Vinyals and Kavukcuoglu, "Neural Discrete Representation Learning" (2017), section 4.1; Razavi, van den
Oord and Vinyals, "Generating Diverse High-Fidelity Images with VQ-VAE-2" (2019), section 3.1.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import flax.linen as nn
import jax.numpy as jnp

from genjax.models.codes.autoregressive import Autoregressive
from genjax.models.codes.code_transformer import CodeTransformer
from genjax.models.codes.pixel_cnn import PixelCNN
from genjax.models.kind import NetworkKind, num_classes, options
from genjax.nn import Conv, ConvTranspose
from genjax.nn.quantization import (
    FiniteScalarQuantizer,
    Quantized,
    Quantizer,
    Statistics,
    VectorQuantizer,
)
from genjax.ranges import Count, CountOrZero, Range, Share
from genjax.typing import Array, UserError


class ResidualStack(nn.Module):
    """Residual blocks (ReLU, 3x3 convolution, ReLU, 1x1 convolution), and a ReLU.

    Attributes:
        blocks: number of blocks.
        channels: width inside a block.
        dtype: type of the computation; parameters are float32.
    """

    blocks: int
    channels: int
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """float[B,H,W,C] -> float[B,H,W,C]."""
        for i in range(self.blocks):
            h = Conv(self.channels, (3, 3), dtype=self.dtype, name=f"block_{i}_1")(nn.relu(x))
            x = x + Conv(x.shape[-1], (1, 1), dtype=self.dtype, name=f"block_{i}_2")(nn.relu(h))
        return nn.relu(x)


class Encoder(nn.Module):
    """Strided 4x4 convolutions, each halving the resolution, and residual blocks.

    Attributes:
        channels: width.
        halvings: number of strided convolutions.
        residual_blocks: see `ResidualStack`.
        residual_channels: see `ResidualStack`.
        dtype: type of the computation; parameters are float32.
    """

    channels: int
    halvings: int
    residual_blocks: int
    residual_channels: int
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """float[B,H,W,C] -> float[B,h,w,channels]."""
        for i in range(self.halvings):
            x = nn.relu(Conv(self.channels, (4, 4), (2, 2), dtype=self.dtype, name=f"down_{i}")(x))
        x = Conv(self.channels, (3, 3), dtype=self.dtype, name="conv")(x)
        return ResidualStack(self.residual_blocks, self.residual_channels, self.dtype, name="stack")(x)


class Decoder(nn.Module):
    """Residual blocks, and transposed 4x4 convolutions, each doubling the resolution.

    Attributes:
        out_channels: channels of the output.
        channels: width.
        doublings: number of transposed convolutions, at least 1.
        residual_blocks: see `ResidualStack`.
        residual_channels: see `ResidualStack`.
        dtype: type of the computation; parameters are float32.
    """

    out_channels: int
    channels: int
    doublings: int
    residual_blocks: int
    residual_channels: int
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, z: Array) -> Array:
        """float[B,h,w,C] -> float[B,H,W,out_channels]."""
        x = Conv(self.channels, (3, 3), dtype=self.dtype, name="conv")(z)
        x = ResidualStack(self.residual_blocks, self.residual_channels, self.dtype, name="stack")(x)
        for i in range(self.doublings - 1):
            x = nn.relu(ConvTranspose(self.channels, (4, 4), (2, 2), dtype=self.dtype, name=f"up_{i}")(x))
        return ConvTranspose(self.out_channels, (4, 4), (2, 2), dtype=self.dtype, name="out")(x)


class VQVAE(nn.Module):
    """An autoencoder with integer codes in between: VQ-VAE with one level, VQ-VAE-2 with two or more.

    The finest level has 1 / 2**downsamplings of the image's resolution. Each coarser level has half the resolution of
    the level before. An encoder of a level takes the features of the next finer one. The coarsest level is quantised
    first; what it decodes to joins the features of the next finer level before that is quantised in turn, and joins its
    quantised vectors before they are decoded: so the last decoder sees all levels.

    Attributes:
        out_channels: channels of the output, as the likelihood needs them.
        quantizer: makes the quantiser of a level: a class, or `functools.partial` of one.
        levels: number of levels, at least 1.
        downsamplings: halvings of the resolution before the finest level, at least 1.
        channels: width of all layers.
        residual_blocks: blocks in each encoder and decoder.
        residual_channels: width inside the blocks; None: `channels`.
        dtype: type of the computation (bfloat16 for mixed precision); parameters, quantisation and the output are
            float32.

    Example:
        >>> import functools, jax, jax.numpy as jnp
        >>> from genjax.models.codes.vq_vae import VQVAE
        >>> from genjax.nn.quantization import VectorQuantizer
        >>> quantizer = functools.partial(VectorQuantizer, num_codes=16, width=4)
        >>> network = VQVAE(out_channels=1, quantizer=quantizer, levels=2, downsamplings=1, channels=8)
        >>> (outputs, levels), _ = jax.eval_shape(network.init_with_output, jax.random.key(0), jnp.zeros((3, 8, 8, 1)))
        >>> outputs.shape, [level.codes.shape for level in levels], network.num_codes  # coarsest first
        ((3, 8, 8, 1), [(3, 2, 2), (3, 4, 4)], (16, 16))
    """

    out_channels: int = 3
    quantizer: Callable[..., Any] = VectorQuantizer
    levels: int = 1
    downsamplings: int = 2
    channels: int = 256
    residual_blocks: int = 2
    residual_channels: int | None = None
    dtype: jnp.dtype | None = None

    def setup(self) -> None:
        for name in ("levels", "downsamplings", "channels"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)}: valid are 1 and more")
        # Everything is in the order of the codes: coarsest first.
        halvings = [1] * (self.levels - 1) + [self.downsamplings]
        outputs = [self.channels] * (self.levels - 1) + [self.out_channels]
        inside = self.residual_channels or self.channels
        rest = self.residual_blocks, inside, self.dtype
        self.encoders = [Encoder(self.channels, n, *rest) for n in halvings]
        self.quantizers = [self.quantizer() for _ in halvings]
        self.to_vectors = [Conv(q.width, (1, 1), dtype=self.dtype) for q in self.quantizers]
        self.decoders = [
            Decoder(out, self.channels, n, *rest) for out, n in zip(outputs, halvings, strict=True)
        ]

    @property
    def num_codes(self) -> tuple[int, ...]:
        """K of each level, coarsest first."""
        return (self._new_quantizer().num_codes,) * self.levels

    def code_shapes(self, image_shape: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """H, W, ... of images -> h, w of the codes of each level, coarsest first.

        Raises:
            UserError: H or W is not divisible.
        """
        height, width = image_shape[:2]
        factors = [2 ** (self.downsamplings + i) for i in reversed(range(self.levels))]
        if height % factors[0] or width % factors[0]:
            raise UserError(
                f"image size {height}x{width} is not divisible by {factors[0]}, which levels={self.levels} with "
                f"downsamplings={self.downsamplings} need"
            )
        return tuple((height // factor, width // factor) for factor in factors)

    def __call__(self, x: Array) -> tuple[Array, tuple[Quantized, ...]]:
        """float[B,H,W,C] in [-1, 1] -> outputs float32[B,H,W,out_channels], and the quantised levels."""
        levels = self.quantize(x)
        return self._decode([level.z for level in levels]), levels

    def quantize(self, x: Array) -> tuple[Quantized, ...]:
        """float[B,H,W,C] in [-1, 1] -> the quantised levels, coarsest first."""
        self.code_shapes(x.shape[1:])
        features: list[Array] = []
        for encoder in reversed(self.encoders):
            x = encoder(x)
            features.insert(0, x)
        levels: list[Quantized] = []
        decoded = None
        for i, x in enumerate(features):
            levels.append(self.quantizers[i](self.to_vectors[i](_join(x, decoded))))
            if i + 1 < self.levels:
                decoded = self.decoders[i](_join(levels[i].z, decoded))
        return tuple(levels)

    def decode(self, codes: Sequence[Array]) -> Array:
        """int32[B,h,w] of each level, coarsest first -> outputs float32[B,H,W,out_channels]."""
        return self._decode([q.lookup(c) for q, c in zip(self.quantizers, codes, strict=True)])

    def learn(self, statistics: Sequence[Statistics], first: Array) -> list[dict[str, Array]]:
        """`genjax.nn.quantization.Quantizer.learn` of each level, coarsest first."""
        return [q.learn(s, first) for q, s in zip(self.quantizers, statistics, strict=True)]

    def _decode(self, vectors: Sequence[Array]) -> Array:
        decoded = None
        for decoder, z in zip(self.decoders, vectors, strict=True):
            decoded = decoder(_join(z, decoded))
        assert decoded is not None
        return decoded.astype(jnp.float32)

    def _new_quantizer(self) -> Quantizer:
        return self.quantizer(parent=None)


def _join(x: Array, decoded: Array | None) -> Array:
    return x if decoded is None else jnp.concatenate([x, decoded.astype(x.dtype)], axis=-1)


QUANTIZERS: dict[str, Callable[[Any], Callable[..., Any]]] = {
    "vector": lambda c: functools.partial(VectorQuantizer, num_codes=c.num_codes, width=c.code_width),
    "finite_scalar": lambda c: functools.partial(FiniteScalarQuantizer, levels=c.scalar_levels),
}
"""Quantisers by name, from a `CodesConfig`."""

PRIORS: dict[str, Callable[..., Autoregressive]] = {
    # At a depth of 8 the kernels reach over 9x9 codes.
    "pixel_cnn": lambda width, **options: PixelCNN(channels=width, kernel_size=3, **options),
    "transformer": lambda width, **options: CodeTransformer(width=width, **options),
}
"""Networks of priors by name."""

if TYPE_CHECKING:
    QuantizerName = PriorName = str
else:
    QuantizerName, PriorName = Literal[tuple(QUANTIZERS)], Literal[tuple(PRIORS)]


@dataclasses.dataclass(frozen=True)
class CodesConfig:
    """The networks: encoder and decoder of codes (genjax.models.codes.vq_vae), and the prior over the codes.

    Attributes:
        quantizer: How vectors become codes: by a learned code book, or by "finite_scalar" quantisation (Mentzer et
            al. 2023).
        num_codes: Number of codes in the code book.
        code_width: Number of channels of a code.
        scalar_levels: Under "finite_scalar": number of values of each channel. The product is the number of codes.
        levels: Number of levels of codes: 1 is VQ-VAE, 2 is VQ-VAE-2.
        downsamplings: Number of times that the resolution is halved before the finest codes.
        channels: Width of the encoder and the decoder.
        residual_blocks: Number of residual blocks in each encoder and decoder.
        prior: Network of the prior over the codes.
        prior_channels: Width of the prior.
        prior_depth: Number of layers of the prior.
        prior_dropout: Rate of dropout in the prior.
    """

    quantizer: QuantizerName = "vector"
    num_codes: Count = 512
    code_width: Count = 64
    scalar_levels: Annotated[tuple[int, ...], Range("[2, inf)")] = (8, 8, 8)
    levels: Count = 1
    downsamplings: Count = 2
    channels: Count = 64
    residual_blocks: CountOrZero = 2
    prior: PriorName = "pixel_cnn"
    prior_channels: Count = 64
    prior_depth: Count = 8
    prior_dropout: Share = 0.0


_OF_QUANTIZER = ("quantizer", "num_codes", "code_width", "scalar_levels")
_OF_PRIOR = ("prior", "prior_channels", "prior_depth", "prior_dropout")


def _build_codes(config: CodesConfig, image_shape: tuple[int, int, int]) -> VQVAE:
    sizes = options(config, *_OF_QUANTIZER, *_OF_PRIOR)
    return VQVAE(image_shape[-1], QUANTIZERS[config.quantizer](config), **sizes)


def _build_prior(
    config: CodesConfig, num_codes: int, coarser_codes: int | None, conditions: Mapping[str, Any]
) -> Autoregressive:
    return PRIORS[config.prior](
        config.prior_channels,
        depth=config.prior_depth,
        dropout=config.prior_dropout,
        num_codes=num_codes,
        coarser_codes=coarser_codes,
        num_classes=num_classes(conditions),
    )


def _check(config: CodesConfig, image_shape: tuple[int, int, int]) -> None:
    if config.quantizer == "finite_scalar" and not config.scalar_levels:
        raise UserError("model.scalar_levels=(): at least one is needed")


NETWORK = NetworkKind(
    CodesConfig,
    {"codes": _build_codes, "code_prior": _build_prior},
    conditions=("label",),
    check=_check,
    small={
        "num_codes": 8,
        "code_width": 4,
        "downsamplings": 1,
        "channels": 8,
        "residual_blocks": 1,
        "prior_channels": 4,
        "prior_depth": 2,
    },
)
