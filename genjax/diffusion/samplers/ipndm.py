"""Improved pseudo numerical methods for diffusion models (iPNDM)."""

import jax.numpy as jnp
import numpy as np

from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.samplers.base import Sampler
from genjax.diffusion.samplers.coordinates import noise_estimate, noise_step
from genjax.diffusion.samplers.lms import History, check_order, empty_history, weighted_change
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array

EQUAL_STEPS = np.array([[24, 0, 0, 0], [36, -12, 0, 0], [46, -32, 10, 0], [55, -59, 37, -9]], np.float64) / 24
"""Adams-Bashforth weights for equal steps, order 1, 2, 3, 4: of the latest value, the one before it, ..."""


def equal_step_change(noise: Array, history: History) -> Array:
    """What the Adams-Bashforth method of as many values as there are, and as have room, adds to the noise.

    Args:
        noise: float[N, ...], the latest estimate.
        history: the estimates before it.

    Returns:
        float[N, ...].

    References:
        Hairer, Norsett and Wanner, "Solving Ordinary Differential Equations I" (1993), section III.1.
    """
    size = history.times.size
    weights = jnp.asarray(EQUAL_STEPS, history.times.dtype)[jnp.minimum(history.steps, size)]
    return weighted_change(weights[1 : size + 1], noise, history)


def ipndm(order: int = 4) -> Sampler:
    """DDIM steps along an extrapolated noise. Deterministic, one evaluation a step.

    The extrapolation has the weights of Adams and Bashforth for equal steps, of order 1, 2, 3 and from then on
    4. The convergence is of order 2 whatever `order` from 2 on: the weights belong to equal steps in the
    variable of integration, sigma / alpha, which those in t are not (`lms` has the right ones), and the first
    step is of order 1.

    Args:
        order: the highest order, 1 (`ddim`) to 4.

    Raises:
        UserError: if `order` is not one of these.

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, sample, samplers, schedules
        >>> keys, x_T, schedule = jax.random.key(0)[None], jax.numpy.ones((1, 1)), schedules.shifted_cosine()
        >>> denoise = lambda x_t, t: schedule.alpha(t) * x_t  # of data from N(0, 1), for which x_0 is x_T
        >>> for sampler in (samplers.ddim(), samplers.ipndm(1), samplers.ipndm(4)):
        ...     print(f"{sample(keys, x_T, grids.linspace(8), denoise, sampler, schedule).item():.3f}")
        0.856
        0.856
        0.987

    References:
        Zhang and Chen, "Fast Sampling of Diffusion Models with Exponential Integrator" (2023), where it
        is introduced; Liu et al., "Pseudo Numerical Methods for Diffusion Models on Manifolds" (2022).
    """
    size = check_order(order) - 1

    def step(
        keys: Array, history: History, x: Array, t: Array, s: Array, denoise: Denoiser, schedule: Schedule
    ) -> tuple[History, Array]:
        del keys
        x_0 = denoise(x, t)
        noise = noise_estimate(schedule, x, x_0, t)
        change = equal_step_change(noise, history)
        return history.push(noise, t), noise_step(schedule, x, x_0, change, t, s)

    return Sampler(lambda x_T, times: empty_history(x_T, times, size), step)
