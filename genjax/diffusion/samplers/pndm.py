"""Pseudo numerical methods for diffusion models (PNDM)."""

import jax
import jax.numpy as jnp
import numpy as np

from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.samplers.base import Sampler, half_log_snr
from genjax.diffusion.samplers.coordinates import LARGEST_POSITION, noise_estimate, noise_step
from genjax.diffusion.samplers.ipndm import equal_step_change
from genjax.diffusion.samplers.lms import HIGHEST_ORDER, History, empty_history
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array


def pndm(skip_runge_kutta: bool = False) -> Sampler:
    """DDIM steps along the noise that a classical method combines from several estimates. Deterministic.

    The first three steps are "pseudo Runge-Kutta" of four evaluations each, at t, twice half-way to s, and at
    s; from then on "pseudo linear multistep" (`ipndm` with order 4), of one evaluation. The order of
    convergence is 2, for the reasons given at `ipndm`.

    A step that cannot be of the Runge-Kutta kind, because it ends at s = 0 or starts from alpha(t) = 0, is of
    the multistep kind with as many estimates as there are.

    Args:
        skip_runge_kutta: as for Stable Diffusion (PLMS): only the first step evaluates a second time, at s, and
            takes the mean of both; then multistep of order 2, 3 and from then on 4.

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, sample, samplers, schedules
        >>> keys, x_T, schedule = jax.random.key(0)[None], jax.numpy.ones((1, 1)), schedules.shifted_cosine()
        >>> denoise = lambda x_t, t: schedule.alpha(t) * x_t  # of data from N(0, 1), for which x_0 is x_T
        >>> for sampler in (samplers.pndm(), samplers.pndm(skip_runge_kutta=True)):
        ...     print(f"{sample(keys, x_T, grids.linspace(8), denoise, sampler, schedule).item():.3f}")
        0.996
        0.987

    References:
        Liu et al., "Pseudo Numerical Methods for Diffusion Models on Manifolds" (2022), algorithm 2; Rombach et
        al., "High-Resolution Image Synthesis with Latent Diffusion Models" (2022), reference code, for the
        start without Runge-Kutta.
    """
    num_starting = 1 if skip_runge_kutta else HIGHEST_ORDER - 1

    def step(
        keys: Array, history: History, x: Array, t: Array, s: Array, denoise: Denoiser, schedule: Schedule
    ) -> tuple[History, Array]:
        del keys
        x_0 = denoise(x, t)
        noise = noise_estimate(schedule, x, x_0, t)

        may_start = (schedule.sigma(s) > 0) & (half_log_snr(schedule, t) > -np.log(LARGEST_POSITION))
        is_starting = (history.steps < num_starting) & may_start
        end = jnp.where(is_starting, s, t)  # not 0: there the prediction may be undefined

        def noise_at(r: Array, change: Array) -> Array:
            """The estimate at r, where the step along noise + change leads."""
            x_r = noise_step(schedule, x, x_0, change, t, r)
            return noise_estimate(schedule, x_r, denoise(x_r, r), r)

        def heun() -> Array:
            return 0.5 * (noise_at(end, jnp.zeros_like(noise)) - noise)

        def runge_kutta() -> Array:
            middle = 0.5 * (t + end)
            second = noise_at(middle, jnp.zeros_like(noise)) - noise
            third = noise_at(middle, second) - noise
            fourth = noise_at(end, third) - noise
            return (2 * second + 2 * third + fourth) / 6

        change = jax.lax.cond(
            is_starting,
            heun if skip_runge_kutta else runge_kutta,
            lambda: equal_step_change(noise, history),
        )
        return history.push(noise, t), noise_step(schedule, x, x_0, change, t, s)

    return Sampler(lambda x_T, times: empty_history(x_T, times, HIGHEST_ORDER - 1), step)
