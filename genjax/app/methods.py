"""The training methods, by name: every import below is one. To add a method: its file, and one line here.

A method has its name in ``config.json`` and on the command line (``--method NAME``); see `genjax.methods.kind`.
"""

from genjax.methods.codes.vq_gan import METHOD as vq_gan
from genjax.methods.codes.vq_vae import METHOD as vq_vae
from genjax.methods.diffusion.diffusion import METHOD as diffusion
from genjax.methods.gan.cycle_gan import METHOD as cycle_gan
from genjax.methods.gan.gan_kind import METHOD as gan
from genjax.methods.gan.pix2pix import METHOD as pix2pix
from genjax.methods.kind import MethodKind
from genjax.methods.vae.autoencoder import METHOD as autoencoder
from genjax.methods.vae.vae import METHOD as vae
from genjax.methods.vae.vae_gan import METHOD as vae_gan

METHODS: dict[str, MethodKind] = {
    name: kind for name, kind in list(globals().items()) if isinstance(kind, MethodKind)
}
