"""DPM2 of k-diffusion: the midpoint method in the logarithm of the noise level, and its ancestral variant."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.process import noise_added
from genjax.diffusion.samplers.base import Sampler, check_range, half_log_snr, normal, stateless
from genjax.diffusion.samplers.coordinates import LARGEST_POSITION, noise_estimate
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array


def dpm2() -> Sampler:
    """The midpoint method in u = sigma / alpha, the midpoint being sqrt(u(t) u(s)). Deterministic.

    It is DPM-Solver-2 with its stage in the middle. Order 2, two evaluations a step; one evaluation, and order
    1, in the step to s = 0 and in a step from alpha(t) = 0.

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, sample, samplers, schedules
        >>> keys, x_T, schedule = jax.random.key(0)[None], jax.numpy.full((1, 1), 80.0), schedules.edm()
        >>> denoise = lambda x_t, t: x_t / (1 + schedule.sigma(t) ** 2)  # of data from N(0, 1): x_0 = 1
        >>> for num_steps in (10, 20):
        ...     x_0 = sample(keys, x_T, grids.karras(num_steps, schedule), denoise, samplers.dpm2(), schedule)
        ...     print(f"{x_0.item():.3f}")
        1.099
        1.020

    References:
        k-diffusion (Crowson, 2022), `sample_dpm_2`; Lu et al., "DPM-Solver: A Fast ODE Solver for Diffusion
        Probabilistic Model Sampling" (2022), algorithm 1.
    """
    return dpm2_ancestral(0.0)


def dpm2_ancestral(eta: ArrayLike = 1.0) -> Sampler:
    """`dpm2` to a noise level below the level of s, then new noise up to s. Stochastic, two evaluations a step.

    The levels are the same as in `euler_ancestral`. The distribution of the samples has order 2: an exact solution of
    the ODE from x_t has the distribution of the lower level, and with the noise the distribution of the level of s, for
    every eta.

    Args:
        eta: from 0, `dpm2`, to 1, as much noise as the posterior of DDPM. A scalar; it may be traced.

    Raises:
        UserError: if a concrete `eta` is outside [0, 1].

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, sample, samplers, schedules
        >>> keys, x_T, schedule = jax.random.split(jax.random.key(0), 2), jax.numpy.ones((2, 3)), schedules.vp()
        >>> run = lambda sampler: sample(keys, x_T, grids.linspace(6), lambda x, t: 0.5 * x, sampler, schedule)
        >>> difference = run(samplers.dpm2_ancestral(eta=0.0)) - run(samplers.dpm2())
        >>> bool(abs(difference).max() < 1e-5)
        True

    References:
        k-diffusion (Crowson, 2022), `sample_dpm_2_ancestral`.
    """
    check_range("eta", eta, 0, 1)
    is_deterministic = isinstance(eta, int | float) and eta == 0

    def step(
        keys: Array, carry: tuple[()], x: Array, t: Array, s: Array, denoise: Denoiser, schedule: Schedule
    ) -> tuple[tuple[()], Array]:
        x_0 = denoise(x, t)
        noise = noise_estimate(schedule, x, x_0, t)
        new = jnp.asarray(eta) * jnp.sqrt(noise_added(schedule, t, s))
        # At s = 0 and eta = 1 nothing is kept; the floor is there because sqrt has no derivative at 0.
        kept = jnp.sqrt(jnp.maximum(1 - new**2, jnp.finfo(x.dtype).tiny))

        start = half_log_snr(schedule, t)
        end = half_log_snr(schedule, s) - jnp.log(kept)
        is_second_order = (schedule.sigma(s) > 0) & (start > -np.log(LARGEST_POSITION))
        end = jnp.where(is_second_order, end, start)
        # The midpoint lies between s and t for every eta; the bounds are for what rounding makes of it.
        middle = jnp.clip(schedule.time(start + end), jnp.minimum(s, t), t).astype(t.dtype)
        x_middle = (schedule.alpha(middle) * x_0 + schedule.sigma(middle) * noise).astype(x.dtype)
        again = jax.lax.cond(is_second_order, lambda: denoise(x_middle, middle), lambda: x_0)

        mixed = kept * noise
        if not is_deterministic:
            mixed = mixed + new * normal(keys, x.shape[1:], x.dtype)
        # The noise at the midpoint is the noise of x plus (x_0 - again) / u(middle). Its weight is u(end) - u(start).
        missing = schedule.alpha(s) * 2 * jnp.sinh(0.5 * (end - start)) * (again - x_0)
        return carry, (schedule.alpha(s) * x_0 + schedule.sigma(s) * mixed + missing).astype(x.dtype)

    return Sampler(stateless, step)
