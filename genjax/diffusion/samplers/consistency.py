"""Sampling from consistency models, whose predictions are `consistency_edm` and `lcm_boundary`."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.samplers.base import Sampler, needs, normal, stateless
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array


@needs("consistency")
def consistency(sigma_min: ArrayLike = 0.0) -> Sampler:
    """Multistep consistency sampling: the estimate of x_0, with new noise up to s. Stochastic.

    One evaluation a step. For denoisers that jump to the end of the ODE's trajectory (consistency and latent
    consistency models) rather than to the mean of x_0 given x_t. With such a one, every step is exact; with the
    mean, the samples vary too little, however many steps there are.

    Args:
        sigma_min: the noise, as sigma / alpha, that the estimates of the model still have: new noise makes up
            the difference to sigma(s). 0 for latent consistency models; epsilon of the paper, the `sigma_min`
            of `prediction.consistency_edm`, for consistency models. A scalar; it may be traced.

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, sample, samplers, schedules
        >>> keys, schedule = jax.random.split(jax.random.key(0), 2000), schedules.shifted_cosine()
        >>> x_T = samplers.normal(keys, (4,))
        >>> for model in (lambda x, t: x, lambda x, t: schedule.alpha(t) * x):  # of N(0, 1): the jump, and the mean
        ...     print(f"{sample(keys, x_T, grids.linspace(4), model, samplers.consistency(), schedule).std():.2f}")
        1.00
        0.58

    References:
        Song et al., "Consistency Models" (2023), algorithm 1; Luo et al., "Latent Consistency Models:
        Synthesizing High-Resolution Images with Few-Step Inference" (2023), algorithm 3.
    """

    def step(
        keys: Array, carry: tuple[()], x: Array, t: Array, s: Array, denoise: Denoiser, schedule: Schedule
    ) -> tuple[tuple[()], Array]:
        alpha, sigma = schedule.alpha(s), schedule.sigma(s)
        left = alpha * sigma_min / jnp.where(sigma > 0, sigma, 1)
        is_above = left < 1  # sqrt has no derivative at 0
        std = jnp.where(is_above, sigma * jnp.sqrt(jnp.where(is_above, 1 - left**2, 1)), 0)
        return carry, (alpha * denoise(x, t) + std * normal(keys, x.shape[1:], x.dtype)).astype(x.dtype)

    return Sampler(stateless, step)
