"""Training methods: each builds a `genjax.typing.Method` from networks and an optimizer."""

from genjax.methods.autoencoder import autoencoder
from genjax.methods.code_prior import code_prior
from genjax.methods.cycle_gan import cycle_gan
from genjax.methods.diffusion import diffusion
from genjax.methods.gan import gan
from genjax.methods.pix2pix import pix2pix
from genjax.methods.relay import relay
from genjax.methods.vae import vae
from genjax.methods.vae_gan import vae_gan
from genjax.methods.vq_gan import vq_gan
from genjax.methods.vq_vae import vq_vae

__all__ = [
    "autoencoder",
    "code_prior",
    "cycle_gan",
    "diffusion",
    "gan",
    "pix2pix",
    "relay",
    "vae",
    "vae_gan",
    "vq_gan",
    "vq_vae",
]
