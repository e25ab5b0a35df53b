"""Euler's method, with the churn of EDM, and its ancestral variant."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.samplers.base import Sampler, count_steps, half_log_snr, normal
from genjax.diffusion.samplers.coordinates import ddim_step
from genjax.diffusion.samplers.ddim import ddim
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array


class Churn(NamedTuple):
    """New noise before each step, which takes x up to a later time; see `euler` for the four numbers.

    References:
        Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2022), algorithm 2.
    """

    churn: ArrayLike
    churn_min: ArrayLike
    churn_max: ArrayLike
    churn_noise: ArrayLike

    def is_off(self) -> bool:
        """Whether it is known now, and not only at run time, that there is none."""
        return isinstance(self.churn, int | float) and self.churn == 0

    def init(self, x_T: Array, times: Array) -> Array:
        """The carry of the sampler: gamma, so that a step multiplies sigma / alpha by 1 + gamma."""
        del x_T
        return jnp.minimum(jnp.asarray(self.churn) / jnp.maximum(count_steps(times), 1), np.sqrt(2) - 1)

    def add(self, keys: Array, gamma: Array, x: Array, t: Array, schedule: Schedule) -> tuple[Array, Array]:
        """x and its time after the noise; lines 4 to 6 of the paper's algorithm 2.

        It is a draw of the forward process, from t to the time where sigma / alpha is 1 + gamma times as large,
        or to the end of the schedule where that comes first.
        """
        if self.is_off():
            return x, t
        position = jnp.exp(-half_log_snr(schedule, t))
        gamma = jnp.where((self.churn_min <= position) & (position <= self.churn_max), gamma, 0)
        later = schedule.time(schedule.log_snr(t) - 2 * jnp.log1p(gamma))
        later = jnp.where(gamma > 0, later, t).astype(t.dtype)
        added = -jnp.expm1(2 * (half_log_snr(schedule, later) - half_log_snr(schedule, t)))
        moved = added > 0  # else alpha(t) may be 0, and sqrt has no derivative
        ratio = jnp.where(moved, schedule.alpha(later), 1) / jnp.where(moved, schedule.alpha(t), 1)
        std = jnp.where(moved, schedule.sigma(later) * jnp.sqrt(jnp.where(moved, added, 1)), 0)
        noise = self.churn_noise * normal(keys, x.shape[1:], x.dtype)
        return (ratio * x + std * noise).astype(x.dtype), later


def euler(
    churn: ArrayLike = 0.0,
    churn_min: ArrayLike = 0.0,
    churn_max: ArrayLike = np.inf,
    churn_noise: ArrayLike = 1.0,
) -> Sampler:
    """Euler's method for the probability-flow ODE. Stochastic if `churn` is above 0.

    Order 1, one evaluation a step.

    Without churn it is `ddim` with eta = 0, whose formula it uses: from sigma(t) / alpha(t) to sigma(s) /
    alpha(s), Euler's x / alpha = x_0 + (sigma / alpha) noise with the estimates kept is alpha(s) x_0 + sigma(s)
    noise. For rectified flow it is Euler's method in t: x + (s - t) (noise - x_0) is (1 - s) x_0 + s noise.

    Args:
        churn: S_churn of the paper, at least 0, for the whole trajectory: before each of the K steps, new noise
            raises sigma / alpha by the factor 1 + min(churn / K, sqrt(2) - 1), but never beyond t = 1.
            A scalar. Only the int or float 0 saves the drawing of noise; a traced array may be 0 too.
        churn_min: S_tmin, the smallest sigma / alpha with churn.
        churn_max: S_tmax, the largest one.
        churn_noise: S_noise, the standard deviation of the new noise; slightly above 1 makes up for detail that
            denoisers remove.

    Example:
        >>> import jax
        >>> from genjax.diffusion import sample, samplers, schedules
        >>> keys, x_T, times = jax.random.key(0)[None], jax.numpy.array([[2.0]]), jax.numpy.array([1.0, 0.5])
        >>> denoise = lambda x_t, t: 0.5 * x_t  # x_0 = 1, noise = 2
        >>> sample(keys, x_T, times, denoise, samplers.euler(), schedules.flow())  # 2 - 0.5 (noise - x_0)
        Array([[1.5]], dtype=float32)

    References:
        Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2022), algorithm 2
        without its lines 9 to 11.
    """
    stir = Churn(churn, churn_min, churn_max, churn_noise)
    if stir.is_off():
        return ddim()

    def step(
        keys: Array, gamma: Array, x: Array, t: Array, s: Array, denoise: Denoiser, schedule: Schedule
    ) -> tuple[Array, Array]:
        x, t = stir.add(keys, gamma, x, t, schedule)
        return gamma, ddim_step(schedule, x, denoise(x, t), t, s)

    return Sampler(stir.init, step)


def euler_ancestral(eta: ArrayLike = 1.0) -> Sampler:
    """k-diffusion's Euler ancestral: `ddim` by another name. Stochastic, order 1, one evaluation a step.

    With u = sigma / alpha, it takes Euler's step not to u(s) but to u_down, and adds noise of deviation u_up,
    where u_up = eta u(s) sqrt(1 - u(s)^2 / u(t)^2) and u_down = sqrt(u(s)^2 - u_up^2):

        x / alpha = x_0 + u_down noise + u_up new.

    Times alpha(s), with sigma(s) = alpha(s) u(s) and n = eta sqrt(1 - SNR(t) / SNR(s)), this is

        alpha(s) x_0 + sigma(s) (sqrt(1 - n^2) noise + n new),

    which is DDIM.

    Args:
        eta: from 0, `euler`, to 1. A scalar, or one for each example; it may be traced.

    Raises:
        UserError: if a concrete `eta` is outside [0, 1].

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, sample, samplers, schedules
        >>> keys, x_T, schedule = jax.random.split(jax.random.key(0), 2), jax.numpy.ones((2, 3)), schedules.vp()
        >>> run = lambda sampler: sample(keys, x_T, grids.linspace(6), lambda x, t: 0.5 * x, sampler, schedule)
        >>> difference = run(samplers.euler_ancestral(0.7)) - run(samplers.ddim(0.7))
        >>> bool(abs(difference).max() < 1e-5)
        True

    References:
        k-diffusion (Crowson, 2022), `sample_euler_ancestral`; Song et al., "Denoising Diffusion Implicit Models"
        (2021), equations 12 and 16.
    """
    return ddim(eta)
