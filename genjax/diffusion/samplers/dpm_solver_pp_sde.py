"""Stochastic DPM-Solver++ with two evaluations a step, the second between the times of the grid.

Both follow k-diffusion, which has alpha = 1; here sigma / alpha is its sigma, and x / alpha its x.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.process import noise_added
from genjax.diffusion.samplers.base import Sampler, check_range, half_log_snr, normal, stateless
from genjax.diffusion.samplers.exponential import Estimate, estimate
from genjax.diffusion.schedules import Schedule
from genjax.random import fold_in
from genjax.typing import Array


def dpm_solver_pp_2s_ancestral(eta: ArrayLike = 1.0) -> Sampler:
    """A step of DPM-Solver++(2S) down to less noise than at s, then the rest of the noise anew. Order 2 for eta = 0.

    The step to s = 0 is of order 1, with one evaluation.

    Args:
        eta: how much of the noise added between s and t is replaced, from 0, none, to 1, as in DDPM. A scalar; it may
            be traced.

    Raises:
        UserError: if a concrete `eta` is outside [0, 1].

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, sample, samplers, schedules
        >>> keys, x_T, schedule = jax.random.split(jax.random.key(0), 2), jax.numpy.ones((2, 3)), schedules.vp()
        >>> run = lambda sampler: sample(keys, x_T, grids.linspace(6), lambda x, t: 0.5 * x, sampler, schedule)
        >>> difference = run(samplers.dpm_solver_pp_2s_ancestral(0.0)) - run(samplers.dpm_solver_pp_sde(0.0))
        >>> bool(abs(difference).max() < 1e-5)
        True

    References:
        Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models" (2022),
        algorithm 1 with r = 1/2; k-diffusion (`sample_dpmpp_2s_ancestral`).
    """
    check_range("eta", eta, 0.0, 1.0)

    def step(
        keys: Array, carry: tuple[()], x: Array, t: Array, s: Array, denoise: Denoiser, schedule: Schedule
    ) -> tuple[tuple[()], Array]:
        now = estimate(x, t, denoise, schedule)
        new, kept = _ancestral(schedule, t, s, eta)

        def middle() -> Array:
            lambda_t = half_log_snr(schedule, t)
            part = 0.5 * (half_log_snr(schedule, s) - jnp.log(kept) - lambda_t)
            t_middle = _time(schedule, lambda_t + part, t, s)
            x_middle = schedule.alpha(t_middle) * now.x0 + schedule.sigma(t_middle) * now.noise
            return denoise(x_middle.astype(x.dtype), t_middle).astype(x.dtype)

        x0 = jax.lax.cond(schedule.sigma(s) > 0, middle, lambda: now.x0)
        z = normal(keys, x.shape[1:], x.dtype)
        x_s = _second_order(now, x0, t, s, new, kept, z, schedule)
        return carry, x_s.astype(x.dtype)

    return Sampler(stateless, step)


def dpm_solver_pp_sde(eta: ArrayLike = 1.0, r: ArrayLike = 0.5) -> Sampler:
    """SDE-DPM-Solver++, singlestep: noise is added in the stage between, too. Order 2 for eta = 0.

    The stage's noise and the step's noise are increments of one Brownian path whose clock is lambda, so they are
    correlated; k-diffusion's path has sigma as its clock. The step to s = 0 is of order 1, with one evaluation.

    Args:
        eta: how much of the noise added in a step is replaced, from 0, none, to 1, as in DDPM. A scalar; it may be
            traced.
        r: where the second evaluation is, as a part of the step in lambda, in (0, 1].

    Raises:
        UserError: if a concrete `eta` or `r` is out of range.

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, sample, samplers, schedules
        >>> keys, x_T, schedule = jax.random.key(0)[None], jax.numpy.ones((1, 1)), schedules.shifted_cosine()
        >>> denoise = lambda x_t, t: schedule.alpha(t) * x_t  # of data from N(0, 1), for which x_0 is x_T
        >>> for sampler in (samplers.dpm_solver_pp_sde(eta=0.0), samplers.dpm_solver_pp_sde(eta=0.0, r=1.0)):
        ...     print(f"{sample(keys, x_T, grids.linspace(8), denoise, sampler, schedule).item():.3f}")
        0.948
        0.955

    References:
        Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models" (2022),
        sections 4.1 and 6; k-diffusion (`sample_dpmpp_sde`).
    """
    check_range("eta", eta, 0.0, 1.0)
    check_range("r", r, 1e-6, 1.0)

    def step(
        keys: Array, carry: tuple[()], x: Array, t: Array, s: Array, denoise: Denoiser, schedule: Schedule
    ) -> tuple[tuple[()], Array]:
        now = estimate(x, t, denoise, schedule)
        z_middle, z_rest = (normal(fold_in(keys, i), x.shape[1:], x.dtype) for i in (0, 1))
        part = jnp.asarray(r).astype(x.dtype)

        def middle() -> Array:
            lambda_t, lambda_s = half_log_snr(schedule, t), half_log_snr(schedule, s)
            t_middle = _time(schedule, lambda_t + r * (lambda_s - lambda_t), t, s)
            new, kept = _ancestral(schedule, t, t_middle, eta)
            x_middle = schedule.alpha(t_middle) * now.x0
            x_middle = x_middle + schedule.sigma(t_middle) * (kept * now.noise + new * z_middle)
            x0 = denoise(x_middle.astype(x.dtype), t_middle).astype(x.dtype)
            return now.x0 + (x0 - now.x0) / (2 * part)

        x0 = jax.lax.cond(schedule.sigma(s) > 0, middle, lambda: now.x0)
        z = jnp.sqrt(part) * z_middle + jnp.sqrt(1 - part) * z_rest
        new, kept = _ancestral(schedule, t, s, eta)
        x_s = _second_order(now, x0, t, s, new, kept, z, schedule)
        return carry, x_s.astype(x.dtype)

    return Sampler(stateless, step)


def _ancestral(schedule: Schedule, t: Array, s: Array, eta: ArrayLike) -> tuple[Array, Array]:
    """The factors of new and of kept noise, whose squares add up to 1."""
    added = noise_added(schedule, t, s)
    # The floors are there because sqrt has no derivative at 0, which is where they are for s = t (in float32, just
    # below t = 1, where alpha is 0), and for s = 0 and eta = 1.
    tiny = jnp.finfo(added.dtype).tiny
    new = jnp.asarray(eta) * jnp.sqrt(jnp.maximum(added, tiny))
    return new, jnp.sqrt(jnp.maximum(1 - new**2, tiny))


def _time(schedule: Schedule, lambda_: Array, t: Array, s: Array) -> Array:
    """The time at which lambda has this value, for one that it has between s and t."""
    return jnp.clip(schedule.time(2 * lambda_), s, t)


def _second_order(
    now: Estimate, x0: Array, t: Array, s: Array, new: Array, kept: Array, z: Array, schedule: Schedule
) -> Array:
    """To the noise `kept` sigma(s) with the data x0 in place of that estimated at t; then new noise z."""
    x_s = schedule.alpha(s) * now.x0 + schedule.sigma(s) * (kept * now.noise + new * z)
    added = 1 - kept * jnp.exp(half_log_snr(schedule, t) - half_log_snr(schedule, s))
    return x_s + schedule.alpha(s) * added * (x0 - now.x0)
