"""Training methods: each builds a `genjax.typing.Method` from networks and an optimizer."""

from genjax.methods.codes.code_prior import code_prior
from genjax.methods.codes.two_stages import two_stages
from genjax.methods.codes.vq_gan import vq_gan
from genjax.methods.codes.vq_vae import vq_vae
from genjax.methods.diffusion.diffusion import diffusion
from genjax.methods.gan.cycle_gan import cycle_gan
from genjax.methods.gan.gan import gan
from genjax.methods.gan.pix2pix import pix2pix
from genjax.methods.vae.autoencoder import autoencoder
from genjax.methods.vae.vae import vae
from genjax.methods.vae.vae_gan import vae_gan

__all__ = [
    "autoencoder",
    "code_prior",
    "cycle_gan",
    "diffusion",
    "gan",
    "pix2pix",
    "two_stages",
    "vae",
    "vae_gan",
    "vq_gan",
    "vq_vae",
]
