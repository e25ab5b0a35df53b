"""The classes of `diffusers` that step from one of the T trained times to another."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from genjax.diffusion import prediction, samplers, schedules
from genjax.diffusion.interop import spacing
from genjax.diffusion.interop.described import Described, bound_of, discrete, schedule_of, unbounded
from genjax.diffusion.interop.options import Options
from genjax.diffusion.prediction import Denoiser, Prediction
from genjax.diffusion.process import expand
from genjax.diffusion.schedules import Discrete
from genjax.typing import Array, UserError


def ddim(options: Options) -> Described:
    """DDIM, without the noise that callers may ask for there."""
    schedule = schedule_of(options, finite=False)
    num_train = schedule.table.size
    final = 0.0 if options.flag("set_alpha_to_one") else 1 / num_train
    return discrete(
        options, num_train, schedule, samplers.ddim(), spacing.whole_times(options, num_train, final)
    )


def ddpm(options: Options) -> Described:
    """Ancestral sampling."""
    schedule = schedule_of(options, finite=False)
    kinds = {"fixed_small": 0.0, "fixed_small_log": 0.0, "fixed_large": 1.0, "fixed_large_log": 1.0}
    sampler = samplers.ddpm(options.choose("variance_type", kinds))
    num_train = schedule.table.size
    return discrete(options, num_train, schedule, sampler, spacing.whole_times(options, num_train, 0.0))


def pndm(options: Options) -> Described:
    """PNDM; with skip_prk_steps PLMS, as for Stable Diffusion."""
    schedule = schedule_of(options)
    num_train = schedule.table.size
    final = 0.0 if options.flag("set_alpha_to_one") else 1 / num_train
    options.choose("prediction_type", {"epsilon": None, "v_prediction": None})
    sampler = samplers.pndm(options.flag("skip_prk_steps"))
    return discrete(options, num_train, schedule, sampler, spacing.whole_times(options, num_train, final))


def _distilled_times(options: Options, num_train: int, final: float) -> spacing.Times:
    """Some of the times at which a model was distilled."""
    num_original = options.number("original_inference_steps", "[1, inf)")
    original = np.arange(num_original, 0, -1) * (num_train // num_original)

    def times(num_steps: int) -> Array:
        if num_original > num_train:
            raise options.error("original_inference_steps", f"num_train_timesteps is only {num_train}")
        chosen = np.floor(np.linspace(0, num_original, num_steps, endpoint=False)).astype(int)
        return jnp.asarray(np.append(original[chosen] / num_train, final))

    return spacing.checked(times, num_original)


def lcm(options: Options) -> Described:
    """Latent consistency models; x0_hat is bounded before the boundary condition is applied to it."""
    schedule = schedule_of(options, finite=False)
    num_train = schedule.table.size
    scaling = options.number("timestep_scaling", "[0, inf)")
    times = _distilled_times(options, num_train, 0.0)
    described = discrete(options, num_train, schedule, samplers.consistency(), times)
    if described.bound is unbounded:
        return described._replace(
            prediction=prediction.lcm_boundary(described.prediction, num_train, scaling)
        )
    boundary = prediction.lcm_boundary(prediction.x0, num_train, scaling)
    return described._replace(bound=_with_boundary(boundary, bound_of(options), schedule))


def _with_boundary(
    boundary: Prediction, bound: Callable[[Denoiser], Denoiser], schedule: Discrete
) -> Callable[[Denoiser], Denoiser]:
    """A denoiser -> ``c_skip x_t + c_out x0_hat`` of `boundary`, with its x0_hat bounded."""

    def bounded(denoise: Denoiser) -> Denoiser:
        inner = bound(denoise)

        def at(x_t: Array, t: Array) -> Array:
            skip, out, _, _ = boundary(schedule, t)
            return expand(skip, x_t) * x_t + expand(out, x_t) * inner(x_t, t)

        return at

    return bounded


def tcd(options: Options) -> Described:
    """Trajectory consistency distillation. The class has fields for clipping and thresholding, but does neither."""
    schedule = schedule_of(options, finite=False)
    num_train = schedule.table.size
    times = _distilled_times(options, num_train, 1 / num_train)
    return discrete(options, num_train, schedule, samplers.tcd(0.3, num_train), times, unbounded)


def ipndm(options: Options) -> Described:
    """iPNDM on the path alpha = cos(pi t / 2), at times of which sigma is sin(pi u / 2)^2 with equal steps in u."""
    if options.get("trained_betas") is not None:
        raise UserError(f"{options.name}: trained_betas is not supported: they would be sigma, not betas")

    def times(num_steps: int) -> Array:
        sigma = np.sin(np.linspace(1, 0, num_steps + 1) * np.pi / 2) ** 2
        return jnp.asarray(np.arcsin(sigma) * 2 / np.pi)

    return Described(
        schedules.shifted_cosine(),
        prediction.v,
        samplers.ipndm(),
        spacing.checked(times),
        unbounded,
        lambda c_noise: c_noise,
    )
