"""Schedules in continuous time, given by a formula."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float

from genjax.diffusion.schedules.base import LOWEST_LOG_SNR, VariancePreserving, after_jump, safe_log
from genjax.typing import Array, UserError

# Fields are `Any`, not `Array`: a pytree may carry shapes or shardings in place of its leaves.


@flax.struct.dataclass
class LinearBetaVP(VariancePreserving):
    """The diffusion dx = -beta(t) x / 2 dt + sqrt(beta(t)) dW with a beta that grows linearly; see `vp`.

    Attributes:
        beta_min: float[], beta(0).
        beta_max: float[], beta(1).
    """

    beta_min: Any
    beta_max: Any

    def log_snr(self, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """See `Schedule.log_snr`."""
        return -safe_log(jnp.expm1(self._integral(t)))

    def time(self, log_snr: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """See `Schedule.time`."""
        return self._time_of_integral(jax.nn.softplus(-jnp.asarray(log_snr)))

    def _integral(self, t: ArrayLike) -> Array:
        """Of beta from 0 to t: -2 log(alpha)."""
        t = jnp.asarray(t)
        return t * self.beta_min + 0.5 * t**2 * (self.beta_max - self.beta_min)

    def _time_of_integral(self, integral: Array) -> Array:
        root = jnp.sqrt(self.beta_min**2 + 2 * (self.beta_max - self.beta_min) * integral)
        return jnp.clip(2 * integral / (self.beta_min + root), 0, 1)


@flax.struct.dataclass
class SubVP(LinearBetaVP):
    """As `LinearBetaVP` with less noise: sigma = 1 - alpha^2; see `sub_vp`."""

    def log_snr(self, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """See `Schedule.log_snr`."""
        return -self._integral(t) - 2 * safe_log(self.sigma(t))

    def time(self, log_snr: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """See `Schedule.time`."""
        half_inverse = 0.5 * jnp.exp(-jnp.asarray(log_snr))  # SNR = y / (1 - y)^2 with y = alpha^2
        return self._time_of_integral(jnp.log1p(half_inverse + jnp.sqrt(half_inverse * (half_inverse + 2))))

    def alpha(self, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """See `Schedule.alpha`."""
        return jnp.exp(-0.5 * self._integral(t))

    def sigma(self, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """See `Schedule.sigma`."""
        return -jnp.expm1(-self._integral(t))


class VarianceExploding:
    """alpha = 1; sigma jumps from its smallest value to 0 at t = 0 exactly."""

    def log_sigma(self, t: Array) -> Array:
        """log(sigma(t)) for t > 0."""
        raise NotImplementedError

    def log_snr(self, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """See `Schedule.log_snr`."""
        t = jnp.asarray(t)
        return jnp.where(t > 0, -2 * self.log_sigma(t), jnp.inf)

    def alpha(self, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """1 at all times."""
        return jnp.ones_like(self.log_sigma(jnp.asarray(t)))

    def sigma(self, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """See `Schedule.sigma`."""
        t = jnp.asarray(t)
        return jnp.where(t > 0, jnp.exp(self.log_sigma(t)), 0)


@flax.struct.dataclass
class GeometricVE(VarianceExploding):
    """sigma that grows geometrically; see `ve`.

    Attributes:
        sigma_min: float[], sigma just above t = 0.
        sigma_max: float[], sigma(1).
    """

    sigma_min: Any
    sigma_max: Any

    def log_sigma(self, t: Array) -> Array:
        """log(sigma(t)) for t > 0."""
        return jnp.log(self.sigma_min) + t * jnp.log(self.sigma_max / self.sigma_min)

    def time(self, log_snr: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """See `Schedule.time`. Noise below sigma_min maps to just above t = 0, none to 0."""
        log_snr = jnp.asarray(log_snr)
        log_ratio = jnp.log(self.sigma_max / self.sigma_min)
        return after_jump((-0.5 * log_snr - jnp.log(self.sigma_min)) / log_ratio, log_snr)


@flax.struct.dataclass
class KarrasVE(VarianceExploding):
    """sigma^(1 / rho) that grows linearly; see `edm`.

    Attributes:
        sigma_min: float[], sigma just above t = 0.
        sigma_max: float[], sigma(1).
        rho: float[].
    """

    sigma_min: Any
    sigma_max: Any
    rho: Any

    def log_sigma(self, t: Array) -> Array:
        """log(sigma(t)) for t > 0."""
        low, high = self._roots()
        return self.rho * jnp.log(low + t * (high - low))

    def time(self, log_snr: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """See `Schedule.time`. Noise below sigma_min maps to just above t = 0, none to 0."""
        log_snr, (low, high) = jnp.asarray(log_snr), self._roots()
        return after_jump((jnp.exp(-0.5 * log_snr / self.rho) - low) / (high - low), log_snr)

    def _roots(self) -> tuple[Array, Array]:
        return self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)


@flax.struct.dataclass
class Flow:
    """A straight line from data to noise, alpha + sigma = 1; see `flow`.

    Attributes:
        shift: float[], above 1 for more of the time at high noise.
    """

    shift: Any

    def log_snr(self, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """See `Schedule.log_snr`."""
        t = jnp.asarray(t)
        return jnp.maximum(2 * (safe_log(1 - t) - jnp.log(self.shift) - safe_log(t)), LOWEST_LOG_SNR)

    def time(self, log_snr: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """See `Schedule.time`."""
        return jax.nn.sigmoid(-0.5 * jnp.asarray(log_snr) - jnp.log(self.shift))

    def alpha(self, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """See `Schedule.alpha`."""
        t = jnp.asarray(t)
        return (1 - t) / (1 + (self.shift - 1) * t)

    def sigma(self, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """See `Schedule.sigma`."""
        t = jnp.asarray(t)
        return self.shift * t / (1 + (self.shift - 1) * t)


@flax.struct.dataclass
class Cosine(VariancePreserving):
    """alpha = cos(pi t / 2), shifted in log-SNR; see `shifted_cosine`.

    Attributes:
        shift: float[], added to the log-SNR.
    """

    shift: Any

    def log_snr(self, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """See `Schedule.log_snr`."""
        quarter = 0.5 * jnp.pi * jnp.asarray(t)
        # cos(x) = sin(pi / 2 - x), which is 0 at t = 1 and not a rounding error below.
        alpha = jnp.sin(0.5 * jnp.pi * (1 - jnp.asarray(t)))
        return jnp.maximum(2 * (safe_log(alpha) - safe_log(jnp.sin(quarter))) + self.shift, LOWEST_LOG_SNR)

    def time(self, log_snr: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """See `Schedule.time`."""
        return 2 / jnp.pi * jnp.arctan(jnp.exp(-0.5 * (jnp.asarray(log_snr) - self.shift)))


@flax.struct.dataclass
class Polynomial(VariancePreserving):
    """alpha = 1 - (1 - s) t^power; see `polynomial`.

    Attributes:
        power: float[].
        s: float[], alpha(1).
    """

    power: Any
    s: Any

    def log_snr(self, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """See `Schedule.log_snr`."""
        gone = (1 - self.s) * jnp.asarray(t) ** self.power  # 1 - alpha
        return 2 * jnp.log1p(-gone) - safe_log(gone) - jnp.log(2 - gone)

    def time(self, log_snr: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """See `Schedule.time`."""
        log_snr = jnp.asarray(log_snr)
        gone = jax.nn.sigmoid(-log_snr) / (1 + jnp.sqrt(jax.nn.sigmoid(log_snr)))
        return jnp.clip((gone / (1 - self.s)) ** (1 / self.power), 0, 1)


def vp(beta_min: float = 0.1, beta_max: float = 20.0) -> LinearBetaVP:
    """The variance-preserving diffusion of continuous time; with the defaults, the limit of DDPM's `linear`.

    Example:
        >>> from genjax.diffusion import schedules
        >>> schedule = schedules.vp()
        >>> print(f"{schedule.alpha(0.5):.3f} {schedule.alpha(0.5) ** 2 + schedule.sigma(0.5) ** 2:.3f}")
        0.281 1.000

    References:
        Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations" (2021), equation 11.
    """
    _check_range("beta", beta_min, beta_max)
    return LinearBetaVP(jnp.asarray(beta_min, float), jnp.asarray(beta_max, float))


def sub_vp(beta_min: float = 0.1, beta_max: float = 20.0) -> SubVP:
    """The sub-variance-preserving diffusion: never more noise than `vp`, the same mean.

    Example:
        >>> from genjax.diffusion import schedules
        >>> vp, sub_vp = schedules.vp(), schedules.sub_vp()
        >>> print(f"{sub_vp.alpha(0.1) / vp.alpha(0.1):.3f} {sub_vp.sigma(0.1) / vp.sigma(0.1):.3f}")
        1.000 0.322

    References:
        Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations" (2021), equation 12.
    """
    _check_range("beta", beta_min, beta_max)
    return SubVP(jnp.asarray(beta_min, float), jnp.asarray(beta_max, float))


def ve(sigma_min: float = 0.01, sigma_max: float = 50.0) -> GeometricVE:
    """The variance-exploding diffusion: sigma(t) = sigma_min (sigma_max / sigma_min)^t.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import schedules
        >>> schedules.ve(sigma_min=0.1, sigma_max=10.0).sigma(jnp.array([0.0, 0.5, 1.0])).round(3)
        Array([ 0.,  1., 10.], dtype=float32)

    References:
        Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations" (2021), equation 9 and
        appendix C.
    """
    _check_range("sigma", sigma_min, sigma_max)
    return GeometricVE(jnp.asarray(sigma_min, float), jnp.asarray(sigma_max, float))


def edm(sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> KarrasVE:
    """alpha = 1, and sigma in steps of sigma^(1 / rho).

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import schedules
        >>> schedules.edm(sigma_min=1.0, sigma_max=9.0, rho=2.0).sigma(jnp.array([0.0, 0.5, 1.0])).round(3)
        Array([0., 4., 9.], dtype=float32)

    References:
        Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2022), equation 5.
    """
    _check_range("sigma", sigma_min, sigma_max)
    return KarrasVE(jnp.asarray(sigma_min, float), jnp.asarray(sigma_max, float), jnp.asarray(rho, float))


def flow(shift: float = 1.0) -> Flow:
    """Rectified flow, the optimal-transport path: x_t = (1 - u) x_0 + u noise, u = shift t / (1 + (shift - 1) t).

    Args:
        shift: above 0; 1 is u = t. For images of more pixels, sqrt(pixels / pixels where 1 was right).

    Raises:
        UserError: if `shift` is not positive.

    Example:
        >>> from genjax.diffusion import schedules
        >>> for shift in (1.0, 3.0):
        ...     print(f"{schedules.flow(shift).sigma(0.5):.2f}")  # a shift above 1: more noise half-way
        0.50
        0.75

    References:
        Liu et al., "Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow" (2023);
        Lipman et al., "Flow Matching for Generative Modeling" (2023); Esser et al., "Scaling Rectified Flow
        Transformers for High-Resolution Image Synthesis" (2024), equation 23.
    """
    if not shift > 0:
        raise UserError(f"shift = {shift} must be positive")
    return Flow(jnp.asarray(shift, float))


def shifted_cosine(ratio: float = 1.0) -> Cosine:
    """The cosine schedule in continuous time, its SNR scaled for the size of the images.

    Args:
        ratio: (height at which the schedule was right) / (height of the images), above 0.

    Raises:
        UserError: if `ratio` is not positive.

    Example:
        >>> from genjax.diffusion import schedules
        >>> large = schedules.shifted_cosine(ratio=64 / 256)  # images of 256 pixels
        >>> print(f"{schedules.shifted_cosine().log_snr(0.5):.3f} {large.log_snr(0.5):.3f}")  # 2 log(1 / 4) lower
        0.000 -2.773

    References:
        Hoogeboom et al., "Simple diffusion: End-to-end diffusion for high resolution images" (2023), equation 4.
    """
    if not ratio > 0:
        raise UserError(f"ratio = {ratio} must be positive")
    return Cosine(2 * jnp.log(jnp.asarray(ratio, float)))


def polynomial(power: float = 2.0, s: float = 1e-4) -> Polynomial:
    """alpha(t) = 1 - (1 - s) t^power.

    Args:
        power: above 0.
        s: alpha(1), in (0, 1).

    Raises:
        UserError: if an argument is out of range.

    Example:
        >>> from genjax.diffusion import schedules
        >>> print(f"{schedules.polynomial(power=2.0).alpha(0.5):.3f}")  # 1 - t^2, nearly
        0.750

    References:
        Hoogeboom et al., "Equivariant Diffusion for Molecule Generation in 3D" (2022), appendix B, with power 2 and,
        unlike here, the same s at t = 0.
    """
    if not (power > 0 and 0 < s < 1):
        raise UserError(f"power = {power} must be positive and s = {s} in (0, 1)")
    return Polynomial(jnp.asarray(power, float), jnp.asarray(s, float))


def _check_range(name: str, low: float, high: float) -> None:
    if not 0 < low < high:
        raise UserError(
            f"{name}_min = {low} and {name}_max = {high} must satisfy 0 < {name}_min < {name}_max"
        )
