"""Schedules given by a table of betas, the variances of the forward steps."""

from typing import Any

import flax.struct
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from genjax.diffusion.schedules.base import LOWEST_LOG_SNR, VariancePreserving, safe_log
from genjax.typing import Array, UserError


@flax.struct.dataclass
class Discrete(VariancePreserving):
    """A variance-preserving schedule given by its log-SNR at t = i / T, i = 1..T.

    Between the points the log-SNR is linear in t. Below t = 1/T it is ``log_snr(1/T) - log(t T)``, that is,
    sigma^2 is proportional to t, as for a diffusion of constant rate. The table holds log-SNR rather than
    alpha_bar because ``1 - alpha_bar`` loses its digits where the noise is small.

    Attributes:
        table: float[T], strictly decreasing.
    """

    table: Any  # not Array: a pytree may carry shapes or shardings in place of its leaves

    def log_snr(self, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """See `Schedule.log_snr`. Beyond t = 1 it stays at its last value."""
        position = jnp.asarray(t, self.table.dtype) * self.table.size
        return jnp.interp(position, self._positions(), self.table) - safe_log(jnp.minimum(position, 1))

    def time(self, log_snr: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """See `Schedule.time`. Values below log_snr(1) map to t = 1."""
        log_snr = jnp.asarray(log_snr, self.table.dtype)
        position = jnp.interp(log_snr, self.table[::-1], self._positions()[::-1])
        return position * jnp.exp(jnp.minimum(self.table[0] - log_snr, 0)) / self.table.size

    def _positions(self) -> Array:
        return jnp.arange(1, self.table.size + 1, dtype=self.table.dtype)


def from_betas(betas: np.ndarray) -> Discrete:
    """The schedule of any table of betas, the variances of the forward steps.

    Computed in float64; the result is float32 unless ``jax_enable_x64`` is set.

    Args:
        betas: float64[T], in (0, 1); the last one may be 1 (zero terminal SNR).

    Raises:
        UserError: if the table is empty or not one-dimensional, or a beta is out of range.

    Example:
        >>> import numpy as np
        >>> from genjax.diffusion import schedules
        >>> schedule = schedules.from_betas(np.array([0.25, 0.5, 0.5]))
        >>> [round(float(schedule.alpha(i / 3) ** 2), 4) for i in (1, 2, 3)]  # products of 1 - beta
        [0.75, 0.375, 0.1875]

    References:
        Ho et al., "Denoising Diffusion Probabilistic Models" (2020), equations 2 and 4.
    """
    betas = np.asarray(betas, np.float64)
    if betas.ndim != 1 or betas.size == 0:
        raise UserError(f"betas must be a table of shape [T] with T >= 1, not of shape {list(betas.shape)}")
    valid = (betas > 0) & (betas < 1)
    valid[-1] |= betas[-1] == 1
    if not valid.all():
        i = int(np.argmin(valid))
        raise UserError(f"betas[{i}] = {betas[i]} is not in (0, 1) (only the last may be 1)")
    with np.errstate(divide="ignore"):  # log1p(-1) = -inf is meant
        log_alpha_bar = np.cumsum(np.log1p(-betas))
    log_snr = log_alpha_bar - np.log(-np.expm1(log_alpha_bar))
    return Discrete(jnp.asarray(np.maximum(log_snr, LOWEST_LOG_SNR)))


def linear(num_steps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> Discrete:
    """Betas that grow linearly from `beta_start` to `beta_end`.

    The defaults belong together: with fewer steps the same betas would leave signal at t = 1.

    Example:
        >>> from genjax.diffusion import schedules
        >>> for num_steps in (1000, 100):
        ...     print(f"{schedules.linear(num_steps).alpha(1.0):.2f}")  # what is left of the data
        0.01
        0.60

    References:
        Ho et al., "Denoising Diffusion Probabilistic Models" (2020), section 4.
    """
    return from_betas(np.linspace(beta_start, beta_end, num_steps))


def cosine(num_steps: int = 1000, s: float = 0.008, max_beta: float = 0.999) -> Discrete:
    """alpha_bar proportional to cos^2(pi/2 (t + s) / (1 + s)), with betas of at most `max_beta`.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import schedules
        >>> print(*(f"{alpha:.3f}" for alpha in schedules.cosine().alpha(jnp.array([0.0, 0.5, 1.0]))))
        1.000 0.703 0.000

    References:
        Nichol and Dhariwal, "Improved Denoising Diffusion Probabilistic Models" (2021), equation 17.
    """
    t = np.linspace(0, 1, num_steps + 1)
    alpha_bar = np.cos(0.5 * np.pi * (t + s) / (1 + s)) ** 2
    return from_betas(np.minimum(1 - alpha_bar[1:] / alpha_bar[:-1], max_beta))


def scaled_linear(num_steps: int = 1000, beta_start: float = 0.00085, beta_end: float = 0.012) -> Discrete:
    """Betas whose square roots grow linearly; the defaults are Stable Diffusion's.

    Example:
        >>> from genjax.diffusion import schedules
        >>> schedule = schedules.scaled_linear()
        >>> print(f"{schedule.sigma(1.0) / schedule.alpha(1.0):.2f}")  # the largest sigma of Stable Diffusion
        14.61

    References:
        Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models" (2022), reference code.
    """
    return from_betas(np.linspace(beta_start**0.5, beta_end**0.5, num_steps) ** 2)


def sigmoid(num_steps: int = 1000, start: float = -3.0, end: float = 3.0, tau: float = 1.0) -> Discrete:
    """alpha_bar that falls as a sigmoid does between `start` and `end`, with betas of at most 0.999.

    Example:
        >>> from genjax.diffusion import schedules
        >>> print(f"{schedules.sigmoid().alpha(0.5) ** 2:.3f}")  # alpha_bar is symmetric about the middle
        0.500

    References:
        Jabri et al., "Scalable Adaptive Computation for Iterative Generation" (2022), section 3.2.
    """
    values = 1 / (1 + np.exp(-np.linspace(start, end, num_steps + 1) / tau))
    alpha_bar = (values[-1] - values) / (values[-1] - values[0])
    return from_betas(np.minimum(1 - alpha_bar[1:] / alpha_bar[:-1], 0.999))


def sigmoid_betas(num_steps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> Discrete:
    """Betas that grow as a sigmoid does between -6 and 6.

    Example:
        >>> from genjax.diffusion import schedules
        >>> print(f"{schedules.sigmoid_betas().alpha(0.5):.3f} {schedules.linear().alpha(0.5):.3f}")
        0.549 0.280

    References:
        Xu et al., "GeoDiff: a Geometric Diffusion Model for Molecular Conformation Generation" (2022), reference code.
    """
    values = 1 / (1 + np.exp(-np.linspace(-6, 6, num_steps)))
    return from_betas(values * (beta_end - beta_start) + beta_start)


def zero_terminal_snr(schedule: Discrete, lowest: float = LOWEST_LOG_SNR) -> Discrete:
    """Shifts and scales sqrt(alpha_bar) so that nothing of the data is left at t = 1; the first step is as before.

    The prediction must be defined there: `v` or `x0`, not `eps`.

    Args:
        schedule: of at least two steps.
        lowest: the log-SNR that stands for -inf at t = 1. Where the table falls below it before, as the table of many
            linear betas does below -16, it goes down to it in equal steps instead.

    Raises:
        UserError: if the schedule has a single step.

    Example:
        >>> from genjax.diffusion import schedules
        >>> schedule = schedules.scaled_linear()
        >>> print(f"{schedule.alpha(1.0):.3f} {schedules.zero_terminal_snr(schedule).alpha(1.0):.3f}")
        0.068 0.000

    References:
        Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed" (2023), algorithm 1.
    """
    if schedule.table.size < 2:
        raise UserError(
            "schedule has 1 step and must have at least 2 for one of them to have a zero terminal SNR"
        )
    root = 1 / np.sqrt(1 + np.exp(-np.asarray(schedule.table, np.float64)))
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    with np.errstate(divide="ignore"):  # log(0) = -inf is meant
        log_snr = 2 * np.log(root) - np.log1p(-(root**2))
    above = int(np.sum(log_snr > lowest))
    log_snr[above - 1 :] = np.linspace(log_snr[above - 1], lowest, log_snr.size - above + 1)
    return Discrete(jnp.asarray(log_snr, schedule.table.dtype))
