"""The times at which the schedulers of `diffusers` step, by the names they have there.

Computed in float64 from the table of sigma / alpha at the T trained times, which are counted from 0 there: step i is
t = (i + 1) / T here. The rules differ between the classes in what seems a detail and is not: whether the K times are
the K points of a line, or the first K of K + 1; and whether they are rounded.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np

from genjax.diffusion.grids import between, of_sigmas
from genjax.diffusion.interop.options import Options
from genjax.diffusion.schedules import Discrete
from genjax.typing import Array, UserError

Steps: TypeAlias = Callable[[int], np.ndarray]
"""K -> K of the steps 0..T-1, decreasing, maybe between whole ones."""
Times: TypeAlias = Callable[[int], Array]
"""K -> the K + 1 times of the grid."""
Ramp: TypeAlias = Callable[[np.ndarray, float, float], np.ndarray]
"""``(part [K], low, high) -> sigmas [K]``: from high, at part 0, to low, at part 1."""


class Grid(NamedTuple):
    """A grid in sigma / alpha.

    Attributes:
        schedule: has a time for each of the sigmas.
        times: K -> the K + 1 times.
        ends_twice: whether the last two times are the same: the K-th step is no step.
    """

    schedule: Discrete
    times: Times
    ends_twice: bool


def checked(times: Times, most: int | None = None) -> Times:
    """A grid that raises a UserError for a number of steps that makes no sense.

    Args:
        times: K -> float[K+1].
        most: the largest number of steps; none if left out.
    """

    def check(num_steps: int) -> Array:
        if num_steps < 1 or (most is not None and num_steps > most):
            raise UserError(f"num_steps = {num_steps} must be between 1 and {most or 'infinity'}")
        return times(num_steps)

    return check


def spaced_steps(options: Options, num_train: int, most: int, intervals: bool, whole: bool) -> Steps:
    """K -> the steps by `timestep_spacing`.

    Args:
        options: timestep_spacing and steps_offset.
        num_train: T, the number of trained times.
        most: the number of steps, from 0 on, that are used: T or, where lambda is clipped, less.
        intervals: whether the K steps are the first of K + 1 on a line.
        whole: whether they are rounded on that line.

    Returns:
        K -> float64[K], decreasing, in [0, T - 1].
    """
    points = 1 if intervals else 0
    offset = options.number("steps_offset", "[0, inf)") if options.get("steps_offset") else 0

    def linspace(num_steps: int) -> np.ndarray:
        steps = np.linspace(0, most - 1, num_steps + points)[::-1][:num_steps]
        return steps.round() if whole else steps

    def leading(num_steps: int) -> np.ndarray:
        ratio = most // (num_steps + points)
        steps = np.arange(num_steps + points)[::-1][:num_steps] * ratio + offset
        if ratio == 0 or steps[0] >= num_train:
            raise UserError(
                f"num_steps = {num_steps} is too many for num_train_timesteps = {num_train} with "
                f"timestep_spacing = 'leading' and steps_offset = {offset}"
            )
        return steps

    def trailing(num_steps: int) -> np.ndarray:
        if most < num_train:
            raise options.error("lambda_min_clipped", "'trailing' spacing would make fewer steps")
        return np.arange(num_train, 0, -num_train / num_steps).round()[:num_steps] - 1

    spacings: Mapping[str, Steps] = {"linspace": linspace, "leading": leading, "trailing": trailing}
    return options.choose("timestep_spacing", spacings, "linspace")


def whole_times(options: Options, num_train: int, final: float) -> Times:
    """Of the classes that know the T trained times only.

    Args:
        options: timestep_spacing and steps_offset.
        num_train: T, the number of trained times.
        final: the last time.

    Returns:
        K -> float[K+1], the times.
    """
    steps = spaced_steps(options, num_train, num_train, intervals=False, whole=True)
    return checked(lambda k: jnp.asarray(np.append((steps(k) + 1) / num_train, final)), num_train)


def sigma_times(
    options: Options,
    schedule: Discrete,
    *,
    intervals: bool,
    final: str = "zero",
    ramp_ends_twice: bool = False,
) -> Grid:
    """Of the samplers that step in sigma / alpha.

    Args:
        options: timestep_spacing, steps_offset, final_sigmas_type, and which ramp in sigma replaces the spacing.
        schedule: the discrete schedule.
        intervals: whether the K times are the first of K + 1 on a line from T - 1 to 0.
        final: final_sigmas_type of a class that has no such field.
        ramp_ends_twice: whether "sigma_min" is the last sigma of a ramp, else it is the first of the table.
    """
    num_train = schedule.table.size
    table = np.exp(-0.5 * np.asarray(schedule.table, np.float64))
    clipped = options.get("lambda_min_clipped", -np.inf)
    most = num_train - int(np.sum(-np.log(table) < clipped))
    steps = spaced_steps(options, num_train, most, intervals, whole=intervals)
    ends_at_zero = options.choose("final_sigmas_type", {"zero": True, "sigma_min": False}, final)
    ramp = _ramp(options)
    lowest, highest = (_bound(options, name) if ramp else None for name in ("sigma_min", "sigma_max"))
    if ramp and not ends_at_zero and not ramp_ends_twice and (lowest or np.inf) < table[0]:
        raise options.error(
            "sigma_min", f"final_sigmas_type = 'sigma_min' would go up again, to {table[0]:.4g}, from there"
        )
    if highest is not None and highest > table[-1]:
        longer = np.append(np.asarray(schedule.table, np.float64), -2 * np.log(highest))
        schedule = Discrete(jnp.asarray(longer, schedule.table.dtype))

    def times(num_steps: int) -> Array:
        sigmas = np.interp(steps(num_steps), np.arange(num_train), table)
        last = table[0]
        if ramp:
            low, high = (table[0], table[-1]) if of_whole_table else (sigmas[-1], sigmas[0])
            low, high = lowest or low, highest or high
            if low > high:
                raise UserError(f"{options.name}: sigma_min = {low} must be below sigma_max = {high}")
            sigmas = ramp(np.linspace(0, 1, num_steps), low, high)
            if ramp_ends_twice or np.isclose(sigmas[-1], last, rtol=1e-6, atol=0):
                last = sigmas[-1]
        if ends_at_zero:
            return of_sigmas(sigmas, schedule)
        return of_sigmas(np.append(sigmas, last), schedule)[:-1]

    of_whole_table = intervals or options.get("interpolation_type") == "log_linear"
    ends_twice = ramp is not None and not ends_at_zero and (ramp_ends_twice or (intervals and lowest is None))
    return Grid(schedule, checked(times, num_train), ends_twice)


def _bound(options: Options, name: str) -> float | None:
    return None if options.get(name) is None else options.number(name, "(0, inf)")


def ramp_of(options: Options, kinds: Mapping[str, Ramp]) -> Ramp | None:
    """The one of these that is true in the file, ``(part [K], low, high) -> float64[K]``, or None.

    Raises:
        UserError: if several are.
    """
    asked = [ramp for name, ramp in kinds.items() if options.flag(name)]
    if len(asked) > 1:
        raise UserError(f"{options.name}: only one of {', '.join(kinds)} may be true")
    return asked[0] if asked else None


def _ramp(options: Options) -> Ramp | None:
    return ramp_of(options, RAMPS | {"use_lu_lambdas": exponential})


def exponential(part: np.ndarray, low: float, high: float) -> np.ndarray:
    """Equal steps in log(sigma): float64[K], from `high` at part 0 to `low` at part 1.

    Args:
        part: float64[K].
        low: the last sigma; a number.
        high: the first sigma; a number.
    """
    return np.exp(np.log(high) + part * (np.log(low) - np.log(high)))


def beta_quantiles(part: np.ndarray, low: float, high: float) -> np.ndarray:
    """Quantiles of the beta distribution B(0.6, 0.6): short steps at both ends.

    Args:
        part: float64[K], as in `exponential`.
        low: the last sigma; a number.
        high: the first sigma; a number.

    References:
        Lee et al., "Beta Sampling is All You Need: Efficient Image Generation Strategy for Diffusion Models using
        Stepwise Spectral Analysis" (2024), section 4.
    """
    from scipy.special import betaincinv  # comes with jax

    return low + betaincinv(0.6, 0.6, 1 - part) * (high - low)


RAMPS: dict[str, Ramp] = {
    "use_karras_sigmas": between,
    "use_exponential_sigmas": exponential,
    "use_beta_sigmas": beta_quantiles,
}
"""Grids in sigma / alpha, by the field that asks for them."""


def flow_sigmas(
    options: Options, shift: float, *, from_one: bool, num_train: int
) -> Callable[[int], np.ndarray]:
    """K -> sigma of rectified flow at the K steps of `use_flow_sigmas`: equal steps, then shifted; float64[K].

    Args:
        options: shift_terminal.
        shift: of `schedules.flow`.
        from_one: whether the first sigma is 1, less a millionth, and the last of K + 1 is 1 / T; otherwise they are
            one minus these.
        num_train: T, the number of trained times.
    """

    def shifted(u: np.ndarray) -> np.ndarray:
        return shift * u / (1 + (shift - 1) * u)

    def sigmas(num_steps: int) -> np.ndarray:
        line = np.linspace(1.0, 1 / num_train, num_steps + 1)
        values = shifted(line[:-1]) if from_one else shifted(1 - line)[::-1][:-1]
        terminal = options.get("shift_terminal")
        if terminal:
            values = stretched(values, terminal)
        if from_one and abs(values[0] - 1) < 1e-6:
            values = np.append(values[0] - 1e-6, values[1:])
        return values

    return sigmas


def stretched(sigmas: np.ndarray, terminal: float) -> np.ndarray:
    """The sigmas float64[K] with 1 - sigma times the factor that makes the last one `terminal`.

    Raises:
        UserError: if the last sigma is 1, as where it is the only one.
    """
    if not sigmas[-1] < 1:
        raise UserError(f"num_steps = {sigmas.size} must be at least 2 with shift_terminal = {terminal}")
    return 1 - (1 - sigmas) * (1 - terminal) / (1 - sigmas[-1])
