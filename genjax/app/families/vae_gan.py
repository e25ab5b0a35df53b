"""VAE-GAN: what can be configured beside the variational autoencoder, and how it is built."""

import dataclasses
from typing import TYPE_CHECKING

from genjax.app.families.adversaries import GAMES, Game, discriminator_optimizer
from genjax.app.families.family import optimizer
from genjax.app.families.vae import LIKELIHOODS, VAE, ConvConfig, MLPConfig, VAEConfig, network, settings
from genjax.data import DataInfo
from genjax.methods import vae_gan
from genjax.models.gan.discriminator import ImageDiscriminator
from genjax.typing import Method

if TYPE_CHECKING:
    from genjax.app.config import Config


@dataclasses.dataclass(frozen=True)
class VAEGANConfig(VAEConfig):
    """The training method: a variational autoencoder with a discriminator (genjax.methods.vae.vae_gan).

    Attributes:
        pixel: Weight of the distortion, -log p(x|z).
        weight: Weight of all that the discriminator has to do with; 0: the variational autoencoder.
        gamma: Weight of the discriminator's features against the game in the decoder's loss.
        game: What decoder and discriminator play for.
        reconstructions: Weight of reconstructions among the fake images.
        draws: Weight of images drawn from the prior among the fake images.
        discriminator_channels: Widths of the discriminator's convolutions, all but the first of them strided.
        discriminator_hidden: Width of its dense layer.
        discriminator_rate: Its learning rate, as a multiple of the other's.
    """

    pixel: float = 1.0
    weight: float = 1.0
    gamma: float = 1.0
    game: Game = "non_saturating"
    reconstructions: float = 0.5
    draws: float = 0.5
    discriminator_channels: tuple[int, ...] = (32, 128, 256)
    discriminator_hidden: int = 512
    discriminator_rate: float = 1.0


def method(config: "Config", info: DataInfo, scoring: bool = False) -> Method:
    """The training method, with its networks and optimizers."""
    options: VAEGANConfig = config.method
    return vae_gan(
        network(config, info),
        ImageDiscriminator(options.discriminator_channels, options.discriminator_hidden),
        optimizer(config.optimizer, config.fit.steps),
        discriminator_optimizer(config.optimizer, config.fit.steps, options.discriminator_rate),
        LIKELIHOODS[options.likelihood](options),
        pixel=options.pixel,
        weight=options.weight,
        gamma=options.gamma,
        game=GAMES[options.game](),
        fakes=(options.reconstructions, options.draws),
        **settings(config, info, scoring),
    )


RANGES = {
    **VAE.ranges,
    "method.pixel": "[0, inf)",
    "method.weight": "[0, inf)",
    "method.gamma": "[0, inf)",
    "method.reconstructions": "[0, inf)",
    "method.draws": "[0, inf)",
    "method.discriminator_channels": "[1, inf)",
    "method.discriminator_hidden": "[1, inf)",
    "method.discriminator_rate": "(0, inf)",
}


def contradictions(config: "Config") -> list[tuple[bool, str]]:
    """Fields that do not go together: whether they do not, and what to say then."""
    options: VAEGANConfig = config.method
    return [
        *VAE.contradictions(config),
        (
            not options.weight and options.pixel != 1,
            f"method.pixel={options.pixel}: with method.weight=0 valid is 1",
        ),
        (not options.discriminator_channels, "method.discriminator_channels=(): at least one is needed"),
    ]


VAE_GAN = VAE._replace(
    models=(MLPConfig, ConvConfig), method=method, ranges=RANGES, contradictions=contradictions
)
