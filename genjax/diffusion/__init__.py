"""The noise-schedule and sampler core: pure, jittable functions, no network inside.

Any sampler, with any prediction, any schedule and any guidance::

    schedule = schedules.cosine()
    denoise = guidance.clip(denoiser(network, schedule, prediction.v))
    x_T = initial_noise(keys, (32, 32, 3), schedule)
    images = sample(keys, x_T, grids.linspace(50), denoise, samplers.ddim(eta=0.5), schedule)

* `schedules`: alpha(t), sigma(t), log-SNR and its inverse.
* `process`: q(x_t | x_0) and q(x_s | x_t, x_0).
* `prediction`: what the network predicts: four coefficients each; `learned_variance`: and how certain it is.
* `times`, `weighting`, `distance`, `uncertainty`: what is trained when, and how much it counts.
* `grids`: the times at which a sampler steps.
* `guidance`: functions from denoiser to denoiser.
* `samplers`: one sampler a file.
* `sampling`: the only sampling loop; `probability_flow`: with adaptive steps instead.
* `likelihood`, `decoders`: the variational bound, and the exact likelihood of the probability-flow ODE.
* `interop`: all of it from a configuration file of diffusers.
* `analytic`: denoisers that are exact.
"""

from genjax.diffusion import (
    analytic,
    decoders,
    distance,
    grids,
    guidance,
    interop,
    learned_variance,
    likelihood,
    prediction,
    probability_flow,
    process,
    samplers,
    sampling,
    schedules,
    times,
    uncertainty,
    weighting,
)
from genjax.diffusion.interop import from_diffusers_config
from genjax.diffusion.prediction import PREDICTIONS, Denoiser, denoiser, target
from genjax.diffusion.process import add_noise, posterior
from genjax.diffusion.samplers import SAMPLERS, Sampler, SamplerKind
from genjax.diffusion.sampling import initial_noise, sample, trajectory
from genjax.diffusion.schedules import SCHEDULES, Schedule

__all__ = [
    "PREDICTIONS",
    "SAMPLERS",
    "SCHEDULES",
    "Denoiser",
    "Sampler",
    "SamplerKind",
    "Schedule",
    "add_noise",
    "analytic",
    "decoders",
    "denoiser",
    "distance",
    "from_diffusers_config",
    "grids",
    "guidance",
    "initial_noise",
    "interop",
    "learned_variance",
    "likelihood",
    "posterior",
    "prediction",
    "probability_flow",
    "process",
    "sample",
    "samplers",
    "sampling",
    "schedules",
    "target",
    "times",
    "trajectory",
    "uncertainty",
    "weighting",
]
