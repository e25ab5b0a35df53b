"""Sampling of trajectory consistency distillation."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.process import noise_added
from genjax.diffusion.samplers.base import Sampler, check_range, normal, stateless
from genjax.diffusion.samplers.coordinates import ddim_step
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array


def tcd(gamma: ArrayLike = 0.3, num_train_steps: int | None = None) -> Sampler:
    """A DDIM step down to the time (1 - gamma) s, then new noise up to s. Stochastic.

    One evaluation a step. For networks that were distilled to make such jumps along the trajectory of the ODE. With a
    denoiser the samples vary too little, however many steps there are: the jump does not get shorter.

    Args:
        gamma: from 0, `ddim`, to 1, the estimate of x_0 with new noise, as `consistency`. A scalar; it may be traced.
        num_train_steps: T of a discrete schedule: steps are counted from 0 and rounded down, as in the paper, so that
            the lowest time is 1 / T, also for gamma = 1. Without it time is continuous.

    Raises:
        UserError: if a concrete `gamma` is outside [0, 1].

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, sample, samplers, schedules
        >>> keys, x_T, schedule = jax.random.split(jax.random.key(0), 2), jax.numpy.ones((2, 3)), schedules.vp()
        >>> run = lambda sampler: sample(keys, x_T, grids.linspace(6), lambda x, t: 0.5 * x, sampler, schedule)
        >>> difference = run(samplers.tcd(gamma=0.0)) - run(samplers.ddim())
        >>> bool(abs(difference).max() < 1e-5)
        True

    References:
        Zheng et al., "Trajectory Consistency Distillation" (2024), algorithm 4 (strategic stochastic sampling).
    """
    check_range("gamma", gamma, 0, 1)

    def lower(s: Array) -> Array:
        if num_train_steps is None:
            return jnp.asarray(1 - gamma) * s
        step = jnp.round(s * num_train_steps) - 1
        low = (jnp.floor(jnp.asarray(1 - gamma) * step) + 1) / num_train_steps
        return jnp.where(s > 0, low, 0).astype(s.dtype)

    def step(
        keys: Array, carry: tuple[()], x: Array, t: Array, s: Array, denoise: Denoiser, schedule: Schedule
    ) -> tuple[tuple[()], Array]:
        low = lower(s)
        x_low = ddim_step(schedule, x, denoise(x, t), t, low)
        # From there to s: alpha(s) / alpha(low) x and as much noise as was added between. sqrt has no derivative at 0.
        is_up = low < s
        added = noise_added(schedule, jnp.where(is_up, s, t), jnp.where(is_up, low, 0))
        std = jnp.where(is_up, schedule.sigma(s) * jnp.sqrt(added), 0)
        ratio = jnp.where(is_up, schedule.alpha(s) / schedule.alpha(low), 1)
        return carry, (ratio * x_low + std * normal(keys, x.shape[1:], x.dtype)).astype(x.dtype)

    return Sampler(stateless, step)
