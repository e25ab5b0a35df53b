"""Ancestral sampling (DDPM)."""

from collections.abc import Callable

import jax.numpy as jnp
from jax.typing import ArrayLike

from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.process import expand, noise_added, posterior
from genjax.diffusion.samplers.base import Sampler, normal, stateless
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array


def ddpm(variance: ArrayLike | Callable[[Array, Array], Array] = 0.0) -> Sampler:
    """Draws x_s from the posterior q(x_s | x_t, x_0) at the estimated x_0, for any pair s < t.

    Args:
        variance: where the variance of a step lies between its two bounds, on a logarithmic scale. 0 is the posterior's
            own variance ("fixed small", beta tilde, exact if the data is a single point), 1 the variance of the forward
            step ("fixed large", beta, exact if the data is standard normal). A scalar, one for each example, an array
            that broadcasts against x, or, for a learned variance, a function ``(x_t, t) -> array``: where it calls the
            network as `denoise` does, the compiler merges the two calls. The last step, to s = 0, adds no noise
            whatever the variance.

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, sample, samplers, schedules
        >>> keys, schedule = jax.random.split(jax.random.key(0), 2000), schedules.shifted_cosine()
        >>> denoise, x_T = lambda x_t, t: schedule.alpha(t) * x_t, samplers.normal(keys, (4,))  # data from N(0, 1)
        >>> for sampler in (samplers.ddpm(variance=0.0), samplers.ddpm(variance=1.0)):
        ...     print(f"{sample(keys, x_T, grids.linspace(10), denoise, sampler, schedule).std():.2f}")
        0.83
        0.99

    References:
        Ho et al., "Denoising Diffusion Probabilistic Models" (2020), algorithm 2 and section 3.2;
        Nichol and Dhariwal, "Improved Denoising Diffusion Probabilistic Models" (2021), equation 15.
    """

    def step(
        keys: Array, carry: tuple[()], x: Array, t: Array, s: Array, denoise: Denoiser, schedule: Schedule
    ) -> tuple[tuple[()], Array]:
        mean, _ = posterior(schedule, x, denoise(x, t), t, s)
        between = expand(variance(x, t) if callable(variance) else variance, x)
        sigma_s, sigma_t = schedule.sigma(s), schedule.sigma(t)
        # sigma_s as a factor makes it 0 at s = 0; there the ratio must be finite, since 0 * inf is NaN.
        ratio = sigma_t / jnp.where(sigma_s > 0, sigma_s, sigma_t)
        std = jnp.sqrt(noise_added(schedule, t, s)) * sigma_s * ratio**between
        return carry, mean + std * normal(keys, x.shape[1:], x.dtype)

    return Sampler(stateless, step)
