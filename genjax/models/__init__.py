"""Networks, one architecture a file."""

from genjax.models.deep_vae import DeepVAE
from genjax.models.unet import UNet
from genjax.models.vae import VAE

__all__ = ["VAE", "DeepVAE", "UNet"]
