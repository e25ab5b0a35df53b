"""`from_diffusers_config` against the class it read the configuration of: whole trajectories in float64."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.diffusion import denoiser, trajectory
from genjax.diffusion.interop import CLASSES, from_diffusers_config
from tests.parity.common import float64, network, noises, start

# Other people's import-time warnings are not ours to fix.
pytestmark = pytest.mark.filterwarnings("ignore")

SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
KARRAS = {"use_karras_sigmas": True}
IN_SIGMA = [
    {},
    SD | {"timestep_spacing": "leading", "steps_offset": 1},
    {"timestep_spacing": "trailing"},
    KARRAS,
]
V = {"prediction_type": "v_prediction"}
CASES = {
    "DDIMScheduler": [
        {"clip_sample": False},
        SD | V | {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1},
        {"clip_sample": False, "timestep_spacing": "trailing", "rescale_betas_zero_snr": True} | V,
    ],
    "DDPMScheduler": [
        {"clip_sample": False, "prediction_type": "sample"},
        {"clip_sample": True, "beta_schedule": "squaredcos_cap_v2"},
        {"thresholding": True, "sample_max_value": 1.5, "clip_sample": False},
    ],
    "EulerDiscreteScheduler": [
        *IN_SIGMA,
        {"use_exponential_sigmas": True},
        {"final_sigmas_type": "sigma_min", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
        | V,
    ],
    "EulerAncestralDiscreteScheduler": IN_SIGMA[:3],
    "HeunDiscreteScheduler": IN_SIGMA,
    "KDPM2DiscreteScheduler": IN_SIGMA,
    "KDPM2AncestralDiscreteScheduler": IN_SIGMA,
    "LMSDiscreteScheduler": IN_SIGMA,
    "DPMSolverMultistepScheduler": [
        *IN_SIGMA[:3],
        {"use_karras_sigmas": True, "solver_order": 3, "beta_schedule": "squaredcos_cap_v2"},
        {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min", "solver_type": "heun"},
        {"algorithm_type": "sde-dpmsolver++"} | V,
    ],
    "DPMSolverSinglestepScheduler": [
        {},
        {
            "solver_order": 3,
            "algorithm_type": "dpmsolver",
            "final_sigmas_type": "sigma_min",
            "lower_order_final": True,
        },
    ],
    "DEISMultistepScheduler": [{}, {"solver_order": 3, "timestep_spacing": "trailing"}],
    "UniPCMultistepScheduler": [
        {},
        {"solver_order": 3, "solver_type": "bh1", "predict_x0": False, "final_sigmas_type": "sigma_min"},
    ],
    "EDMEulerScheduler": [{}, {"sigma_schedule": "exponential", "sigma_data": 0.7}],
    "EDMDPMSolverMultistepScheduler": [{}, {"solver_order": 3}],
    "FlowMatchEulerDiscreteScheduler": [{}, {"shift": 3.0}, {"stochastic_sampling": True}],
    "FlowMatchHeunDiscreteScheduler": [{}, {"shift": 3.0}],
}
SCALED = ("Euler", "Heun", "KDPM2", "LMS", "EDM")
TWICE = ("Heun", "KDPM2", "FlowMatchHeun")
COMPARED = [
    (f'from_diffusers_config({{"_class_name": "{name}", ...}})', f"{name}, {len(options)} configurations")
    for name, options in CASES.items()
]


@pytest.fixture(scope="module")
def diffusers():
    pytest.importorskip("torch")
    return pytest.importorskip("diffusers")


def test_every_class_is_compared():
    assert {name.replace("Parallel", "") for name in CLASSES} == set(CASES)


def number(scheduler, t):
    """What the network is given for a time step: nothing where theirs is rounded to a whole one."""
    rounded = type(scheduler).__name__.startswith("DPM") and scheduler.config.use_karras_sigmas
    return 0.0 if rounded else t / 1000


def their_states(scheduler, described, num_steps, times, x_T, noise):
    """Their states at the grid times, as x_t = alpha x_0 + sigma noise."""
    import torch

    name = type(scheduler).__name__
    scheduler.set_timesteps(num_steps)
    alphas = np.asarray(described.schedule.alpha(times))
    twice = 2 if name.startswith(TWICE) else 1
    scale = name.startswith(SCALED)
    x = torch.from_numpy(x_T / alphas[0] if scale else x_T)
    states = [x_T]
    for i, t in enumerate(scheduler.timesteps):
        given = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        output = network(given.numpy(), number(scheduler, float(t)))
        extra = {}
        if name.startswith("DDIM"):
            extra = {"use_clipped_model_output": True}
        if name == "DPMSolverMultistepScheduler":
            extra = {"variance_noise": torch.from_numpy(noise[i])}
        x = scheduler.step(torch.from_numpy(output), t, x, **extra).prev_sample
        if (i + 1) % twice == 0 or i + 1 == len(scheduler.timesteps):
            states.append(x.numpy() * (alphas[len(states)] if scale else 1))
    return np.stack(states)


@pytest.mark.parametrize("num_steps", [20])
@pytest.mark.parametrize(("name", "index"), [(name, i) for name in CASES for i in range(len(CASES[name]))])
def test_trajectories(diffusers, monkeypatch, name, index, num_steps):
    import torch

    cls = getattr(diffusers, name)
    module = sys.modules[cls.__module__]
    with jax.enable_x64(True), float64(module):
        scheduler = cls(**CASES[name][index])
        described = from_diffusers_config({**scheduler.config, "_class_name": name})
        times = described.times(num_steps)
        keys, x_T = start()
        noise = noises(keys, num_steps)
        left = iter(noise)
        monkeypatch.setattr(
            module, "randn_tensor", lambda *a, **k: torch.from_numpy(next(left)), raising=False
        )
        monkeypatch.setattr(torch, "randn_like", lambda x: torch.from_numpy(next(left)))
        expected = their_states(scheduler, described, num_steps, times, x_T, noise)

        @jax.jit
        def run(keys, x_T, times):
            def apply(x, t):
                return network(x, number(scheduler, described.timestep(t)[0]))

            denoise = described.bound(denoiser(apply, described.schedule, described.prediction))
            return trajectory(keys, x_T, times, denoise, described.sampler, described.schedule)

        actual = np.asarray(run(keys, jnp.asarray(x_T), times))
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()))
