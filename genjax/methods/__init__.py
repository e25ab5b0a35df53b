"""Training methods: each builds a `genjax.typing.Method` from networks and an optimizer."""

from genjax.methods.diffusion import diffusion
from genjax.methods.vae import vae

__all__ = ["diffusion", "vae"]
