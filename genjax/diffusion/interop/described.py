"""What a file of `diffusers` describes, and what the readers of its classes share."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np

from genjax.diffusion import guidance, prediction, schedules
from genjax.diffusion.interop import spacing
from genjax.diffusion.interop.options import Options
from genjax.diffusion.prediction import Denoiser, Prediction
from genjax.diffusion.samplers import Sampler
from genjax.diffusion.schedules import Discrete, Schedule
from genjax.typing import Array

# What they put in place of alpha_bar = 0 where sigma / alpha must be finite.
_SMALLEST_ALPHA_BAR = 2.0**-24


class Described(NamedTuple):
    """What a `scheduler_config.json` describes.

    Attributes:
        schedule: the noise schedule.
        prediction: what the network predicts.
        sampler: the sampler.
        times: K -> float[K+1], the times of K steps. Where a time is repeated, its step is no step.
        bound: denoiser -> denoiser: the clipping or thresholding of x0_hat that the file asks for.
        timestep: c_noise, which `denoiser` gives to a network -> the number that the network of that file takes for it.
    """

    schedule: Schedule
    prediction: Prediction
    sampler: Sampler
    times: spacing.Times
    bound: Callable[[Denoiser], Denoiser]
    timestep: Callable[[Array], Array]


Describe: TypeAlias = Callable[[Options], Described]

PREDICTIONS = {
    "epsilon": prediction.eps,
    "sample": prediction.x0,
    "original_sample": prediction.x0,
    "v_prediction": prediction.v,
}
_BETAS: dict[str, Callable[..., Discrete]] = {
    "linear": schedules.linear,
    "scaled_linear": schedules.scaled_linear,
    "squaredcos_cap_v2": lambda num_steps, *_: schedules.cosine(num_steps),
    "sigmoid": schedules.sigmoid_betas,
    "exp": lambda num_steps, *_: _exponential(num_steps),
}


def _exponential(num_steps: int) -> Discrete:
    """alpha_bar = exp(-12 t): equal betas."""
    return schedules.from_betas(np.full(num_steps, min(-np.expm1(-12 / num_steps), 0.999)))


def schedule_of(options: Options, *, finite: bool = True) -> Discrete:
    """The table of betas.

    Args:
        options: options of the file.
        finite: whether a terminal SNR of 0 is replaced by a small one.
    """
    num_steps = options.number("num_train_timesteps", "[1, inf)")
    trained = options.get("trained_betas")
    if trained is not None:
        schedule = schedules.from_betas(np.asarray(trained))
    else:
        make = options.choose("beta_schedule", _BETAS)
        schedule = make(
            num_steps, options.number("beta_start", "(0, 1)"), options.number("beta_end", "(0, 1)")
        )
    if options.flag("rescale_betas_zero_snr"):
        lowest = float(np.log(_SMALLEST_ALPHA_BAR) - np.log1p(-_SMALLEST_ALPHA_BAR))
        schedule = (
            schedules.zero_terminal_snr(schedule, lowest) if finite else schedules.zero_terminal_snr(schedule)
        )
    return schedule


def bound_of(options: Options) -> Callable[[Denoiser], Denoiser]:
    """Dynamic thresholding or, if there is none, clipping.

    Returns:
        denoiser -> denoiser of the same x_t float[B, ...].

    Raises:
        UserError: if one of their numbers makes no sense.
    """
    if options.flag("thresholding"):
        ratio = options.number("dynamic_thresholding_ratio", "[0, 1]")
        maximum = options.number("sample_max_value", "[1, inf)")
        return lambda denoise: guidance.dynamic_threshold(denoise, ratio, maximum)
    if options.flag("clip_sample"):
        limit = options.number("clip_sample_range", "(0, inf)")
        return lambda denoise: guidance.clip(denoise, -limit, limit)
    return unbounded


def unbounded(denoise: Denoiser) -> Denoiser:
    """The denoiser of x_t float[B, ...] as it is."""
    return denoise


def discrete(
    options: Options,
    num_train: int,
    schedule: Discrete,
    sampler: Sampler,
    times: spacing.Times,
    bound: Callable[[Denoiser], Denoiser] | None = None,
) -> Described:
    """A model trained at T steps, which its network counts from 0.

    Args:
        options: options of the file.
        num_train: T, the number of trained times. The schedule may reach further than that.
        schedule: the schedule.
        sampler: the sampler.
        times: the grid, K -> float[K+1].
        bound: `bound_of` the options if left out.
    """
    size = schedule.table.size

    def timestep(c_noise: Array) -> Array:
        return jnp.clip(c_noise * size - 1, 0, num_train - 1)

    predict = options.choose("prediction_type", PREDICTIONS, "epsilon")
    return Described(schedule, predict, sampler, times, bound or bound_of(options), timestep)
