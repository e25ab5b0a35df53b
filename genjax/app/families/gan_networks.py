"""Pairs of networks of generative adversarial networks, as configs, and how a label enters them."""

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import flax.linen as nn

from genjax.data import DataInfo
from genjax.models.gan.biggan import BigGANGenerator, biggan_discriminator
from genjax.models.gan.conditioning import Join, Projection
from genjax.models.gan.dcgan import DCGANDiscriminator, DCGANGenerator, DCGANNorm
from genjax.models.gan.mlp import MLPDiscriminator, MLPGenerator, MLPNorm
from genjax.models.gan.r3gan import R3GANDiscriminator, R3GANGenerator
from genjax.models.gan.residual import ResidualDiscriminator, ResidualGenerator, mean_pool, sum_pool
from genjax.nn import SpectralNorm

if TYPE_CHECKING:
    from genjax.app.config import Config

WeightNormName = Literal["none", "spectral", "spectral_operator"]

_WEIGHT_NORMS: dict[str, Callable[..., Any] | None] = {
    "none": None,
    "spectral": SpectralNorm,
    "spectral_operator": functools.partial(SpectralNorm, operator=True),
}


@dataclasses.dataclass(frozen=True)
class MLPGANConfig:
    """The networks: multilayer perceptrons (genjax.models.gan.mlp).

    Attributes:
        hidden: Widths of the generator's layers.
        discriminator_hidden: Widths of the discriminator's layers.
        pieces: A unit of the discriminator is the largest of so many linear functions; 1: leaky rectified units.
        generator_norm: Normalisation in the generator, after the units of each layer.
        generator_slope: Of the generator's units below zero.
    """

    hidden: tuple[int, ...] = (512, 512)
    discriminator_hidden: tuple[int, ...] = (240, 240)
    pieces: int = 5
    generator_norm: Literal["none", "batch"] = "none"
    generator_slope: float = 0.0


@dataclasses.dataclass(frozen=True)
class DCGANConfig:
    """The networks: strided and transposed convolutions (genjax.models.gan.dcgan).

    Attributes:
        channels: Of the largest feature maps; they double with each halving.
        hidden: Width of a fully connected layer in both networks, at the smallest feature maps; None: none.
        discriminator_norm: Normalisation in the discriminator; that of the generator is by batches.
        weight_norm: Normalisation of the discriminator's weights: by the spectral norm of the kernel as a matrix, or of
            the convolution as an operator.
    """

    channels: int = 64
    hidden: int | None = None
    discriminator_norm: Literal["batch", "none"] = "batch"
    weight_norm: WeightNormName = "none"


@dataclasses.dataclass(frozen=True)
class ResidualGANConfig:
    """The networks: those of SNGAN and WGAN-GP (genjax.models.gan.residual).

    Attributes:
        channels: Of the generator's blocks, each of which doubles the size.
        discriminator_channels: Of the discriminator's blocks.
        halvings: So many of the discriminator's blocks, the first ones, halve the size.
        pool: How the discriminator's last features are pooled over positions: sum as SNGAN's, mean as WGAN-GP's.
        weight_norm: Normalisation of the discriminator's weights.
    """

    channels: tuple[int, ...] = (128, 128)
    discriminator_channels: tuple[int, ...] = (128, 128, 128)
    halvings: int = 2
    pool: Literal["sum", "mean"] = "sum"
    weight_norm: WeightNormName = "spectral"


@dataclasses.dataclass(frozen=True)
class BigGANConfig:
    """The networks: class-conditional residual ones with self-attention (genjax.models.gan.biggan).

    Attributes:
        channels: Of the generator's blocks, each of which doubles the size.
        discriminator_channels: Of the discriminator's blocks.
        halvings: So many of the discriminator's blocks, the first ones, halve the size.
        embedding: Width of the classes' embedding.
        attention: Height of the feature maps after which both networks attend; None: nowhere.
        weight_norm: Normalisation of the weights of both networks.
    """

    channels: tuple[int, ...] = (128, 128)
    discriminator_channels: tuple[int, ...] = (128, 128, 128)
    halvings: int = 2
    embedding: int = 32
    attention: int | None = 14
    weight_norm: WeightNormName = "spectral"


@dataclasses.dataclass(frozen=True)
class R3GANConfig:
    """The networks: residual ones without normalisation (genjax.models.gan.r3gan).

    Attributes:
        channels: Of the generator's stages, from the smallest size on; the discriminator's are the reverse.
        blocks: Of each stage.
        expansion: Width of a block's grouped convolution, as a multiple of the stage's.
        group_channels: Channels of a group of this convolution.
    """

    channels: tuple[int, ...] = (96, 64, 32)
    blocks: int = 1
    expansion: int = 2
    group_channels: int = 16


class Conditioning(NamedTuple):
    """How labels enter.

    Attributes:
        num_classes: None: they do not.
        join: makes the layers that join a label to z or to images; of the generator, and of the discriminator.
        projection: whether the discriminator's features are projected on the label.
    """

    num_classes: int | None
    join: tuple[bool, bool]
    projection: bool

    def layers(self, weight_norm: Any = None) -> tuple[nn.Module | None, dict[str, Any]]:
        """The generator's `join`, and the arguments "join" and "projection" of the discriminator."""
        if self.num_classes is None:
            return None, {"join": None, "projection": None}
        joins = [Join(self.num_classes) if wanted else None for wanted in self.join]
        projection = Projection(self.num_classes, weight_norm) if self.projection else None
        return joins[0], {"join": joins[1], "projection": projection}


CONDITIONINGS: dict[str, tuple[tuple[bool, bool], bool]] = {
    "none": ((False, False), False),
    "concatenation": ((True, True), False),
    "auxiliary": ((True, False), False),
    "projection": ((True, False), True),
}
"""By name: where the label is joined, and whether it is projected."""

Pair = tuple[nn.Module, nn.Module]


def networks(config: "Config", info: DataInfo, num_classes: int | None) -> Pair:
    """The generator and the discriminator of a config."""
    conditioning = Conditioning(num_classes, *CONDITIONINGS[config.method.conditioning])
    return _PAIRS[type(config.model)](config.model, info.image_shape, conditioning)


def _mlp(model: MLPGANConfig, image_shape: tuple[int, int, int], conditioning: Conditioning) -> Pair:
    join, judged = conditioning.layers()
    norm = {"none": None, "batch": MLPNorm}[model.generator_norm]
    generator = MLPGenerator(image_shape, model.hidden, join, norm, model.generator_slope)
    return generator, MLPDiscriminator(model.discriminator_hidden, model.pieces, **judged)


def _dcgan(model: DCGANConfig, image_shape: tuple[int, int, int], conditioning: Conditioning) -> Pair:
    weight_norm = _WEIGHT_NORMS[model.weight_norm]
    join, judged = conditioning.layers(weight_norm)
    discriminator = DCGANDiscriminator(
        model.channels,
        hidden=model.hidden,
        norm={"batch": DCGANNorm, "none": None}[model.discriminator_norm],
        weight_norm=weight_norm,
        **judged,
    )
    return DCGANGenerator(image_shape, model.channels, join, hidden=model.hidden), discriminator


def _residual(
    model: ResidualGANConfig, image_shape: tuple[int, int, int], conditioning: Conditioning
) -> Pair:
    weight_norm = _WEIGHT_NORMS[model.weight_norm]
    join, judged = conditioning.layers(weight_norm)
    # Where the discriminator projects, the papers' generator has a gain and a bias for each class.
    by_gains = conditioning.num_classes if conditioning.projection else None
    generator = ResidualGenerator(
        image_shape, model.channels, None if by_gains is not None else join, by_gains
    )
    discriminator = ResidualDiscriminator(
        model.discriminator_channels,
        model.halvings,
        pool={"sum": sum_pool, "mean": mean_pool}[model.pool],
        weight_norm=weight_norm,
        **judged,
    )
    return generator, discriminator


def _biggan(model: BigGANConfig, image_shape: tuple[int, int, int], conditioning: Conditioning) -> Pair:
    weight_norm = _WEIGHT_NORMS[model.weight_norm]
    assert conditioning.num_classes is not None, "checked by genjax.app.families.gan"
    generator = BigGANGenerator(
        conditioning.num_classes,
        image_shape,
        model.channels,
        model.embedding,
        attention=model.attention,
        weight_norm=weight_norm,
    )
    discriminator = biggan_discriminator(
        conditioning.num_classes,
        model.discriminator_channels,
        model.halvings,
        attention=model.attention,
        weight_norm=weight_norm,
    )
    return generator, discriminator


def _r3gan(model: R3GANConfig, image_shape: tuple[int, int, int], conditioning: Conditioning) -> Pair:
    join, judged = conditioning.layers()
    blocks: dict[str, Any] = {
        "blocks": model.blocks,
        "expansion": model.expansion,
        "group_channels": model.group_channels,
    }
    generator = R3GANGenerator(image_shape, model.channels, join=join, **blocks)
    return generator, R3GANDiscriminator(model.channels[::-1], **judged, **blocks)


_PAIRS: dict[type, Callable[[Any, tuple[int, int, int], Conditioning], Pair]] = {
    MLPGANConfig: _mlp,
    DCGANConfig: _dcgan,
    ResidualGANConfig: _residual,
    BigGANConfig: _biggan,
    R3GANConfig: _r3gan,
}
MODELS = tuple(_PAIRS)

RANGES = {
    "model.hidden": "[1, inf)",
    "model.discriminator_hidden": "[1, inf)",
    "model.generator_slope": "[0, 1]",
    "model.pieces": "[1, inf)",
    "model.channels": "[1, inf)",
    "model.discriminator_channels": "[1, inf)",
    "model.halvings": "[1, inf)",
    "model.embedding": "[1, inf)",
    "model.attention": "[1, inf)",
    "model.blocks": "[1, inf)",
    "model.expansion": "[1, inf)",
    "model.group_channels": "[1, inf)",
}
