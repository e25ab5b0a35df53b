"""The networks, by name: every import below is one. To add a network: its file, and one line here.

A network has its name in ``config.json`` and on the command line (``--model NAME``); see `genjax.models.kind`.
"""

from genjax.models.codes.vq_vae import NETWORK as codes
from genjax.models.denoisers.unet import NETWORK as unet
from genjax.models.gan.biggan import NETWORK as biggan
from genjax.models.gan.dcgan import NETWORK as dcgan
from genjax.models.gan.mlp import NETWORK as mlp_gan
from genjax.models.gan.r3gan import NETWORK as r3gan
from genjax.models.gan.residual import NETWORK as residual_gan
from genjax.models.gan.residual_translator import NETWORK as residual_translator
from genjax.models.gan.translation_unet import NETWORK as translation_unet
from genjax.models.kind import NetworkKind
from genjax.models.vae.conv import NETWORK as conv
from genjax.models.vae.deep_vae import NETWORK as deep_vae
from genjax.models.vae.mlp import NETWORK as mlp

NETWORKS: dict[str, NetworkKind] = {
    name: kind for name, kind in list(globals().items()) if isinstance(kind, NetworkKind)
}
