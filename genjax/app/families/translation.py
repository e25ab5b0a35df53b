"""Networks from images to images, as the configs of several families name them."""

import dataclasses
from typing import TYPE_CHECKING, Literal

import flax.linen as nn

from genjax.models.gan.translation import InstanceNorm, ResidualTranslator, UNetGenerator
from genjax.nn.batch_norm import BatchNorm

if TYPE_CHECKING:
    from genjax.app.config import Config

NORMS = {"batch": BatchNorm, "instance": InstanceNorm}


@dataclasses.dataclass(frozen=True)
class TranslationUNetConfig:
    """The generator: strided convolutions and back, with the maps of each size joined (genjax.models.gan.translation).

    Attributes:
        channels: Of the largest feature map; they double with each halving, up to 8 times.
        levels: Halvings of the images' size.
        norm: Normalisation by batches, or of each image alone.
        dropout: Rate, in the innermost layers on the way up.
        dropout_levels: How many of these have it.
    """

    channels: int = 64
    levels: int = 2
    norm: Literal["batch", "instance"] = "batch"
    dropout: float = 0.5
    dropout_levels: int = 1


@dataclasses.dataclass(frozen=True)
class ResidualTranslatorConfig:
    """The generators: residual blocks at a fraction of the images' size (genjax.models.gan.translation).

    Attributes:
        channels: Of the largest feature map; they double with each halving.
        blocks: Residual blocks.
        halvings: Of the images' size.
    """

    channels: int = 64
    blocks: int = 9
    halvings: int = 2


def translator(config: "Config", out_channels: int) -> nn.Module:
    """The network."""
    model = config.model
    if isinstance(model, TranslationUNetConfig):
        return UNetGenerator(
            out_channels, model.channels, model.levels, NORMS[model.norm], model.dropout, model.dropout_levels
        )
    return ResidualTranslator(out_channels, model.channels, model.blocks, model.halvings)


RANGES = {
    "model.channels": "[1, inf)",
    "model.levels": "[1, inf)",
    "model.dropout": "[0, 1)",
    "model.dropout_levels": "[0, inf)",
    "model.blocks": "[0, inf)",
    "model.halvings": "[0, inf)",
    "method.discriminator_layers": "[1, inf)",
    "method.discriminator_channels": "[1, inf)",
    "method.discriminator_rate": "(0, inf)",
}
"""Of the networks, and of what both methods have."""
