"""Noise schedules: alpha(t), sigma(t), the log-SNR and its inverse, as pytrees.

A noisy example is ``x_t = alpha(t) x_0 + sigma(t) noise``. Time runs from t = 0 (clean data) to t = 1 (noise)
for every schedule; a discrete schedule of T betas lives at t = i / T, i = 1..T.

A schedule is a pytree whose leaves are its constants, so that it is an ordinary argument of a jitted
function: changing a constant recompiles nothing, and constants can be learned. A new schedule is a
``flax.struct.dataclass`` with the four methods of `Schedule`.
"""

from typing import Any, Protocol, runtime_checkable

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from genjax.typing import Array, UserError

# A beta of 1 (zero terminal SNR) would put -inf in the table, and interpolating towards -inf gives NaN.
# alpha = exp(-30) is zero for every purpose, and its reciprocal is still finite.
_LOWEST_LOG_SNR = -60.0


@runtime_checkable
class Schedule(Protocol):
    """What predictions, samplers and losses know of a noise schedule.

    All four are elementwise in a time (or log-SNR) of any shape. ``log_snr = 2 log(alpha / sigma)`` falls
    strictly from inf at t = 0, where sigma is 0, and may reach -inf at t = 1, where alpha may be 0.
    """

    def log_snr(self, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """log(alpha(t)^2 / sigma(t)^2)."""
        ...

    def time(self, log_snr: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """The inverse of `log_snr`: the t in [0, 1] at which it has this value."""
        ...

    def alpha(self, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """The factor of the clean data."""
        ...

    def sigma(self, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """The standard deviation of the noise."""
        ...


class VariancePreserving:
    """alpha and sigma of the schedules with alpha^2 + sigma^2 = 1, which follow from the log-SNR alone.

    References:
        Kingma et al., "Variational Diffusion Models" (2021), equations 3 and 4.
    """

    def log_snr(self, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """See `Schedule.log_snr`."""
        raise NotImplementedError

    # Not sqrt(sigmoid(.)): the derivative of sqrt at 0 is inf, and inf * 0 is NaN where sigma or alpha
    # vanishes.
    def alpha(self, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """sqrt(sigmoid(log_snr)); exactly 1 at t = 0."""
        return jnp.exp(0.5 * jax.nn.log_sigmoid(self.log_snr(t)))

    def sigma(self, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """sqrt(sigmoid(-log_snr)); exactly 0 at t = 0."""
        return jnp.exp(0.5 * jax.nn.log_sigmoid(-self.log_snr(t)))


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
        return jnp.interp(position, self._positions(), self.table) - _log(jnp.minimum(position, 1))

    def time(self, log_snr: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """See `Schedule.time`. Values below log_snr(1) map to t = 1."""
        log_snr = jnp.asarray(log_snr, self.table.dtype)
        position = jnp.interp(log_snr, self.table[::-1], self._positions()[::-1])
        return position * jnp.exp(jnp.minimum(self.table[0] - log_snr, 0)) / self.table.size

    def _positions(self) -> Array:
        return jnp.arange(1, self.table.size + 1, dtype=self.table.dtype)


def _log(x: Array) -> Array:
    """log(x) for x >= 0. Its derivative at 0 is 0 rather than inf, which the chain rule would turn into
    NaN."""
    positive = x > 0
    return jnp.where(positive, jnp.log(jnp.where(positive, x, 1)), -jnp.inf)


def from_betas(betas: np.ndarray) -> Discrete:
    """The schedule of any table of betas, the variances of the forward steps.

    Computed in float64; the result is float32 unless ``jax_enable_x64`` is set.

    Args:
        betas: [T], in (0, 1); the last one may be 1 (zero terminal SNR).

    Raises:
        UserError: if the table is empty or not one-dimensional, or a beta is out of range.

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
    return Discrete(jnp.asarray(np.maximum(log_snr, _LOWEST_LOG_SNR)))


def linear(num_steps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> Discrete:
    """Betas that grow linearly from `beta_start` to `beta_end`.

    The defaults belong together: with fewer steps the same betas would leave signal at t = 1.

    References:
        Ho et al., "Denoising Diffusion Probabilistic Models" (2020), section 4.
    """
    return from_betas(np.linspace(beta_start, beta_end, num_steps))


def cosine(num_steps: int = 1000, s: float = 0.008, max_beta: float = 0.999) -> Discrete:
    """alpha_bar proportional to cos^2(pi/2 (t + s) / (1 + s)), with betas of at most `max_beta`.

    References:
        Nichol and Dhariwal, "Improved Denoising Diffusion Probabilistic Models" (2021), equation 17.
    """
    t = np.linspace(0, 1, num_steps + 1)
    alpha_bar = np.cos(0.5 * np.pi * (t + s) / (1 + s)) ** 2
    return from_betas(np.minimum(1 - alpha_bar[1:] / alpha_bar[:-1], max_beta))


SCHEDULES = {"linear": linear, "cosine": cosine}
"""Constructors of the schedules, by name."""
