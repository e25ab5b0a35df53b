"""CycleGAN: what can be configured, and how it is built."""

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from genjax.app.families.adversaries import GAMES, Game, discriminator_optimizer
from genjax.app.families.family import Family, optimizer
from genjax.app.families.translation import (
    RANGES,
    ResidualTranslatorConfig,
    TranslationUNetConfig,
    translator,
)
from genjax.data import DataInfo
from genjax.methods import cycle_gan
from genjax.models.gan.discriminator import PatchDiscriminator
from genjax.typing import Method

if TYPE_CHECKING:
    from genjax.app.config import Config


@dataclasses.dataclass(frozen=True)
class CycleGANConfig:
    """The training method: translation between two domains, learned without pairs (genjax.methods.gan.cycle_gan).

    Attributes:
        cycle: Weight of the mean absolute difference there and back.
        identity: Weight, beside that, of what a generator changes in images of its own domain.
        adversarial_weight: Weight of the game; 2 with "least_squares" is the paper's.
        game: What generators and discriminators play for.
        pool: Translations of each domain that are kept for the discriminators.
        discriminator_layers: Strided convolutions of the patch discriminators; 3 see patches of 70 pixels.
        discriminator_channels: Width of the first.
        discriminator_rate: Their learning rate, as a multiple of the others'.
        ema_decay: Decay of the moving average of the generators, with which images are made.
    """

    class_conditional: ClassVar[bool] = False
    cycle: float = 10.0
    identity: float = 0.5
    adversarial_weight: float = 2.0
    game: Game = "least_squares"
    pool: int = 50
    discriminator_layers: int = 3
    discriminator_channels: int = 64
    discriminator_rate: float = 1.0
    ema_decay: float = 0.999


def method(config: "Config", info: DataInfo, scoring: bool = False) -> Method:
    """The training method, with its networks and optimizers."""
    options: CycleGANConfig = config.method
    steps, source_shape = config.fit.steps, info.source_shape or info.image_shape
    return cycle_gan(
        translator(config, info.image_shape[-1]),
        translator(config, source_shape[-1]),
        PatchDiscriminator(options.discriminator_layers, options.discriminator_channels),
        optimizer(config.optimizer, steps),
        discriminator_optimizer(config.optimizer, steps, options.discriminator_rate),
        image_shape=info.image_shape,
        source_shape=source_shape,
        cycle=options.cycle,
        identity=options.identity,
        adversarial_weight=options.adversarial_weight,
        game=GAMES[options.game](),
        pool=options.pool,
        ema_decay=options.ema_decay,
        accumulate=config.optimizer.accumulate,
    )


CYCLE_GAN = Family(
    models=(ResidualTranslatorConfig, TranslationUNetConfig),
    method=method,
    ranges={
        **RANGES,
        "method.cycle": "[0, inf)",
        "method.identity": "[0, inf)",
        "method.adversarial_weight": "[0, inf)",
        "method.pool": "[0, inf)",
    },
    contradictions=lambda config: [],
    sampling=(),
    translates=("source", "image"),
)
