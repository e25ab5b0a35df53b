"""Samplers, one a file. To add one: its file, and a line in each of the two places below.

Every sampler in `SAMPLERS` is held to tests/contracts/test_samplers.py.
"""

from collections.abc import Callable

from genjax.diffusion.samplers.base import Sampler, normal
from genjax.diffusion.samplers.ddim import ddim
from genjax.diffusion.samplers.ddpm import ddpm

SAMPLERS: dict[str, Callable[..., Sampler]] = {"ddim": ddim, "ddpm": ddpm}
"""Constructors of the samplers, by name; each can be called without arguments."""

__all__ = ["SAMPLERS", "Sampler", "ddim", "ddpm", "normal"]
