"""Coordinates in which the probability-flow ODE is simple, and the two steps that its solvers are made of.

With x_0 and noise the estimates at (x, t), so that x = alpha x_0 + sigma noise, the ODE reads

* d(x / alpha) / d(sigma / alpha) = noise, or, which is the same,
* d(x / (alpha + sigma)) / d(sigma / (alpha + sigma)) = noise - x_0.

A coordinate is the function ``c(alpha, sigma)`` that x is divided by; the other one is u = sigma / c. Euler's
method is the same in both: it keeps x_0 and noise, and only exchanges alpha(t), sigma(t) for alpha(s),
sigma(s), as DDIM does. What a better method adds to it depends on c.

References:
    Song et al., "Denoising Diffusion Implicit Models" (2021), equation 14; Karras et al., "Elucidating the
    Design Space of Diffusion-Based Generative Models" (2022), equation 4; Liu et al., "Flow Straight and Fast:
    Learning to Generate and Transfer Data with Rectified Flow" (2023).
"""

from collections.abc import Callable
from typing import TypeAlias

import jax.numpy as jnp

from genjax.diffusion.samplers.base import half_log_snr
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array

Coordinates: TypeAlias = Callable[[Array, Array], Array]
"""``(alpha, sigma) -> c``: the ODE is solved for x / c as a function of sigma / c."""

LARGEST_POSITION = 3e3
"""Where u = sigma / c is larger, in sigma / alpha a log-SNR below -16, a solver takes a step of first order.

u grows without bound as alpha goes to 0, to 2e4 for the cosine schedule, and multiplies every difference of
estimates, though x tells nothing of x_0 any more. Steps of a higher order from there can end far off.
"""


def sigma_over_alpha(alpha: Array, sigma: Array) -> Array:
    """x / alpha as a function of sigma / alpha, as EDM and k-diffusion have it; infinite at alpha = 0.

    Args:
        alpha: float[...].
        sigma: float[...], not used.

    Returns:
        float[...]: alpha.
    """
    del sigma
    return alpha


def flow(alpha: Array, sigma: Array) -> Array:
    """x / (alpha + sigma) as a function of sigma / (alpha + sigma), in [0, 1], as in rectified flow.

    Args:
        alpha: float[...].
        sigma: float[...].

    Returns:
        float[...]: alpha + sigma.
    """
    return alpha + sigma


def noise_estimate(schedule: Schedule, x: Array, x_0: Array, t: Array) -> Array:
    """The noise float[N, ...] in x at time t > 0, if x_0 is the clean data.

    Args:
        schedule: schedule of x.
        x: float[N, ...].
        x_0: float[N, ...].
        t: scalar.
    """
    return (x - schedule.alpha(t) * x_0) / schedule.sigma(t)


def ddim_step(schedule: Schedule, x: Array, x_0: Array, t: Array, s: Array) -> Array:
    """From t to s with x_0 and the noise kept: DDIM with eta = 0, Euler's method in any of the coordinates.

    Args:
        schedule: schedule of x.
        x: float[N, ...], at t.
        x_0: float[N, ...], the estimate there.
        t: scalar.
        s: scalar.

    Returns:
        float[N, ...], the state at s.
    """
    noise = noise_estimate(schedule, x, x_0, t)
    return (schedule.alpha(s) * x_0 + schedule.sigma(s) * noise).astype(x.dtype)


def noise_step(schedule: Schedule, x: Array, x_0: Array, change: Array, t: Array, s: Array) -> Array:
    """From t to s along the noise estimate plus `change`, in the coordinates sigma / alpha.

    It is alpha(s) (x / alpha(t) + (u(s) - u(t)) (noise + change)), u = sigma / alpha, written such that nothing
    is divided by alpha(t) where `change` is 0.

    Args:
        schedule: schedule of x.
        x: float[N, ...], at t.
        x_0: float[N, ...], the estimate there.
        change: float[N, ...], added to the noise estimate.
        t: scalar.
        s: scalar.

    Returns:
        float[N, ...], the state at s.
    """
    distance = schedule.sigma(s) - schedule.alpha(s) * jnp.exp(-half_log_snr(schedule, t))
    return (ddim_step(schedule, x, x_0, t, s) + distance * change).astype(x.dtype)
