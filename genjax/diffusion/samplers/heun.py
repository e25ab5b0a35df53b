"""Heun's method (EDM)."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.samplers.base import Sampler
from genjax.diffusion.samplers.coordinates import LARGEST_POSITION, Coordinates, ddim_step, sigma_over_alpha
from genjax.diffusion.samplers.euler import Churn
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array


def heun(
    churn: ArrayLike = 0.0,
    churn_min: ArrayLike = 0.0,
    churn_max: ArrayLike = np.inf,
    churn_noise: ArrayLike = 1.0,
    coordinates: Coordinates = sigma_over_alpha,
) -> Sampler:
    """Heun's method: the mean of the slopes before and after Euler's step. Stochastic if `churn` is above 0.

    Order 2, two evaluations a step. One evaluation, and order 1, in the step to s = 0, and in the coordinates
    sigma / alpha also in a step from alpha(t) = 0.

    Args:
        churn: see `euler`; a scalar, as the three that follow.
        churn_min: see `euler`.
        churn_max: see `euler`.
        churn_noise: see `euler`.
        coordinates: those in which the ODE is solved: `sigma_over_alpha`, as in the paper and in k-diffusion,
            or `flow`, Heun's method of rectified flow, which is second order from alpha(t) = 0 too.

    Example:
        >>> import jax
        >>> from genjax.diffusion import sample, samplers, schedules
        >>> keys, x_T, times = jax.random.key(0)[None], jax.numpy.ones((1, 1)), jax.numpy.array([1.0, 0.5])
        >>> denoise = lambda x_t, t: (1 - t) * x_t / ((1 - t) ** 2 + t**2)  # of data from N(0, 1): 0.707 is exact
        >>> for sampler in (samplers.heun(), samplers.heun(coordinates=samplers.coordinates.flow)):
        ...     print(f"{sample(keys, x_T, times, denoise, sampler, schedules.flow()).item():.3f}")
        0.500
        0.750

    References:
        Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2022), algorithm 2.
    """
    stir = Churn(churn, churn_min, churn_max, churn_noise)

    def step(
        keys: Array, gamma: Array, x: Array, t: Array, s: Array, denoise: Denoiser, schedule: Schedule
    ) -> tuple[Array, Array]:
        x, t = stir.add(keys, gamma, x, t, schedule)
        x_0 = denoise(x, t)
        x_s = ddim_step(schedule, x, x_0, t, s)

        sigma_t, sigma_s = schedule.sigma(t), schedule.sigma(s)
        c_t, c_s = coordinates(schedule.alpha(t), sigma_t), coordinates(schedule.alpha(s), sigma_s)
        is_second_order = (sigma_s > 0) & (sigma_t < LARGEST_POSITION * c_t)
        end = jnp.where(is_second_order, s, t)  # not 0: there the prediction may be undefined
        again = jax.lax.cond(is_second_order, lambda: denoise(x_s, end), lambda: x_0)
        # x_s has the noise of x. So in either coordinates the slopes, at s and at t, differ by (x_0 - again) /
        # u(s), without the rounding errors of two noise estimates; half of it times the distance u(s) - u(t) is
        # missing.
        u_ratio = sigma_t * c_s / jnp.where(is_second_order, c_t * sigma_s, 1)
        missing = jnp.where(is_second_order, 0.5 * c_s * (u_ratio - 1), 0)
        return gamma, (x_s + missing * (again - x_0)).astype(x.dtype)

    return Sampler(stir.init, step)
