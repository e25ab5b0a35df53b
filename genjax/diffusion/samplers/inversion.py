"""DDIM inversion: from data to the noise that `ddim` turns into it."""

import jax
import jax.numpy as jnp

from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.samplers.base import Sampler, half_log_snr, stateless
from genjax.diffusion.samplers.coordinates import noise_estimate
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array, UserError


def ddim_inversion(iterations: int = 0) -> Sampler:
    """Goes up in time, from t to s > t, to the x_s that a step of `ddim` with eta = 0 takes to x_t.

    Deterministic. The times of the grid rise, from 0 or above to at most 1; the same times reversed are those
    for `ddim`. It takes 1 + `iterations` evaluations a step, all at time s > 0.

    x_s = alpha(s) / alpha(t) (x_t - sigma(t) noise) + sigma(s) noise holds for the noise estimate at (x_s, s),
    which is what we look for. Without iterations the estimate at (x_t, s) stands for it: order 1, and `ddim`
    comes back to the start with an error that is of order 1 too. With them the equation is solved, and it comes
    back exactly.

    An iteration inserts the estimate x_0 at (x_s, s) into the equation, but lets it change with x_s as it would
    for data of unit variance, alpha(s) / (alpha(s)^2 + sigma(s)^2). So it converges linearly both where little
    changes but the noise, s near 0, and where x_0 hardly changes, s near 1; with denoisers of a large
    derivative it may not.

    Args:
        iterations: at least 0. How many it takes depends on the denoiser, and they are fewer for shorter steps.

    Raises:
        UserError: if `iterations` is negative.

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, sample, samplers, schedules
        >>> keys, x_0, times = jax.random.key(0)[None], jax.numpy.ones((1, 1)), grids.linspace(4)
        >>> run = lambda x, times, sampler: sample(keys, x, times, lambda x, t: 0.5 * x, sampler, schedules.vp())
        >>> for iterations in (0, 9):
        ...     x_T = run(x_0, times[::-1], samplers.ddim_inversion(iterations))
        ...     print(f"{run(x_T, times, samplers.ddim()).item():.3f}")
        0.726
        1.000

    References:
        Song et al., "Denoising Diffusion Implicit Models" (2021), section 4.3 and equation 13; Mokady et al.,
        "Null-text Inversion for Editing Real Images using Guided Diffusion Models" (2023), section 3.1; Pan et
        al., "Effective Real Image Editing with Accelerated Iterative Diffusion Inversion" (2023), for the fixed
        point.
    """
    if iterations < 0:
        raise UserError(f"iterations = {iterations} must be at least 0")

    def step(
        keys: Array, carry: tuple[()], x: Array, t: Array, s: Array, denoise: Denoiser, schedule: Schedule
    ) -> tuple[tuple[()], Array]:
        del keys
        alpha_t, sigma_t = schedule.alpha(t), schedule.sigma(t)
        alpha_s, sigma_s = schedule.alpha(s), schedule.sigma(s)
        noise = noise_estimate(schedule, x, denoise(x, s), s)
        x_s = (alpha_s / alpha_t * (x - sigma_t * noise) + sigma_s * noise).astype(x.dtype)

        # With u = sigma / alpha, the equation is u(t) x_s = sigma(s) / alpha(t) x_t - part sigma(s) x_0(x_s);
        # what is added on both sides is part slope x_s.
        part = -jnp.expm1(half_log_snr(schedule, s) - half_log_snr(schedule, t))
        slope = alpha_s * sigma_s / (alpha_s**2 + sigma_s**2)

        def iterate(_: Array, x_s: Array) -> Array:
            right = sigma_s / alpha_t * x - part * (sigma_s * denoise(x_s, s) - slope * x_s)
            return (right / (sigma_t / alpha_t + part * slope)).astype(x.dtype)

        return carry, jax.lax.fori_loop(0, iterations, iterate, x_s)

    return Sampler(stateless, step)
