"""Training methods: each builds a `genjax.typing.Method` from networks and an optimizer."""

from genjax.methods.diffusion import diffusion

__all__ = ["diffusion"]
