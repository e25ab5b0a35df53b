"""A noise schedule that is learned."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float

from genjax.diffusion.schedules.base import VariancePreserving, after_jump
from genjax.typing import Array, Key, UserError

_BISECTIONS = 40


@flax.struct.dataclass
class Monotone(VariancePreserving):
    """A log-SNR that falls from `log_snr_max`, just above t = 0, to `log_snr_min` at t = 1, as a network says.

    The network is t + sum_i a_i sigmoid(b_i t + c_i) with positive a and b, scaled to go from 0 to 1.

    Attributes:
        log_snr_max: float[].
        log_snr_min: float[].
        a: float[D], before softplus.
        b: float[D], before softplus.
        c: float[D].
    """

    log_snr_max: Any
    log_snr_min: Any
    a: Any
    b: Any
    c: Any

    def log_snr(self, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """See `Schedule.log_snr`."""
        t = jnp.asarray(t)
        first, last = self._network(jnp.zeros(())), self._network(jnp.ones(()))
        part = (self._network(t) - first) / (last - first)
        return jnp.where(t > 0, self.log_snr_max + part * (self.log_snr_min - self.log_snr_max), jnp.inf)

    def time(self, log_snr: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """See `Schedule.time`; by bisection."""
        log_snr = jnp.asarray(log_snr)

        def halve(_: Array, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = bounds
            middle = 0.5 * (low + high)
            later = self.log_snr(middle) > log_snr
            return jnp.where(later, middle, low), jnp.where(later, high, middle)

        bounds = jnp.zeros_like(log_snr), jnp.ones_like(log_snr)
        low, high = jax.lax.fori_loop(0, _BISECTIONS, halve, bounds)
        t = jnp.where(
            log_snr >= self.log_snr_max, 0, jnp.where(log_snr <= self.log_snr_min, 1, 0.5 * (low + high))
        )
        # One step of Newton's method, for the derivatives: bisection has none.
        t = jax.lax.stop_gradient(t)
        inside = (t > 0) & (t < 1)
        value, slope = jax.jvp(self.log_snr, (jnp.where(inside, t, 0.5),), (jnp.ones_like(t),))
        return after_jump(jnp.where(inside, t + (log_snr - value) / slope, t), log_snr)

    def _network(self, t: Array) -> Array:
        a, b = jax.nn.softplus(self.a), jax.nn.softplus(self.b)
        axes = tuple(range(t.ndim))
        a, b, c = (jnp.expand_dims(x, axes) for x in (a, b, self.c))
        return t + jnp.sum(a * jax.nn.sigmoid(b * t[..., None] + c), -1)


def learned(
    key: Key | None = None, log_snr_max: float = 13.3, log_snr_min: float = -5.0, width: int = 64
) -> Monotone:
    """A schedule to be trained: its leaves are its parameters. At first the log-SNR is nearly linear in t.

    Args:
        key: Key[], draws the parameters; seed 0 if left out.
        log_snr_max: just above t = 0.
        log_snr_min: at t = 1, below `log_snr_max`.
        width: number of sigmoids.

    Raises:
        UserError: if the bounds are not in order.

    Example:
        >>> import jax
        >>> from genjax.diffusion import schedules
        >>> schedule = schedules.learned(jax.random.key(0), log_snr_max=13.3, log_snr_min=-5.0)
        >>> print(f"{schedule.log_snr(1e-6):.2f} {schedule.log_snr(1.0):.2f}")
        13.30 -5.00
        >>> len(jax.tree.leaves(schedule))  # parameters: the two bounds and three arrays
        5

    References:
        Kingma et al., "Variational Diffusion Models" (2021), section 4.1 and appendix H.
    """
    if not log_snr_min < log_snr_max:
        raise UserError(f"log_snr_min = {log_snr_min} must be less than log_snr_max = {log_snr_max}")
    a, b, c = jax.random.normal(jax.random.key(0) if key is None else key, (3, width))
    return Monotone(
        jnp.asarray(log_snr_max, float), jnp.asarray(log_snr_min, float), a - jnp.log(width), b + 1, 3 * c
    )
