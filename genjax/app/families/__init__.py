"""The families of models that can be trained by name. A new one is a module here and a line in `FAMILIES`."""

from typing import TYPE_CHECKING

from genjax.app.families.autoencoder import AUTOENCODER, AutoencoderConfig
from genjax.app.families.codes import CODES, VQVAEConfig
from genjax.app.families.cycle_gan import CYCLE_GAN, CycleGANConfig
from genjax.app.families.diffusion import DIFFUSION, DiffusionConfig
from genjax.app.families.family import Family, num_classes
from genjax.app.families.gan import GAN, GANConfig
from genjax.app.families.pix2pix import PIX2PIX, Pix2PixConfig
from genjax.app.families.vae import VAE, VAEConfig
from genjax.app.families.vae_gan import VAE_GAN, VAEGANConfig
from genjax.app.families.vq_gan import VQ_GAN, VQGANConfig

if TYPE_CHECKING:
    from genjax.app.config import Config

__all__ = ["FAMILIES", "Family", "num_classes", "of"]

FAMILIES: dict[type, Family] = {
    AutoencoderConfig: AUTOENCODER,
    CycleGANConfig: CYCLE_GAN,
    DiffusionConfig: DIFFUSION,
    GANConfig: GAN,
    Pix2PixConfig: PIX2PIX,
    VAEConfig: VAE,
    VAEGANConfig: VAE_GAN,
    VQGANConfig: VQ_GAN,
    VQVAEConfig: CODES,
}
"""By the config class of the method."""


def of(config: "Config") -> Family:
    """The family of a config's method."""
    return FAMILIES[type(config.method)]
