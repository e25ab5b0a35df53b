"""Denoising diffusion implicit models (DDIM)."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.process import expand, noise_added
from genjax.diffusion.samplers.base import Sampler, check_range, normal, stateless
from genjax.diffusion.samplers.coordinates import noise_estimate
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array


def ddim(eta: ArrayLike = 0.0) -> Sampler:
    """Keeps a part of the estimated noise and replaces the rest by new noise. Order 1.

    Args:
        eta: from 0, deterministic: the exponential Euler method of the probability-flow ODE, to 1: DDPM with
            its small variance. A scalar, or one for each example; it may be traced.

    Raises:
        UserError: if a concrete `eta` is outside [0, 1].

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, sample, samplers, schedules
        >>> keys, x_T = jax.random.split(jax.random.key(0), 2), jax.numpy.ones((2, 1))
        >>> for sampler in (samplers.ddim(eta=0.0), samplers.ddim(eta=1.0)):
        ...     a, b = sample(keys, x_T, grids.linspace(9), lambda x, t: 0.5 * x, sampler, schedules.vp())
        ...     print(bool(a == b))  # whether the keys make no difference
        True
        False

    References:
        Song et al., "Denoising Diffusion Implicit Models" (2021), equations 12 and 16.
    """
    check_range("eta", eta, 0, 1)

    def step(
        keys: Array, carry: tuple[()], x: Array, t: Array, s: Array, denoise: Denoiser, schedule: Schedule
    ) -> tuple[tuple[()], Array]:
        x_0 = denoise(x, t)
        noise = noise_estimate(schedule, x, x_0, t)
        new = jnp.asarray(eta) * jnp.sqrt(noise_added(schedule, t, s))
        # At s = 0 and eta = 1 nothing is kept; the floor is there because sqrt has no derivative at 0.
        kept = jnp.sqrt(jnp.maximum(1 - new**2, jnp.finfo(x.dtype).tiny))
        mixed = expand(kept, x) * noise + expand(new, x) * normal(keys, x.shape[1:], x.dtype)
        return carry, schedule.alpha(s) * x_0 + schedule.sigma(s) * mixed

    return Sampler(stateless, step)
