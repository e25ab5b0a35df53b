"""The classes of `diffusers` whose noise levels are given by a formula: EDM, consistency models, score SDEs, flows."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from genjax.diffusion import grids, guidance, prediction, samplers, schedules
from genjax.diffusion.interop import spacing
from genjax.diffusion.interop.described import Describe, Described, bound_of, unbounded
from genjax.diffusion.interop.in_sigma import dynamic_shift, told_of_all
from genjax.diffusion.interop.options import Options
from genjax.diffusion.prediction import Coefficients, Prediction
from genjax.diffusion.samplers import Sampler
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array


def edm(make: Callable[[Options], Sampler]) -> Describe:
    """Samplers of EDM's preconditioned networks."""

    def describe(options: Options) -> Described:
        low, high = options.number("sigma_min", "(0, inf)"), options.number("sigma_max", "(0, inf)")
        rho, data = options.number("rho", "(0, inf)"), options.number("sigma_data", "(0, inf)")
        schedule = schedules.edm(low, high, rho)
        predictions = {"epsilon": prediction.edm(data), "v_prediction": _negated(prediction.edm(data))}
        ramps = {"karras": grids.between, "exponential": lambda p, a, b, _: spacing.exponential(p, a, b)}
        ramp = options.choose("sigma_schedule", ramps)
        ends_at_zero = options.choose("final_sigmas_type", {"zero": True, "sigma_min": False})

        def times(num_steps: int) -> Array:
            of_ramp = spacing.of_sigmas(ramp(np.linspace(0, 1, num_steps), low, high, rho), schedule)
            return of_ramp if ends_at_zero else of_ramp.at[-1].set(of_ramp[-2])

        return Described(
            schedule,
            options.choose("prediction_type", predictions),
            told_of_all(make(options), not ends_at_zero),
            spacing.checked(times),
            bound_of(options),
            lambda c_noise: c_noise,
        )

    return describe


def _negated(inner: Prediction) -> Prediction:
    """The same with a network that outputs the negative."""

    def coefficients(schedule: Schedule, t: Array) -> Coefficients:
        values = inner(schedule, t)
        return values._replace(c_out=-values.c_out)

    return coefficients


def consistency(options: Options) -> Described:
    """Consistency models."""
    low, high = options.number("sigma_min", "(0, inf)"), options.number("sigma_max", "(0, inf)")
    rho, num_train = options.number("rho", "(0, inf)"), options.number("num_train_timesteps", "[2, inf)")
    schedule = schedules.edm(low, high, rho)
    if options.get("s_noise") != 1:
        raise options.error("s_noise", "samples would have another noise than they are taken to have")

    def times(num_steps: int) -> Array:
        part = np.arange(num_steps) * (num_train // num_steps) / (num_train - 1)
        return spacing.of_sigmas(grids.between(part, low, high, rho), schedule)

    return Described(
        schedule,
        prediction.consistency_edm(low, options.number("sigma_data", "(0, inf)")),
        samplers.consistency(low),
        spacing.checked(times, num_train),
        guidance.clip if options.flag("clip_denoised") else unbounded,
        lambda c_noise: 1000 * c_noise,
    )


def score_sde(options: Options) -> Described:
    """Score-based models of an exploding variance; their networks are told sigma."""
    low, high = options.number("sigma_min", "(0, inf)"), options.number("sigma_max", "(0, inf)")
    schedule = schedules.ve(low, high)
    sampler = samplers.predictor_corrector(
        samplers.reverse_diffusion(),
        options.number("snr", "(0, inf)"),
        options.number("correct_steps", "[0, inf)"),
    )

    def times(num_steps: int) -> Array:
        return spacing.of_sigmas(spacing.exponential(np.linspace(0, 1, num_steps), low, high), schedule)

    return Described(
        schedule,
        prediction.score,
        sampler,
        spacing.checked(times, options.number("num_train_timesteps", "[1, inf)")),
        unbounded,
        schedule.sigma,
    )


def trigflow(options: Options) -> Described:
    """Consistency models of TrigFlow, sCM. x and the outputs of the network are divided by sigma_data here."""
    options.choose("prediction_type", {"trigflow": None})
    options.number("sigma_data", "(0, inf)")

    def times(num_steps: int) -> Array:
        if num_steps == 2:
            return jnp.asarray([1.0, 1.3 * 2 / np.pi, 0.0])
        return jnp.asarray(np.linspace(1, 0, num_steps + 1))

    return Described(
        schedules.shifted_cosine(),
        prediction.v,
        samplers.consistency(),
        spacing.checked(times, options.number("num_train_timesteps", "[1, inf)")),
        unbounded,
        lambda c_noise: c_noise * np.pi / 2,
    )


def flow(make: Callable[[Options], Sampler]) -> Describe:
    """Rectified flow."""

    def describe(options: Options) -> Described:
        num_train = options.number("num_train_timesteps", "[1, inf)")
        options.refuse(invert_sigmas="time would run from data to noise")
        is_dynamic = options.flag("use_dynamic_shifting")
        shift = dynamic_shift(options) if is_dynamic else options.number("shift", "(0, inf)")
        ramp, terminal = spacing.ramp_of(options, spacing.RAMPS), options.get("shift_terminal")

        def shifted(u: Any) -> Any:
            return shift * u / (1 + (shift - 1) * u)

        def times(num_steps: int) -> Array:
            last = 1 / num_train
            # A shift that is fixed is applied twice at the end: what they do.
            u = shifted(np.linspace(1.0, last if is_dynamic else shifted(last), num_steps))
            if terminal:
                u = spacing.stretched(u, options.number("shift_terminal", "(0, 1)"))
            if ramp:
                u = ramp(np.linspace(0, 1, num_steps), u[-1], u[0])
            return jnp.asarray(np.append(u, 0.0))

        return Described(
            schedules.flow(),
            prediction.flow,
            make(options),
            spacing.checked(times, num_train),
            unbounded,
            lambda c_noise: c_noise * num_train,
        )

    return describe


def flow_euler(options: Options) -> Sampler:
    """Euler's method or, for few-step models, new noise in every step."""
    return samplers.consistency() if options.flag("stochastic_sampling") else samplers.euler()
