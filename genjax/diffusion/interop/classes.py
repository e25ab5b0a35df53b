"""What each scheduler class of `diffusers` is, in the terms of this library."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np

from genjax.diffusion import grids, guidance, prediction, samplers, schedules
from genjax.diffusion.interop import spacing
from genjax.diffusion.interop.options import Options
from genjax.diffusion.prediction import Denoiser, Prediction
from genjax.diffusion.samplers import Sampler
from genjax.diffusion.samplers import coordinates as coordinate_systems
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
        times: K -> float[K+1], the times of K steps.
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

_PREDICTIONS = {"epsilon": prediction.eps, "sample": prediction.x0, "v_prediction": prediction.v}
_BETAS: dict[str, Callable[..., Discrete]] = {
    "linear": schedules.linear,
    "scaled_linear": schedules.scaled_linear,
    "squaredcos_cap_v2": lambda num_steps, *_: schedules.cosine(num_steps),
    "sigmoid": schedules.sigmoid_betas,
}
_SD_BETAS = {"start": 0.00085, "end": 0.012}


def _schedule(
    options: Options, *, start: float = 1e-4, end: float = 0.02, kind: str = "linear", finite: bool = True
) -> Discrete:
    """The table of betas.

    Args:
        options: options of the file.
        start: beta_start where the file has none.
        end: beta_end where the file has none.
        kind: beta_schedule where the file has none.
        finite: whether a terminal SNR of 0 is replaced by a small one.
    """
    num_steps = options.get("num_train_timesteps", 1000)
    bounds = options.get("beta_start", start), options.get("beta_end", end)
    make = options.choose("beta_schedule", _BETAS, kind)
    trained = options.get("trained_betas", None)
    schedule = make(num_steps, *bounds) if trained is None else schedules.from_betas(np.asarray(trained))
    if options.get("rescale_betas_zero_snr", False):
        schedule = schedules.zero_terminal_snr(schedule)
        if finite:
            lowest = np.log(_SMALLEST_ALPHA_BAR) - np.log1p(-_SMALLEST_ALPHA_BAR)
            schedule = Discrete(schedule.table.at[-1].set(lowest))
    return schedule


def _bound(options: Options, clips: bool) -> Callable[[Denoiser], Denoiser]:
    """Clipping or dynamic thresholding; `clips`: whether a file that does not say so clips."""
    limit = options.get("clip_sample_range", 1.0)
    ratio = options.get("dynamic_thresholding_ratio", 0.995)
    maximum = options.get("sample_max_value", 1.0)
    if options.get("thresholding", False):
        return lambda denoise: guidance.dynamic_threshold(denoise, ratio, maximum)
    if options.get("clip_sample", clips):
        return lambda denoise: guidance.clip(denoise, -limit, limit)
    return lambda denoise: denoise


def _discrete(
    options: Options, schedule: Discrete, sampler: Sampler, times: spacing.Times, clips: bool = False
) -> Described:
    """A model trained at T steps, which its network counts from 0."""
    predict = options.choose("prediction_type", _PREDICTIONS, "epsilon")
    num_train = schedule.table.size
    return Described(
        schedule, predict, sampler, times, _bound(options, clips), lambda c_noise: c_noise * num_train - 1
    )


def _ddim(options: Options) -> Described:
    schedule = _schedule(options, finite=False)
    num_train = schedule.table.size
    final = 0.0 if options.get("set_alpha_to_one", True) else 1 / num_train
    times = spacing.ancestral_times(options, num_train, final)
    return _discrete(options, schedule, samplers.ddim(), times, clips=True)


def _ddpm(options: Options) -> Described:
    schedule = _schedule(options, finite=False)
    kinds = {"fixed_small": 0.0, "fixed_small_log": 0.0, "fixed_large": 1.0, "fixed_large_log": 1.0}
    sampler = samplers.ddpm(options.choose("variance_type", kinds, "fixed_small"))
    times = spacing.ancestral_times(options, schedule.table.size, 0.0)
    return _discrete(options, schedule, sampler, times, clips=True)


def _in_sigma(make: Callable[[], Sampler], **betas: Any) -> Describe:
    """The samplers of k-diffusion."""

    def describe(options: Options) -> Described:
        schedule = _schedule(options, **betas)
        options.choose("interpolation_type", {"linear": None}, "linear")
        options.choose("timestep_type", {"discrete": None}, "discrete")
        return _discrete(options, schedule, make(), spacing.sigma_times(options, schedule, intervals=False))

    return describe


def _dpm_multistep(options: Options) -> Described:
    schedule = _schedule(options)
    sampler = _multistep(options)
    return _discrete(options, schedule, sampler, spacing.sigma_times(options, schedule, intervals=True))


def _multistep(options: Options) -> Sampler:
    solver = options.choose("solver_type", _SOLVERS, "midpoint")
    low = options.get("lower_order_final", True)
    options.refuse(
        euler_at_final="the last step has order 1 with final_sigmas_type = 'zero'",
        variance_type="take DDPMScheduler for a learned variance",
    )
    kinds: dict[str, dict[int, Callable[[], Sampler]]] = {
        "dpmsolver++": {
            1: samplers.ddim,
            2: lambda: samplers.dpm_solver_pp_2m(solver, low),
            3: lambda: samplers.dpm_solver_pp_3m(solver, low),
        },
        "dpmsolver": {
            1: samplers.ddim,
            2: lambda: samplers.dpm_solver_multistep(2, solver, low),
            3: lambda: samplers.dpm_solver_multistep(3, solver, low),
        },
        "sde-dpmsolver++": {
            2: lambda: samplers.dpm_solver_pp_2m_sde(1.0, solver, low),
        },
    }
    return options.choose("solver_order", options.choose("algorithm_type", kinds, "dpmsolver++"), 2)()


_SOLVERS = {
    "midpoint": "midpoint",
    "heun": "heun",
    "bh1": "midpoint",
    "bh2": "midpoint",
    "logrho": "midpoint",
}


def _dpm_singlestep(options: Options) -> Described:
    schedule = _schedule(options)
    solver = options.choose("solver_type", _SOLVERS, "midpoint")
    # They switch it on themselves where the last sigma is 0.
    low = options.get("lower_order_final", False) or options.get("final_sigmas_type", "zero") == "zero"
    kinds: dict[str, dict[int, Callable[[], Sampler]]] = {
        "dpmsolver": {
            1: samplers.ddim,
            2: lambda: samplers.dpm_solver_singlestep(2, solver, low),
            3: lambda: samplers.dpm_solver_singlestep(3, solver, low),
        },
        "dpmsolver++": {
            1: samplers.ddim,
            2: lambda: samplers.dpm_solver_pp_2s(solver, low),
            3: lambda: samplers.dpm_solver_pp_3s(solver, low),
        },
    }
    options.refuse(variance_type="take DDPMScheduler for a learned variance")
    sampler = options.choose("solver_order", options.choose("algorithm_type", kinds, "dpmsolver++"), 2)()
    return _discrete(options, schedule, sampler, spacing.sigma_times(options, schedule, intervals=True))


def _deis(options: Options) -> Described:
    schedule = _schedule(options)
    options.choose("algorithm_type", {"deis": 0, "dpmsolver": 0, "dpmsolver++": 0}, "deis")
    options.choose("solver_type", {"logrho": 0, "midpoint": 0, "heun": 0, "bh1": 0, "bh2": 0}, "logrho")
    order = options.choose("solver_order", {1: 1, 2: 2, 3: 3}, 2)
    sampler = samplers.deis(order, options.get("lower_order_final", True))
    times = spacing.sigma_times(options, schedule, intervals=True, final="sigma_min")
    return _discrete(options, schedule, sampler, times)


def _unipc(options: Options) -> Described:
    schedule = _schedule(options)
    options.refuse(
        solver_p="another solver inside of UniPC", disable_corrector="a corrector for some steps only"
    )
    sampler = samplers.unipc(
        options.choose("solver_order", {1: 1, 2: 2, 3: 3}, 2),
        options.choose("solver_type", {"bh1": "bh1", "bh2": "bh2", "midpoint": "bh2", "heun": "bh2"}, "bh2"),
        "data" if options.get("predict_x0", True) else "noise",
        lower_order_final=options.get("lower_order_final", True),
    )
    return _discrete(options, schedule, sampler, spacing.sigma_times(options, schedule, intervals=True))


def _edm(make: Callable[[Options], Sampler]) -> Describe:
    def describe(options: Options) -> Described:
        low, high = options.get("sigma_min", 0.002), options.get("sigma_max", 80.0)
        rho, data = options.get("rho", 7.0), options.get("sigma_data", 0.5)
        schedule = schedules.edm(low, high, rho)
        options.choose("prediction_type", {"epsilon": 0}, "epsilon")
        ramps = {"karras": grids.between, "exponential": lambda p, a, b, _: spacing.exponential(p, a, b)}
        ramp = options.choose("sigma_schedule", ramps, "karras")
        options.choose("final_sigmas_type", {"zero": 0}, "zero")
        options.get("num_train_timesteps", 1000)

        def times(num_steps: int) -> Array:
            return spacing.of_sigmas(ramp(np.linspace(0, 1, num_steps), low, high, rho), schedule)

        predict = prediction.edm(data)
        return Described(
            schedule,
            predict,
            make(options),
            spacing.checked(times),
            _bound(options, False),
            lambda c_noise: c_noise,
        )

    return describe


def _flow(make: Callable[[Options], Sampler]) -> Describe:
    def describe(options: Options) -> Described:
        num_train, shift = options.get("num_train_timesteps", 1000), options.get("shift", 1.0)
        options.refuse(
            use_dynamic_shifting="the shift depends on the image: give it as `shift`",
            shift_terminal="not written",
            invert_sigmas="not written",
            use_beta_sigmas="its quantiles need more than numpy has",
        )
        for name in ("base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len", "time_shift_type"):
            options.get(name, None)  # of dynamic shifting
        kinds = {"use_karras_sigmas": grids.between, "use_exponential_sigmas": spacing.exponential}
        ramps = [ramp for name, ramp in kinds.items() if options.get(name, False)]

        def shifted(u: Any) -> Any:
            return shift * u / (1 + (shift - 1) * u)

        def times(num_steps: int) -> Array:
            # Shifted twice, the first time only at the end: what they do.
            u = shifted(np.linspace(1.0, shifted(1 / num_train), num_steps))
            if ramps:
                u = ramps[0](np.linspace(0, 1, num_steps), u[-1], u[0])
            return jnp.asarray(np.append(u, 0.0))

        return Described(
            schedules.flow(),
            prediction.flow,
            make(options),
            spacing.checked(times, num_train),
            lambda denoise: denoise,
            lambda c_noise: c_noise * num_train,
        )

    return describe


def _flow_euler(options: Options) -> Sampler:
    return samplers.consistency() if options.get("stochastic_sampling", False) else samplers.euler()


CLASSES: dict[str, Describe] = {
    "DDIMScheduler": _ddim,
    "DDIMParallelScheduler": _ddim,
    "DDPMScheduler": _ddpm,
    "DDPMParallelScheduler": _ddpm,
    "EulerDiscreteScheduler": _in_sigma(samplers.euler),
    "EulerAncestralDiscreteScheduler": _in_sigma(samplers.euler_ancestral),
    "HeunDiscreteScheduler": _in_sigma(samplers.heun, **_SD_BETAS),
    "KDPM2DiscreteScheduler": _in_sigma(samplers.dpm2, **_SD_BETAS),
    "KDPM2AncestralDiscreteScheduler": _in_sigma(samplers.dpm2_ancestral, **_SD_BETAS),
    "LMSDiscreteScheduler": _in_sigma(samplers.lms),
    "DPMSolverMultistepScheduler": _dpm_multistep,
    "DPMSolverSinglestepScheduler": _dpm_singlestep,
    "DEISMultistepScheduler": _deis,
    "UniPCMultistepScheduler": _unipc,
    "EDMEulerScheduler": _edm(lambda options: samplers.euler()),
    "EDMDPMSolverMultistepScheduler": _edm(_multistep),
    "FlowMatchEulerDiscreteScheduler": _flow(_flow_euler),
    "FlowMatchHeunDiscreteScheduler": _flow(
        lambda options: samplers.heun(coordinates=coordinate_systems.flow)
    ),
}
"""By class name, those that are supported."""
