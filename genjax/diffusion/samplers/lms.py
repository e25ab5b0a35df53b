"""Linear multistep method (LMS) of k-diffusion, and the history that it shares with other multistep methods."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.samplers.base import Sampler, half_log_snr
from genjax.diffusion.samplers.coordinates import noise_estimate, noise_step
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array, UserError

HIGHEST_ORDER = 4
_CLOSEST = 0.1


class History(NamedTuple):
    """What a multistep method remembers; the latest comes first.

    Attributes:
        noise: [K, N, ...], the noise estimates of the last K steps.
        times: [K], where they were made.
        steps: int32[], number of steps so far. Only this number of entries is valid.
    """

    noise: Array
    times: Array
    steps: Array

    def push(self, noise: Array, t: Array) -> "History":
        """With a new estimate, and without the oldest."""
        size = self.times.size
        return History(
            jnp.concatenate([noise[None].astype(self.noise.dtype), self.noise])[:size],
            jnp.concatenate([t[None].astype(self.times.dtype), self.times])[:size],
            self.steps + 1,
        )


def empty_history(x_T: Array, times: Array, size: int) -> History:
    """No estimates yet, and room for `size`.

    Args:
        x_T: float[N, ...]; only its shape and type matter.
        times: float[K+1].
        size: how many estimates are remembered.
    """
    return History(
        jnp.zeros((size, *x_T.shape), x_T.dtype), jnp.full(size, times[0]), jnp.zeros((), jnp.int32)
    )


def weighted_change(weights: Float[Array, "K"], noise: Array, history: History) -> Array:
    """sum_k weights[k] (history.noise[k] - noise): what a weighted mean of estimates adds to the latest."""
    return jnp.tensordot(weights.astype(noise.dtype), history.noise - noise[None], 1)


def check_order(order: int) -> int:
    """`order`, if it is one of 1 to 4; a `UserError` otherwise."""
    if order not in range(1, HIGHEST_ORDER + 1):
        raise UserError(f"order = {order} must be one of 1, 2, 3, 4")
    return order


def adams_bashforth(
    positions: Float[Array, "K"], valid: Bool[Array, "K"], end: Float[Array, ""]
) -> Float[Array, "K"]:
    """Weights that make, of values, the mean over [positions[0], end] of the polynomial through them.

    They are the means of the Lagrange polynomials, by a Gauss-Legendre quadrature that is exact for them.

    Args:
        positions: pairwise different where they are valid; K at most 4. The first is where the interval begins.
        valid: which values there are, the first one always; weights of the others are 0.
        end: where the interval ends.

    References:
        Hairer, Norsett and Wanner, "Solving Ordinary Differential Equations I" (1993), section III.5.
    """
    # On [0, 1]: powers of the positions themselves may overflow.
    v = (positions - positions[0]) / (end - positions[0])
    on_minus_1_to_1 = np.polynomial.legendre.leggauss(HIGHEST_ORDER // 2)
    nodes = jnp.asarray((on_minus_1_to_1[0] + 1) / 2, v.dtype)
    quadrature = jnp.asarray(on_minus_1_to_1[1] / 2, v.dtype)
    relevant = valid[None, :] & valid[:, None] & ~np.eye(v.size, dtype=bool)
    gaps = jnp.where(relevant, v[:, None] - v[None, :], 1)
    factors = jnp.where(relevant[None], (nodes[:, None, None] - v[None, None]) / gaps[None], 1)
    return jnp.where(valid, quadrature @ jnp.prod(factors, -1), 0)


def lms(order: int = 4) -> Sampler:
    """Adams-Bashforth for unequal steps in sigma / alpha. Deterministic, one evaluation a step.

    The noise, which is the right-hand side of the ODE, is extrapolated by a polynomial through its last `order`
    estimates. Started by lower orders, since at first there are fewer estimates: with `order` of 2 or more, a
    step is of this order but the whole trajectory of order 2, unless the first steps are short. An estimate
    that is less than a tenth of the step away from the latest is left out, as before the jump of an exploding
    variance to 0.

    Args:
        order: 1 (`ddim`) to 4.

    Raises:
        UserError: if `order` is not one of these.

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, sample, samplers, schedules
        >>> keys, x_T, schedule = jax.random.key(0)[None], jax.numpy.ones((1, 1)), schedules.shifted_cosine()
        >>> denoise = lambda x_t, t: schedule.alpha(t) * x_t  # of data from N(0, 1), for which x_0 is x_T
        >>> for sampler in (samplers.ddim(), samplers.lms(1), samplers.lms(4)):
        ...     print(f"{sample(keys, x_T, grids.linspace(8), denoise, sampler, schedule).item():.3f}")
        0.856
        0.856
        0.942

    References:
        Hairer, Norsett and Wanner, "Solving Ordinary Differential Equations I" (1993), section III.5;
        k-diffusion (Crowson, 2022), `sample_lms`.
    """
    size = check_order(order) - 1

    def step(
        keys: Array, history: History, x: Array, t: Array, s: Array, denoise: Denoiser, schedule: Schedule
    ) -> tuple[History, Array]:
        del keys
        x_0 = denoise(x, t)
        noise = noise_estimate(schedule, x, x_0, t)
        positions = jnp.exp(-half_log_snr(schedule, jnp.concatenate([t[None], history.times])))
        end = jnp.exp(-half_log_snr(schedule, s))
        # Extrapolating over many times the distance between the estimates would multiply their errors.
        is_apart = jnp.abs(positions - positions[0]) > _CLOSEST * jnp.abs(end - positions[0])
        valid = (jnp.arange(size + 1) <= history.steps) & is_apart.at[0].set(True)
        weights = adams_bashforth(positions, valid, end)
        change = weighted_change(weights[1:], noise, history)
        return history.push(noise, t), noise_step(schedule, x, x_0, change, t, s)

    return Sampler(lambda x_T, times: empty_history(x_T, times, size), step)
