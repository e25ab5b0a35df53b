"""The times at which a sampler steps: K + 1 for K steps, decreasing, the last one 0 (clean).

Three kinds: equal steps in t; the same, rounded to the T times that a discrete model was trained at; and steps chosen
by the noise-to-signal ratio sigma / alpha, whatever the schedule.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from genjax.diffusion.schedules import Discrete, Schedule
from genjax.typing import Array, UserError

# The smallest time of grids in sigma / alpha where the schedule is continuous.
_EARLIEST = 1e-3
_LARGEST_SIGMA = 1e6


def linspace(num_steps: int) -> Float[Array, "K_plus_1"]:
    """Equal steps in t; the network is evaluated at 1, 1 - 1/K, ..., 1/K ("trailing" spacing).

    Where K divides the T of a discrete schedule, the times are among those it was trained at.

    Raises:
        UserError: if `num_steps` is less than 1.

    Example:
        >>> from genjax.diffusion import grids
        >>> grids.linspace(4)
        Array([1.  , 0.75, 0.5 , 0.25, 0.  ], dtype=float32)

    References:
        Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed" (2023), table 2.
    """
    _check_steps(num_steps)
    return jnp.asarray(np.linspace(1, 0, num_steps + 1))


def quadratic(num_steps: int, start: float = 1.0) -> Float[Array, "K_plus_1"]:
    """Equal steps in sqrt(t) from `start`: short ones near the data.

    Raises:
        UserError: if `num_steps` is less than 1 or `start` is not in (0, 1].

    Example:
        >>> from genjax.diffusion import grids
        >>> grids.quadratic(4)
        Array([1.    , 0.5625, 0.25  , 0.0625, 0.    ], dtype=float32)

    References:
        Song et al., "Denoising Diffusion Implicit Models" (2021), appendix D.2, and its reference code, where start is
        0.8.
    """
    _check_steps(num_steps)
    if not 0 < start <= 1:
        raise UserError(f"start = {start} must be in (0, 1]")
    return jnp.asarray(np.linspace(start**0.5, 0, num_steps + 1) ** 2)


def trailing(num_steps: int, num_train_steps: int = 1000) -> Float[Array, "K_plus_1"]:
    """Times i / T counted down from T by T / K, rounded: `linspace` if K divides T.

    Raises:
        UserError: if `num_steps` is not in [1, T].

    Example:
        >>> from genjax.diffusion import grids
        >>> grids.trailing(3, num_train_steps=10)
        Array([1. , 0.7, 0.3, 0. ], dtype=float32)

    References:
        Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed" (2023), table 2.
    """
    _check_steps(num_steps, num_train_steps)
    return _discrete(np.round(np.arange(num_steps, 0, -1) * (num_train_steps / num_steps)), num_train_steps)


def leading(num_steps: int, num_train_steps: int = 1000, offset: int = 0) -> Float[Array, "K_plus_1"]:
    """Times i / T from i = 1 + offset up, in steps of T / K rounded down: the noisiest times are left out.

    Args:
        num_steps: K, the number of steps.
        num_train_steps: T, the number of trained times.
        offset: 1 for Stable Diffusion.

    Raises:
        UserError: if `num_steps` is not in [1, T], or `offset` leads beyond T.

    Example:
        >>> from genjax.diffusion import grids
        >>> grids.leading(3, num_train_steps=10)
        Array([0.7, 0.4, 0.1, 0. ], dtype=float32)
        >>> grids.leading(3, num_train_steps=10, offset=1)
        Array([0.8, 0.5, 0.2, 0. ], dtype=float32)

    References:
        Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed" (2023), table 2.
    """
    _check_steps(num_steps, num_train_steps)
    steps = 1 + offset + num_train_steps // num_steps * np.arange(num_steps)[::-1]
    if offset < 0 or steps[0] > num_train_steps:
        raise UserError(f"offset = {offset} leads to time {steps[0]} of {num_train_steps}")
    return _discrete(steps, num_train_steps)


def endpoints(num_steps: int, num_train_steps: int = 1000, whole: bool = True) -> Float[Array, "K_plus_1"]:
    """Times i / T from i = T to i = 1, both included, in equal steps ("linspace" in other libraries).

    Args:
        num_steps: K, the number of steps.
        num_train_steps: T, the number of trained times.
        whole: round i to whole numbers.

    Raises:
        UserError: if `num_steps` is not in [1, T].

    Example:
        >>> from genjax.diffusion import grids
        >>> grids.endpoints(4, num_train_steps=10)
        Array([1. , 0.7, 0.4, 0.1, 0. ], dtype=float32)

    References:
        Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed" (2023), table 2.
    """
    _check_steps(num_steps, num_train_steps)
    steps = np.linspace(num_train_steps, 1, num_steps)
    return _discrete(np.round(steps) if whole else steps, num_train_steps)


def karras(
    num_steps: int,
    schedule: Schedule,
    sigma_min: ArrayLike | None = None,
    sigma_max: ArrayLike | None = None,
    rho: ArrayLike = 7.0,
) -> Float[Array, "K_plus_1"]:
    """Equal steps in (sigma / alpha)^(1 / rho) from sigma_max to sigma_min, then 0.

    Args:
        num_steps: K, the number of steps.
        schedule: turns sigma / alpha into times.
        sigma_min: the last but one sigma / alpha. By default it is sigma / alpha at the first step of a discrete
            schedule, or at t = 0.001.
        sigma_max: the first sigma / alpha; that at t = 1 if left out, which must be finite then.
        rho: larger for shorter steps near the data.

    Raises:
        UserError: if `num_steps` is less than 1, sigma_max is left out where nothing of the data is left at t = 1, or
            the two are not 0 < sigma_min <= sigma_max: the grid would go up.

    Example:
        >>> from genjax.diffusion import grids, schedules
        >>> schedule = schedules.edm()  # sigma up to 80
        >>> print(*(f"{sigma:.2f}" for sigma in schedule.sigma(grids.karras(4, schedule, sigma_min=0.01))))
        80.00 11.61 0.80 0.01 0.00

    References:
        Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2022), equation 5.
    """
    low, high = _bounds(num_steps, schedule, sigma_min, sigma_max)
    return of_sigmas(between(jnp.linspace(0, 1, num_steps), low, high, rho), schedule)


def between(part: Any, low: ArrayLike, high: ArrayLike, rho: ArrayLike = 7.0) -> Any:
    """Of numbers that go in equal steps of their root 1 / rho, those at parts 0 (`high`) to 1 (`low`) of the way.

    Arrays of numpy give arrays of numpy.

    Args:
        part: float[...], or a number.
        low: the number at part 1; scalar.
        high: the number at part 0; scalar.
        rho: scalar.

    Returns:
        float[...], of the shape of `part`.

    Example:
        >>> import numpy as np
        >>> from genjax.diffusion import grids
        >>> print(grids.between(np.array([0, 0.5, 1]), low=1.0, high=9.0, rho=2.0))  # roots 3, 2, 1
        [9. 4. 1.]
    """
    return (high ** (1 / rho) + part * (low ** (1 / rho) - high ** (1 / rho))) ** rho


def exponential(
    num_steps: int,
    schedule: Schedule,
    sigma_min: ArrayLike | None = None,
    sigma_max: ArrayLike | None = None,
    rho: ArrayLike = 1.0,
) -> Float[Array, "K_plus_1"]:
    """Equal steps in the log-SNR, then 0; with a rho other than 1 "polyexponential".

    Args:
        num_steps: K, the number of steps.
        schedule: as in `karras`.
        sigma_min: as in `karras`.
        sigma_max: as in `karras`.
        rho: above 1 for shorter steps near the data: log(sigma / alpha) goes as the power rho of equal steps.

    Raises:
        UserError: as `karras`.

    Example:
        >>> from genjax.diffusion import grids, schedules
        >>> schedule = schedules.edm()
        >>> times = grids.exponential(3, schedule, sigma_min=0.1, sigma_max=10.0)
        >>> print(*(f"{sigma:.2f}" for sigma in schedule.sigma(times)))
        10.00 1.00 0.10 0.00

    References:
        Lu et al., "DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling" (2022), section 3.4;
        k-diffusion (Crowson, 2022), for rho.
    """
    low, high = (jnp.log(bound) for bound in _bounds(num_steps, schedule, sigma_min, sigma_max))
    ramp = jnp.linspace(1, 0, num_steps) ** rho
    return of_sigmas(jnp.exp(low + ramp * (high - low)), schedule)


def align_your_steps(num_steps: int, schedule: Schedule, model: str = "stable-diffusion-1.5") -> Array:
    """Sigmas optimised for a pretrained model, interpolated in log(sigma) to other numbers of steps, then 0.

    Args:
        num_steps: K, the number of steps.
        schedule: turns sigma / alpha into times.
        model: a key of `ALIGNED`.

    Returns:
        float[K+1], the times.

    Raises:
        UserError: if there is no table for `model`, or `num_steps` is less than 1.

    Example:
        >>> from genjax.diffusion import grids, schedules
        >>> schedule = schedules.scaled_linear()  # of Stable Diffusion
        >>> times = grids.align_your_steps(10, schedule)
        >>> print(*(f"{sigma:.2f}" for sigma in schedule.sigma(times) / schedule.alpha(times)))
        14.61 6.48 3.86 2.70 1.89 1.40 0.96 0.65 0.40 0.15 0.00

    References:
        Sabour et al., "Align Your Steps: Optimizing Sampling Schedules in Diffusion Models" (2024), and the tables the
        authors published.
    """
    _check_steps(num_steps)
    if model not in ALIGNED:
        raise UserError(f"model = {model!r} must be one of {', '.join(ALIGNED)}")
    table = np.log(ALIGNED[model])
    positions = np.linspace(0, 1, num_steps + 1)[:-1]
    return of_sigmas(np.exp(np.interp(positions, np.linspace(0, 1, len(table)), table)), schedule)


ALIGNED: dict[str, Sequence[float]] = {
    "stable-diffusion-1.5": (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029),
    "stable-diffusion-xl": (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029),
    "stable-video-diffusion": (700.00, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002),
}
"""sigma / alpha of ten steps; the eleventh is where the paper's last step ends, shortly before 0."""


def of_sigmas(sigmas: Float[ArrayLike, "K"], schedule: Schedule) -> Float[Array, "K_plus_1"]:
    """The times at which sigma / alpha has the given values, decreasing and above 0; then 0.

    Values beyond the schedule's become its last time, which is repeated then and makes no steps.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import grids, schedules
        >>> times = grids.of_sigmas(jnp.array([3.0, 1.0]), schedules.flow())  # sigma / alpha = t / (1 - t)
        >>> print(*(f"{t:.2f}" for t in times))
        0.75 0.50 0.00
    """
    times = schedule.time(-2 * jnp.log(jnp.asarray(sigmas)))
    return jnp.concatenate([times, jnp.zeros(1, times.dtype)])


GRIDS: dict[str, Callable[[int, Schedule], Array]] = {
    "linspace": lambda num_steps, schedule: linspace(num_steps),
    "quadratic": lambda num_steps, schedule: quadratic(num_steps),
    "karras": karras,
    "exponential": exponential,
}
"""``(num_steps, schedule) -> times``, by name: those that fit any model."""


def _check_steps(num_steps: int, num_train_steps: int | None = None) -> None:
    if num_train_steps is None and num_steps < 1:
        raise UserError(f"num_steps = {num_steps} must be at least 1")
    if num_train_steps is not None and not 1 <= num_steps <= num_train_steps:
        raise UserError(f"num_steps = {num_steps} must be between 1 and num_train_steps = {num_train_steps}")


def _discrete(steps: np.ndarray, num_train_steps: int) -> Array:
    return jnp.asarray(np.append(steps, 0) / num_train_steps)


def _bounds(
    num_steps: int, schedule: Schedule, sigma_min: ArrayLike | None, sigma_max: ArrayLike | None
) -> tuple[Array, Array]:
    """sigma / alpha at both ends."""
    _check_steps(num_steps)
    if sigma_min is None:
        first = 1 / schedule.table.size if isinstance(schedule, Discrete) else _EARLIEST
        sigma_min = jnp.exp(-0.5 * schedule.log_snr(first))
    if sigma_max is None:
        sigma_max = jnp.exp(-0.5 * schedule.log_snr(1.0))
        if not isinstance(sigma_max, jax.core.Tracer) and not sigma_max < _LARGEST_SIGMA:
            raise UserError("sigma_max is needed: nothing of the data is left at t = 1 of this schedule")
    low, high = jnp.asarray(sigma_min), jnp.asarray(sigma_max)
    if not any(isinstance(bound, jax.core.Tracer) for bound in (low, high)) and not 0 < low <= high:
        raise UserError(f"sigma_min = {low} must be above 0 and at most sigma_max = {high}")
    return low, high
