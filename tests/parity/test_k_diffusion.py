"""Samplers against k-diffusion's: whole trajectories in float64, with the same noise.

k-diffusion has alpha = 1; on other schedules its x is x / alpha and its sigma is sigma / alpha. To add a sampler: a
line in `CASES`.
"""

import jax
import numpy as np
import pytest

from genjax.diffusion import grids, schedules
from genjax.diffusion.samplers import (
    dpm_solver_pp_2m,
    dpm_solver_pp_2m_sde,
    dpm_solver_pp_2s_ancestral,
    dpm_solver_pp_3m_sde,
    dpm_solver_pp_sde,
)
from tests.parity.common import k_diffusion_sampling, k_diffusion_states, named, network, noises, ours, start

# Other people's import-time warnings are not ours to fix.
pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(k_diffusion_sampling() is None, reason="k-diffusion is not installed"),
]


def none(keys, num_steps):
    return []


def one_a_step(keys, num_steps):
    return noises(keys, num_steps)


def two_a_step(r):
    """As `dpm_solver_pp_sde` draws: the noise of a step has that of its first part, r of it, in it."""

    def draw(keys, num_steps):
        pairs = noises(keys, num_steps, draws=2)
        return [z for a, b in pairs for z in (a, np.sqrt(r) * a + np.sqrt(1 - r) * b)]

    return draw


# Their multistep methods take a step of order 1 to sigma = 0 only.
LATE = {"lower_order_final": False}

# (our constructor, its arguments, their function, its arguments, (keys, num_steps) -> the noise in their order)
CASES = [
    (dpm_solver_pp_2s_ancestral, {"eta": 1.0}, "sample_dpmpp_2s_ancestral", {"eta": 1.0}, one_a_step),
    (dpm_solver_pp_2s_ancestral, {"eta": 0.5}, "sample_dpmpp_2s_ancestral", {"eta": 0.5}, one_a_step),
    (dpm_solver_pp_sde, {"eta": 1.0}, "sample_dpmpp_sde", {"eta": 1.0}, two_a_step(0.5)),
    (dpm_solver_pp_sde, {"eta": 0.5, "r": 0.3}, "sample_dpmpp_sde", {"eta": 0.5, "r": 0.3}, two_a_step(0.3)),
    (dpm_solver_pp_2m, LATE, "sample_dpmpp_2m", {}, none),
    (dpm_solver_pp_2m_sde, {"eta": 1.0, **LATE}, "sample_dpmpp_2m_sde", {"eta": 1.0}, one_a_step),
    (
        dpm_solver_pp_2m_sde,
        {"eta": 0.5, "solver_type": "heun", **LATE},
        "sample_dpmpp_2m_sde",
        {"eta": 0.5, "solver_type": "heun"},
        one_a_step,
    ),
    (dpm_solver_pp_3m_sde, {"eta": 1.0, **LATE}, "sample_dpmpp_3m_sde", {"eta": 1.0}, one_a_step),
    (dpm_solver_pp_3m_sde, {"eta": 0.0, **LATE}, "sample_dpmpp_3m_sde", {"eta": 0.0}, none),
]
SCHEDULES = {"edm": schedules.edm, "linear": schedules.linear}

COMPARED = [(named(a, b), named(c, d)) for a, b, c, d, _ in CASES]
"""(our sampler, theirs), each with its arguments; on two schedules, to 1e-9."""


def denoise(x, sigma, sigma_data=0.5):
    """What `ours` does with the prediction `edm`, in k-diffusion's coordinates."""
    total = sigma**2 + sigma_data**2
    output = network(x / np.sqrt(total), np.log(sigma) / 4)
    return sigma_data**2 / total * x + sigma * sigma_data / np.sqrt(total) * output


@pytest.mark.parametrize(
    ("schedule_name", "num_steps"), [("edm", 10), ("edm", 20), ("edm", 50), ("linear", 20)]
)
@pytest.mark.parametrize(
    ("constructor", "arguments", "theirs", "their_arguments", "draw"),
    CASES,
    ids=[f"{a}={b}" for a, b in COMPARED],
)
def test_same_trajectory(constructor, arguments, theirs, their_arguments, draw, schedule_name, num_steps):
    with jax.enable_x64(True):
        schedule, times = SCHEDULES[schedule_name](), grids.linspace(num_steps)
        alphas, sigmas = np.asarray(schedule.alpha(times)), np.asarray(schedule.sigma(times))
        keys, x_T = start()
        x_T = x_T * sigmas[0]
        actual = ours(constructor(**arguments), times, "edm", schedule, x_T)
        expected = k_diffusion_states(
            theirs, sigmas / alphas, x_T / alphas[0], denoise, draw(keys, num_steps), **their_arguments
        )
    assert actual.dtype == np.float64
    alphas = alphas.reshape(-1, *[1] * x_T.ndim)
    np.testing.assert_allclose(actual, alphas * expected, rtol=0, atol=1e-9)
