"""Whole trajectories against the schedulers of `diffusers`: float64, the same noise, a fixed network.

diffusers counts time steps 0..T-1 where t = (step + 1) / T here. Its tables of float32 are replaced by
float64 ones.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.diffusion import PREDICTIONS, denoiser, grids, guidance, schedules, trajectory
from genjax.diffusion.samplers import ddim, ddpm, normal

# Other people's import-time warnings are not ours to fix.
pytestmark = pytest.mark.filterwarnings("ignore")
T = 1000
SHAPE = (2, 3, 3, 1)
DIFFUSERS_NAMES = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
WEIGHTS = np.random.default_rng(0).normal(size=(9, 9)) / 3

each_prediction = pytest.mark.parametrize("prediction", list(DIFFUSERS_NAMES))
each_num_steps = pytest.mark.parametrize("num_steps", [10, 20, 50])


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def diffusers():
    pytest.importorskip("torch")
    return pytest.importorskip("diffusers")


def network(x, t):
    """Nonlinear, mixes pixels, depends on time; numpy or jax."""
    np_ = jnp if isinstance(x, jax.Array) else np
    flat = x.reshape(SHAPE[0], 9) @ WEIGHTS
    return np_.tanh(flat + np_.cos(3 * t)).reshape(SHAPE)


def noises(keys, num_steps):
    """The standard normal noise of every step, as the sampling loop draws it."""
    draw = jax.vmap(jax.random.fold_in, (0, None))
    return [np.asarray(normal(draw(keys, i + 1), SHAPE[1:], jnp.float64)) for i in range(num_steps)]


@functools.cache
def run(prediction, num_steps, kind, low, high):
    """Our trajectory; `kind` makes the sampler from its one parameter, which is traced."""
    schedule = schedules.linear(T)

    @jax.jit
    def states(keys, x_T, parameter):
        denoise = guidance.clip(
            denoiser(lambda x, t: network(x, t[:, None]), schedule, PREDICTIONS[prediction]), low, high
        )
        return trajectory(keys, x_T, grids.linspace(num_steps), denoise, kind(parameter), schedule)

    return states


def reference(torch, scheduler, num_steps, x_T, step):
    """Their trajectory, with the tables in float64."""
    betas = torch.linspace(1e-4, 0.02, T, dtype=torch.float64)
    scheduler.betas, scheduler.alphas = betas, 1 - betas
    scheduler.alphas_cumprod = torch.cumprod(scheduler.alphas, 0)
    scheduler.one = scheduler.final_alpha_cumprod = torch.tensor(1.0, dtype=torch.float64)
    scheduler.set_timesteps(num_steps)
    states = [torch.from_numpy(x_T)]
    for i, t in enumerate(scheduler.timesteps):
        output = torch.from_numpy(network(states[-1].numpy(), (int(t) + 1) / T))
        states.append(step(output, t, states[-1], i))
    return np.stack([state.numpy() for state in states])


def start():
    keys = jax.random.split(jax.random.key(0), SHAPE[0])
    return keys, np.random.default_rng(1).normal(size=SHAPE)


@each_num_steps
@each_prediction
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("clip", [False, True])
def test_ddim(torch, diffusers, prediction, num_steps, eta, clip):
    with jax.enable_x64(True):
        keys, x_T = start()
        noise = noises(keys, num_steps)
        scheduler = diffusers.DDIMScheduler(
            T, prediction_type=DIFFUSERS_NAMES[prediction], timestep_spacing="trailing", clip_sample=clip
        )

        def step(output, t, x, i):
            return scheduler.step(
                output,
                t,
                x,
                eta=eta,
                use_clipped_model_output=clip,
                variance_noise=torch.from_numpy(noise[i]) if eta else None,
            ).prev_sample

        expected = reference(torch, scheduler, num_steps, x_T, step)
        bound = 1.0 if clip else np.inf
        actual = run(prediction, num_steps, ddim, -bound, bound)(keys, x_T, eta)
        assert actual.dtype == jnp.float64
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


@each_num_steps
@each_prediction
@pytest.mark.parametrize(("variance", "variance_type"), [(0.0, "fixed_small"), (1.0, "fixed_large")])
def test_ddpm(torch, diffusers, monkeypatch, prediction, num_steps, variance, variance_type):
    with jax.enable_x64(True):
        keys, x_T = start()
        noise = iter(noises(keys, num_steps))
        monkeypatch.setattr(
            diffusers.schedulers.scheduling_ddpm,
            "randn_tensor",
            lambda *a, **k: torch.from_numpy(next(noise)),
        )
        scheduler = diffusers.DDPMScheduler(
            T,
            prediction_type=DIFFUSERS_NAMES[prediction],
            timestep_spacing="trailing",
            clip_sample=False,
            variance_type=variance_type,
        )
        # Their last step goes to t = 0 when t = 0 in their count; with trailing spacing it never is, and they
        # would add noise of the variance floor there (1e-10) or, with the large variance, beta: we add none.
        expected = reference(
            torch, scheduler, num_steps, x_T, lambda output, t, x, i: scheduler.step(output, t, x).prev_sample
        )
        actual = run(prediction, num_steps, ddpm, -np.inf, np.inf)(keys, x_T, variance)
        last = None if variance == 0 else -1
        np.testing.assert_allclose(actual[:last], expected[:last], rtol=0, atol=1e-5)
