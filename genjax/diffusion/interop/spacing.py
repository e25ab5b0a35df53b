"""The times at which the schedulers of `diffusers` step, by the names they have there.

Computed in float64 from the table of sigma / alpha at the T trained times, which are counted from 0 there: step i is
t = (i + 1) / T here. The rules differ between the classes in what seems a detail and is not: whether the K times are
the K points of a line, or the first K of K + 1; and whether they are rounded.
"""

from collections.abc import Callable
from typing import TypeAlias

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


def checked(times: Times, most: int | None = None) -> Times:
    """Raises a UserError for a number of steps that makes no sense."""

    def check(num_steps: int) -> Array:
        if num_steps < 1 or (most is not None and num_steps > most):
            raise UserError(f"num_steps = {num_steps} must be between 1 and {most or 'infinity'}")
        return times(num_steps)

    return check


def ancestral_times(options: Options, num_train: int, final: float) -> Times:
    """Of DDPM and DDIM, which step by T // K whatever the grid is: only grids where that is the same."""
    offset = options.get("steps_offset", 0)

    def leading(num_steps: int) -> np.ndarray:
        return np.arange(num_steps)[::-1] * (num_train // num_steps) + offset

    def trailing(num_steps: int) -> np.ndarray:
        if num_train % num_steps:
            raise UserError(
                f"num_steps = {num_steps} must divide num_train_timesteps = {num_train}: with trailing spacing "
                f"{options.name} would step to other times than it evaluates the network at"
            )
        return np.arange(num_train, 0, -num_train // num_steps) - 1

    steps: Steps = options.choose("timestep_spacing", {"leading": leading, "trailing": trailing}, "leading")
    return checked(lambda k: jnp.asarray(np.append((steps(k) + 1) / num_train, final)), num_train)


def sigma_times(options: Options, schedule: Discrete, *, intervals: bool, final: str = "zero") -> Times:
    """Of the samplers that step in sigma / alpha.

    Args:
        options: timestep_spacing, steps_offset, final_sigmas_type, and which grid in sigma replaces the spacing.
        schedule: the discrete schedule.
        intervals: whether the K times are the first of K + 1 on a line from T - 1 to 0.
        final: final_sigmas_type where the file has none.
    """
    num_train = schedule.table.size
    table = np.exp(-0.5 * np.asarray(schedule.table, np.float64))
    offset = options.get("steps_offset", 0)
    points = 1 if intervals else 0

    def linspace(num_steps: int) -> np.ndarray:
        steps = np.linspace(0, num_train - 1, num_steps + points)[::-1][:num_steps]
        return steps.round() if intervals else steps

    def leading(num_steps: int) -> np.ndarray:
        ratio = num_train // (num_steps + points)
        return np.arange(num_steps + points)[::-1][:num_steps] * ratio + offset

    def trailing(num_steps: int) -> np.ndarray:
        return np.arange(num_train, 0, -num_train / num_steps).round()[:num_steps] - 1

    spacings = {"linspace": linspace, "leading": leading, "trailing": trailing}
    steps: Steps = options.choose("timestep_spacing", spacings, "linspace")
    last = options.choose("final_sigmas_type", {"zero": None, "sigma_min": table[0]}, final)
    options.refuse(
        use_beta_sigmas="its quantiles need more than numpy has",
        use_flow_sigmas="take a FlowMatch scheduler",
        use_dynamic_shifting="take a FlowMatch scheduler",
    )
    ramp = _ramp(options)

    def sigmas(num_steps: int) -> np.ndarray:
        chosen = np.interp(steps(num_steps), np.arange(num_train), table)
        if ramp is None:
            return chosen
        low, high = (table[0], table[-1]) if intervals else (chosen[-1], chosen[0])
        low, high = options.get("sigma_min", None) or low, options.get("sigma_max", None) or high
        return ramp(np.linspace(0, 1, num_steps), low, high)

    for name in ("sigma_min", "sigma_max", "flow_shift", "time_shift_type", "lambda_min_clipped"):
        options.get(name, None)  # without effect, but for the first two in a ramp

    def times(num_steps: int) -> Array:
        values = sigmas(num_steps)
        if last is None:
            return of_sigmas(values, schedule)
        return of_sigmas(np.append(values, last), schedule)[:-1]

    return checked(times, num_train)


def _ramp(options: Options) -> Callable[[np.ndarray, float, float], np.ndarray] | None:
    """A grid in sigma / alpha from high to low, or None for one in steps."""
    kinds = {
        "use_karras_sigmas": between,
        "use_exponential_sigmas": exponential,
        "use_lu_lambdas": exponential,
    }
    asked = [ramp for name, ramp in kinds.items() if options.get(name, False)]
    if len(asked) > 1:
        raise UserError(f"{options.name}: only one of {', '.join(kinds)} may be true")
    return asked[0] if asked else None


def exponential(part: np.ndarray, low: float, high: float) -> np.ndarray:
    """Equal steps in log(sigma)."""
    return np.exp(np.log(high) + part * (np.log(low) - np.log(high)))
