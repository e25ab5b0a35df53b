"""VQGAN with a prior over its codes: what can be configured beside the VQ-VAE, and how it is built."""

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from genjax.app.families import codes
from genjax.app.families.adversaries import GAMES, Game, discriminator_optimizer
from genjax.app.families.codes import CODES, VQVAEConfig
from genjax.app.families.family import optimizer
from genjax.data import DataInfo
from genjax.losses.perceptual import Distance, perceptual
from genjax.methods import vq_gan
from genjax.metrics.digits_classifier import load_feature_maps
from genjax.models.gan.discriminator import PatchDiscriminator
from genjax.typing import Method, UserError

if TYPE_CHECKING:
    from genjax.app.config import Config


@dataclasses.dataclass(frozen=True)
class VQGANConfig(VQVAEConfig):
    """The training methods: VQGAN, then a prior over its codes (genjax.methods.codes.vq_gan, code_prior, two_stages).

    Attributes:
        features: Whose features the perceptual distance is between; the bundled classifier knows digits only.
        perceptual_weight: Weight of that distance.
        game: What network and discriminator play for.
        adversarial_weight: Weight of the game, beside the adaptive one; 0: without a game.
        max_weight: Largest adaptive weight.
        game_start: Updates before the game begins.
        discriminator_layers: Strided convolutions of the patch discriminator.
        discriminator_channels: Width of the first.
        discriminator_rate: Its learning rate, as a multiple of the other's.
    """

    features: Literal["none", "digits_classifier"] = "digits_classifier"
    perceptual_weight: float = 1.0
    game: Game = "hinge"
    adversarial_weight: float = 1.0
    max_weight: float = 1e4
    game_start: int = 500
    discriminator_layers: int = 2
    discriminator_channels: int = 32
    discriminator_rate: float = 1.0


DISTANCES: dict[str, Callable[[], Distance | None]] = {
    "none": lambda: None,
    "digits_classifier": lambda: perceptual(load_feature_maps()),
}


def first_stage(config: "Config", info: DataInfo) -> Method:
    """The autoencoder and its discriminator."""
    options: VQGANConfig = config.method
    return vq_gan(
        codes.network(config, info),
        PatchDiscriminator(options.discriminator_layers, options.discriminator_channels),
        optimizer(config.optimizer, options.first_steps),
        discriminator_optimizer(config.optimizer, options.first_steps, options.discriminator_rate),
        image_shape=info.image_shape,
        perceptual=DISTANCES[options.features](),
        perceptual_weight=options.perceptual_weight,
        game=GAMES[options.game](),
        adversarial_weight=options.adversarial_weight,
        max_weight=options.max_weight,
        start=options.game_start,
        commitment=options.commitment,
        ema_decay=options.ema_decay,
        accumulate=config.optimizer.accumulate,
    )


def check_images(config: "Config", image_shape: tuple[int, int, int]) -> None:
    """Raises UserError where the classifier does not know such images."""
    if config.method.features == "digits_classifier" and image_shape[-1] != 1:
        raise UserError(
            "method.features='digits_classifier' compares grayscale images, and these have "
            f"{image_shape[-1]} channels; valid is 'none'"
        )


RANGES = {
    **CODES.ranges,
    "method.perceptual_weight": "[0, inf)",
    "method.adversarial_weight": "[0, inf)",
    "method.max_weight": "[0, inf)",
    "method.game_start": "[0, inf)",
    "method.discriminator_layers": "[1, inf)",
    "method.discriminator_channels": "[1, inf)",
    "method.discriminator_rate": "(0, inf)",
}

VQ_GAN = CODES._replace(
    method=functools.partial(codes.method, first_stage=first_stage), ranges=RANGES, check_images=check_images
)
