"""Samplers of k-diffusion, EDM, PNDM, consistency models, score SDEs and flows against `diffusers`.

Whole trajectories in float64, with the same noise and a fixed network. What of theirs had to be configured
around:

* The schedulers after k-diffusion keep x / alpha where we keep x; theirs times alpha is compared.
* Their two-stage schedulers count a step as two; the states after whole steps are compared.
* EDMEulerScheduler and FlowMatchHeunDiscreteScheduler add churn after the network has seen x, not before as the
  paper's algorithm 2 does, so they are compared without; tests/diffusion/test_sigma_samplers.py has the
  paper's.
* PNDMScheduler converts a v prediction after it has mixed those of several times; so only `eps` is compared.
* IPNDMScheduler takes x_0 to be 0 at its first time, where alpha is 0; it is given other noise levels here.
* ScoreSdeVeScheduler takes norms averaged over the batch for the corrector; it is run on one sample at a time.
* RePaintScheduler has the same noise in the known and in the unknown region, so it is compared where there is
  none in the latter (eta = 0); its `undo_step` goes up as `step` went down only if it takes every time step of
  the schedule.
* DDIMInverseScheduler converts v and x0 predictions with the coefficients of the time before; `eps` is
  compared.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.diffusion import denoiser, grids, prediction, schedules, trajectory
from genjax.diffusion.prediction import consistency_edm, lcm_boundary
from genjax.diffusion.samplers import ddim
from genjax.diffusion.samplers.consistency import consistency
from genjax.diffusion.samplers.coordinates import flow
from genjax.diffusion.samplers.dpm2 import dpm2, dpm2_ancestral
from genjax.diffusion.samplers.euler import euler, euler_ancestral
from genjax.diffusion.samplers.heun import heun
from genjax.diffusion.samplers.inversion import ddim_inversion
from genjax.diffusion.samplers.ipndm import ipndm
from genjax.diffusion.samplers.lms import lms
from genjax.diffusion.samplers.pndm import pndm
from genjax.diffusion.samplers.predictor_corrector import predictor_corrector, reverse_diffusion
from genjax.diffusion.samplers.repaint import repaint, repaint_times
from tests.parity.common import BETAS, DIFFUSERS_NAMES, SHAPE, T, float64, network, noises, ours, start

# Other people's import-time warnings are not ours to fix.
pytestmark = pytest.mark.filterwarnings("ignore")

COMPARED: list[tuple[str, str]] = [
    ("euler()", "EulerDiscreteScheduler"),
    ("euler()", "EDMEulerScheduler(sigma_schedule=karras | exponential)"),
    ("euler()", "FlowMatchEulerDiscreteScheduler(shift=1 | 3)"),
    ("euler_ancestral()", "EulerAncestralDiscreteScheduler"),
    ("heun()", "HeunDiscreteScheduler"),
    ("heun(coordinates=flow)", "FlowMatchHeunDiscreteScheduler(shift=1 | 3)"),
    ("dpm2()", "KDPM2DiscreteScheduler"),
    ("dpm2_ancestral()", "KDPM2AncestralDiscreteScheduler"),
    ("lms(order=1 | 2 | 3 | 4)", "LMSDiscreteScheduler(order=1 | 2 | 3 | 4)"),
    ("pndm()", "PNDMScheduler"),
    ("pndm(skip_runge_kutta=True)", "PNDMScheduler(skip_prk_steps=True)"),
    ("ipndm()", "IPNDMScheduler"),
    ("predictor_corrector(reverse_diffusion())", "ScoreSdeVeScheduler(correct_steps=0 | 1 | 2)"),
    ("consistency(), lcm_boundary", "LCMScheduler"),
    ("consistency(sigma_min), consistency_edm", "CMStochasticIterativeScheduler"),
    ("repaint(ddim())", "RePaintScheduler(eta=0)"),
    ("repaint_times()", "RePaintScheduler.set_timesteps"),
    ("ddim_inversion()", "DDIMInverseScheduler"),
]
"""(ours, the class of diffusers and its options)."""

each_num_steps = pytest.mark.parametrize("num_steps", [10, 20, 50])


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def diffusers():
    pytest.importorskip("torch")
    return pytest.importorskip("diffusers")


@pytest.fixture
def torch_x64():
    """Tensors that torch makes without being told a dtype, or of an integer times a number, are float64."""
    torch = pytest.importorskip("torch")
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def give_noise(monkeypatch, cls, noise):
    """`cls` draws these arrays, one after the other."""
    import torch

    noise = iter(noise)
    module = sys.modules[cls.__module__]
    monkeypatch.setattr(module, "randn_tensor", lambda *a, **k: torch.from_numpy(np.array(next(noise))))


def states_of(scheduler, cls, x, network_time, scale=lambda x, t: x, **arguments):
    """All states of a scheduler whose time steps are set; after whole steps, for those of two stages."""
    import torch

    states = [torch.from_numpy(x)]
    last = states[0]
    with float64(sys.modules[cls.__module__]):
        for t in scheduler.timesteps:
            output = network(scale(last, t).numpy(), network_time(t.item()))
            last = scheduler.step(torch.from_numpy(output), t, last, **arguments).prev_sample
            if getattr(scheduler, "state_in_first_order", True):
                states.append(last)
    if states[-1] is not last:  # the last step has one stage only
        states.append(last)
    return np.stack([state.numpy() for state in states])


def k_diffusion(cls, num_steps, prediction="eps", **arguments):
    """States and times of a scheduler that keeps x / alpha."""
    alpha_1 = float(schedules.linear(T, *BETAS).alpha(1.0))
    with float64(sys.modules[cls.__module__]):
        scheduler = cls(
            T,
            beta_start=BETAS[0],
            beta_end=BETAS[1],
            beta_schedule="linear",
            prediction_type=DIFFUSERS_NAMES[prediction],
            timestep_spacing="trailing",
        )
        scheduler.set_timesteps(num_steps)
    sigmas = np.array(sorted(set(scheduler.sigmas.numpy()), reverse=True))
    states = states_of(
        scheduler, cls, start()[1] / alpha_1, lambda t: (t + 1) / T, scheduler.scale_model_input, **arguments
    )
    return states / np.sqrt(1 + sigmas**2).reshape(-1, *[1] * len(SHAPE))


def compare(actual, expected):
    assert actual.dtype == np.float64
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


@each_num_steps
@pytest.mark.parametrize(
    ("sampler", "name"),
    [(euler(), "Euler"), (heun(), "Heun"), (dpm2(), "KDPM2"), (lms(), "LMS")],
    ids=["euler", "heun", "dpm2", "lms"],
)
def test_deterministic_samplers_of_k_diffusion(diffusers, sampler, name, num_steps):
    for of in ("eps", "v") if num_steps == 20 else ("eps",):
        expected = k_diffusion(getattr(diffusers, f"{name}DiscreteScheduler"), num_steps, of)
        compare(ours(sampler, grids.linspace(num_steps), of), expected)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_lms_of_lower_order(diffusers, order):
    expected = k_diffusion(diffusers.LMSDiscreteScheduler, 20, order=order)
    compare(ours(lms(order), grids.linspace(20)), expected)


@each_num_steps
@pytest.mark.parametrize(
    ("sampler", "name"),
    [(euler_ancestral(), "EulerAncestral"), (dpm2_ancestral(), "KDPM2Ancestral")],
    ids=["euler_ancestral", "dpm2_ancestral"],
)
def test_ancestral_samplers_of_k_diffusion(diffusers, monkeypatch, sampler, name, num_steps):
    cls = getattr(diffusers, f"{name}DiscreteScheduler")
    give_noise(monkeypatch, cls, noises(start()[0], num_steps))
    expected = k_diffusion(cls, num_steps)
    compare(ours(sampler, grids.linspace(num_steps)), expected)


@each_num_steps
@pytest.mark.parametrize("spacing", ["karras", "exponential"])
def test_edm_euler(diffusers, num_steps, spacing):
    cls = diffusers.EDMEulerScheduler
    with float64(sys.modules[cls.__module__]):
        scheduler = cls(0.002, 80.0, 0.5, spacing)
        scheduler.set_timesteps(num_steps)
    sigmas = scheduler.sigmas.numpy()
    expected = states_of(scheduler, cls, start()[1], lambda t: t, scheduler.scale_model_input)
    schedule = schedules.edm(0.002, 80.0)
    # 1e-12: the least sigma, which the schedule has just above t = 0.
    times = np.append(np.maximum(schedule.time(-2 * np.log(sigmas[:-1])), 1e-12), 0.0)
    compare(ours(euler(), times, "edm", schedule), expected)


@each_num_steps
@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize(
    ("sampler", "name"), [(euler(), "Euler"), (heun(coordinates=flow), "Heun")], ids=["euler", "heun"]
)
def test_flow_matching(diffusers, sampler, name, shift, num_steps):
    """Their grid is one of equal steps, but its ends and its last step, in the sigma before the shift."""
    cls = getattr(diffusers, f"FlowMatch{name}DiscreteScheduler")
    with float64(sys.modules[cls.__module__]):
        scheduler = cls(T, shift)
        scheduler.set_timesteps(num_steps)
    sigmas = np.array(sorted(set(scheduler.sigmas.numpy()), reverse=True))
    assert sigmas[0] == 1  # no data at all
    expected = states_of(scheduler, cls, start()[1], lambda t: t / T)
    # The time of their network is sigma, ours t; with the time as their sigma the shift is all in the grid.
    compare(ours(sampler, sigmas, "flow", schedules.flow()), expected)


@each_num_steps
@pytest.mark.parametrize("skip", [False, True])
def test_pndm(diffusers, skip, num_steps):
    """Their states are those at which the network is evaluated; ours at the grid's times are some of them."""
    import torch

    cls = diffusers.PNDMScheduler
    with float64(sys.modules[cls.__module__]):
        scheduler = cls(T, *BETAS, skip_prk_steps=skip, set_alpha_to_one=True, timestep_spacing="trailing")
        scheduler.final_alpha_cumprod = torch.tensor(1.0, dtype=torch.float64)
        scheduler.set_timesteps(num_steps)
    states = states_of(scheduler, cls, start()[1], lambda t: (t + 1) / T)
    # With Runge-Kutta, 4 of their steps are one of ours, three times; without, their second step repeats the
    # first.
    whole = [0, *range(2, num_steps + 2)] if skip else [0, 4, 8, *range(12, num_steps + 10)]
    assert len(states) == whole[-1] + 1 == len(scheduler.timesteps) + 1
    compare(ours(pndm(skip), grids.linspace(num_steps)), states[whole])


@each_num_steps
def test_ipndm(diffusers, num_steps):
    """Its alpha and sigma may be anything; those of our times, to which the network's time belongs."""
    import torch

    cls, schedule, times = diffusers.IPNDMScheduler, schedules.linear(T, *BETAS), grids.linspace(num_steps)
    scheduler = cls(T)
    scheduler.set_timesteps(num_steps)
    scheduler.betas = torch.from_numpy(np.array(schedule.sigma(times)))
    scheduler.alphas = torch.from_numpy(np.array(schedule.alpha(times)))
    scheduler.timesteps = torch.from_numpy(np.array(times[:-1]))
    compare(ours(ipndm(), times, "v"), states_of(scheduler, cls, start()[1], lambda t: t))


@each_num_steps
@pytest.mark.parametrize("corrections", [0, 1, 2])
def test_score_sde(diffusers, torch_x64, monkeypatch, corrections, num_steps):
    import torch

    cls, schedule = diffusers.ScoreSdeVeScheduler, schedules.ve(0.01, 50.0)
    keys, x_T = start()
    draws = noises(keys, num_steps, corrections + 1)
    scheduler = cls(num_steps, snr=0.15, sigma_min=0.01, sigma_max=50.0)
    scheduler.set_timesteps(num_steps)
    sigmas = np.geomspace(0.01, 50.0, num_steps)
    scheduler.discrete_sigmas = torch.from_numpy(sigmas)
    times = np.append(np.maximum(schedule.time(-2 * np.log(sigmas[::-1])), 1e-12), 0.0)

    @jax.jit
    def run(keys, x_T):
        denoise = denoiser(lambda x, t: network(x, t[:, None]), schedule, prediction.score)
        sampler = predictor_corrector(reverse_diffusion(), 0.15, corrections)
        return trajectory(keys, x_T, jnp.asarray(times), denoise, sampler, schedule)

    actual = np.asarray(run(keys, 50 * x_T))
    for b in range(SHAPE[0]):
        # The predictor draws from key 0 of the step, the corrections from 1, 2, ...
        order = [step[j][b : b + 1] for step in draws for j in [*range(1, corrections + 1), 0]]
        give_noise(monkeypatch, cls, order)
        states = [torch.from_numpy(50 * x_T[b : b + 1])]
        for i, t in enumerate(scheduler.timesteps):

            def score(x, i=i):
                both = np.concatenate([x.numpy()] * SHAPE[0])
                return torch.from_numpy(network(both, times[i])[:1])

            x = states[-1]
            for _ in range(corrections):
                x = scheduler.step_correct(score(x), x).prev_sample
            last = scheduler.step_pred(score(x), t, x)
            states.append(last.prev_sample)
        states[-1] = last.prev_sample_mean
        compare(actual[:, b : b + 1], np.stack([state.numpy() for state in states]))


@each_num_steps
def test_latent_consistency(diffusers, torch_x64, monkeypatch, num_steps):
    cls, schedule = diffusers.LCMScheduler, schedules.scaled_linear()
    keys, x_T = start()
    give_noise(monkeypatch, cls, noises(keys, num_steps))
    with float64(sys.modules[cls.__module__]):
        # With the noise predicted, steps magnify rounding errors: x_0 is a difference divided by alpha.
        scheduler = cls(prediction_type="sample")
    scheduler.set_timesteps(num_steps)
    expected = states_of(scheduler, cls, x_T, lambda t: (t + 1) / T)
    times = np.append((scheduler.timesteps.numpy() + 1) / T, 0.0)

    @jax.jit
    def run(keys, x_T):
        bounded = lcm_boundary(prediction.x0)
        denoise = denoiser(lambda x, t: network(x, t[:, None]), schedule, bounded)
        return trajectory(keys, x_T, jnp.asarray(times), denoise, consistency(), schedule)

    compare(np.asarray(run(keys, x_T)), expected)


@each_num_steps
def test_consistency(diffusers, monkeypatch, num_steps):
    cls, schedule = diffusers.CMStochasticIterativeScheduler, schedules.edm(0.002, 80.0)
    give_noise(monkeypatch, cls, noises(start()[0], num_steps))
    with float64(sys.modules[cls.__module__]):
        scheduler = cls(60, clip_denoised=False)
        scheduler.set_timesteps(num_steps)
    sigmas = scheduler.sigmas.numpy()
    expected = states_of(scheduler, cls, start()[1], lambda t: t, scheduler.scale_model_input)
    times = jnp.append(schedule.time(-2 * np.log(sigmas[:-1])), 0.0)

    @jax.jit
    def run(keys, x_T):
        # Their network takes 250 log(sigma) for the noise level; here that factor is the network's own.
        denoise = denoiser(lambda x, t: network(x, 1000 * t[:, None]), schedule, consistency_edm(0.002))
        return trajectory(keys, x_T, times, denoise, consistency(0.002), schedule)

    compare(np.asarray(run(*start())), expected)


@each_num_steps
def test_repaint(diffusers, monkeypatch, num_steps):
    """A schedule of as many time steps as there are steps; stretches of 5 are gone through twice."""
    import torch

    cls, schedule = diffusers.RePaintScheduler, schedules.linear(num_steps, *BETAS)
    keys, x_T = start()
    known = np.random.default_rng(2).normal(size=SHAPE)
    mask = (np.random.default_rng(3).random(SHAPE) < 0.5).astype(float)
    with float64(sys.modules[cls.__module__]):
        scheduler = cls(num_steps, *BETAS, eta=0.0, clip_sample=False)
        scheduler.one = scheduler.final_alpha_cumprod = torch.tensor(1.0, dtype=torch.float64)
        scheduler.set_timesteps(num_steps, 5, 2)
    steps = scheduler.timesteps.numpy()
    times = jnp.asarray(np.append(num_steps, steps) / num_steps)
    assert (np.diff(times) > 0).sum() == 5 * len(range(0, num_steps - 5, 5))

    draws = noises(keys, len(steps), 2)
    give_noise(monkeypatch, cls, [of_step[1] for of_step in draws])
    states, before = [torch.from_numpy(x_T)], num_steps
    for t in scheduler.timesteps:
        x = states[-1]
        if t < before:
            output = torch.from_numpy(network(x.numpy(), (int(t) + 1) / num_steps))
            x = scheduler.step(output, t, x, torch.from_numpy(known), torch.from_numpy(mask)).prev_sample
        else:
            x = scheduler.undo_step(x, before)
        states.append(x)
        before = t

    @jax.jit
    def run(keys, x_T):
        denoise = denoiser(lambda x, t: network(x, t[:, None]), schedule, prediction.eps)
        return trajectory(keys, x_T, times, denoise, repaint(ddim(), known, mask), schedule)

    compare(np.asarray(run(keys, x_T)), np.stack([state.numpy() for state in states]))


@pytest.mark.parametrize("length, samples", [(5, 2), (10, 10), (3, 1)])
@each_num_steps
def test_repaint_times(diffusers, num_steps, length, samples):
    """They count states from the noise of the first time step on, and leave the last one, clean data, out."""
    scheduler = diffusers.RePaintScheduler(num_steps)
    scheduler.set_timesteps(num_steps, length, samples)
    actual = repaint_times(grids.linspace(num_steps), length, samples)
    np.testing.assert_allclose(actual, np.append(scheduler.timesteps.numpy() + 1, 0) / num_steps, atol=1e-12)


@each_num_steps
def test_ddim_inversion(diffusers, num_steps):
    import torch

    cls = diffusers.DDIMInverseScheduler
    with float64(sys.modules[cls.__module__]):
        scheduler = cls(T, *BETAS, clip_sample=False, timestep_spacing="trailing")
        scheduler.initial_alpha_cumprod = torch.tensor(1.0, dtype=torch.float64)
    scheduler.set_timesteps(num_steps)
    expected = states_of(scheduler, cls, start()[1], lambda t: (t + 1) / T)
    compare(ours(ddim_inversion(), grids.linspace(num_steps)[::-1]), expected)
