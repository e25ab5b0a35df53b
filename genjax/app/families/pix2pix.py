"""pix2pix: what can be configured, and how it is built."""

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from genjax.app.families.adversaries import GAMES, Game, discriminator_optimizer
from genjax.app.families.family import Family, optimizer
from genjax.app.families.translation import RANGES, TranslationUNetConfig, translator
from genjax.data import DataInfo
from genjax.methods import pix2pix
from genjax.models.gan.discriminator import PatchDiscriminator
from genjax.typing import Method

if TYPE_CHECKING:
    from genjax.app.config import Config


@dataclasses.dataclass(frozen=True)
class Pix2PixConfig:
    """The training method: translation learned from pairs (genjax.methods.gan.pix2pix).

    Attributes:
        l1_weight: Weight of the mean absolute difference, beside the game.
        game: What generator and discriminator play for.
        discriminator_layers: Strided convolutions of the patch discriminator; 3 see patches of 70 pixels.
        discriminator_channels: Width of the first.
        discriminator_rate: Its learning rate, as a multiple of the other's.
        ema_decay: Decay of the moving average of the generator, with which images are made.
    """

    class_conditional: ClassVar[bool] = False
    l1_weight: float = 100.0
    game: Game = "non_saturating"
    discriminator_layers: int = 3
    discriminator_channels: int = 64
    discriminator_rate: float = 1.0
    ema_decay: float = 0.999


def method(config: "Config", info: DataInfo, scoring: bool = False) -> Method:
    """The training method, with its networks and optimizers."""
    options: Pix2PixConfig = config.method
    steps = config.fit.steps
    return pix2pix(
        translator(config, info.image_shape[-1]),
        PatchDiscriminator(options.discriminator_layers, options.discriminator_channels),
        optimizer(config.optimizer, steps),
        discriminator_optimizer(config.optimizer, steps, options.discriminator_rate),
        image_shape=info.image_shape,
        source_shape=info.source_shape or info.image_shape,
        l1_weight=options.l1_weight,
        game=GAMES[options.game](),
        ema_decay=options.ema_decay,
        accumulate=config.optimizer.accumulate,
    )


def contradictions(config: "Config") -> list[tuple[bool, str]]:
    """Fields that do not go together: whether they do not, and what to say then."""
    return [
        (
            config.data.pairing != "paired",
            f"data.pairing={config.data.pairing!r}: Pix2PixConfig needs 'paired' images",
        )
    ]


PIX2PIX = Family(
    models=(TranslationUNetConfig,),
    method=method,
    ranges={**RANGES, "method.l1_weight": "[0, inf)"},
    contradictions=contradictions,
    sampling=(),
    translates=("source",),
)
