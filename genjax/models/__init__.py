"""Networks, one architecture a file."""

from genjax.models.denoisers.unet import UNet
from genjax.models.vae.deep_vae import DeepVAE
from genjax.models.vae.vae import VAE

__all__ = ["VAE", "DeepVAE", "UNet"]
