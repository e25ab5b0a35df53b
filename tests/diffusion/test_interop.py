"""Reading configuration files of diffusers. What comes out is compared with that library in tests/parity."""

import json
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import betainc

from genjax.diffusion import denoiser, grids, prediction, schedules, trajectory
from genjax.diffusion.interop import FIELDS, from_diffusers_config, spacing
from genjax.typing import UserError
from tests.diffusion.scheduler_files import FILES, MU

STABLE_DIFFUSION = FILES["runwayml/stable-diffusion-v1-5"]
ANOTHER = {**STABLE_DIFFUSION, "_class_name": "DPMSolverMultistepScheduler", "timestep_spacing": "leading"}


def test_a_file_a_text_and_a_mapping_say_the_same(tmp_path):
    path = tmp_path / "scheduler_config.json"
    path.write_text(json.dumps(STABLE_DIFFUSION))
    for config in (STABLE_DIFFUSION, json.dumps(STABLE_DIFFUSION), path, str(path)):
        described = from_diffusers_config(config)
        assert described.prediction is prediction.eps
        np.testing.assert_array_equal(described.schedule.table, schedules.scaled_linear().table)
        # K = 20 are each 1000 // 20 = 50 apart, offset by 1 and counted from 0; the last one is the first trained time.
        np.testing.assert_allclose(
            described.times(20), (np.append(50 * np.arange(19, -1, -1) + 1, 0) + 1) / 1000, rtol=1e-5
        )
        np.testing.assert_allclose(described.timestep(jnp.asarray(described.times(20)[0])), 951, rtol=1e-5)


def test_times_of_another_class_with_the_same_fields():
    # The first 20 of 21, each 1000 // 21 = 47 apart.
    steps = (47 * np.arange(20, 0, -1) + 2) / 1000
    np.testing.assert_allclose(from_diffusers_config(ANOTHER).times(20), [*steps, 0], rtol=1e-5)


@pytest.mark.parametrize("name", FILES)
def test_files_of_public_repositories_are_read(name):
    described = from_diffusers_config(FILES[name], MU.get(name))
    times = np.asarray(described.times(4))
    assert (
        times.shape == (5,)
        and times[0] <= 1
        and (np.diff(times) <= 0).all()
        and (np.diff(times) < 0).sum() >= 3
    )


def test_every_class_reads_the_fields_of_every_other():
    """As `X.from_config(another.config)` leaves them."""
    for name in FIELDS:
        for other in FIELDS:
            fields = dict(FIELDS[other])
            if "SCMScheduler" in (name, other) or name == "IPNDMScheduler":
                fields.pop("prediction_type", None)  # "trigflow" is another parametrization
            from_diffusers_config({**fields, "_class_name": name})


def test_a_field_of_another_class_is_ignored_and_named_in_one_line(caplog):
    plain = from_diffusers_config({"_class_name": "DPMSolverMultistepScheduler"})
    foreign = {"skip_prk_steps": True, "clip_sample": True, "interpolation_type": "log_linear", "eta": 1.0}
    with caplog.at_level(logging.WARNING):
        described = from_diffusers_config({"_class_name": "DPMSolverMultistepScheduler", **foreign})
    assert [record.getMessage() for record in caplog.records] == [
        "DPMSolverMultistepScheduler has no fields skip_prk_steps, clip_sample, interpolation_type, eta: ignored"
    ]
    np.testing.assert_array_equal(described.times(9), plain.times(9))
    big = lambda x, t: jnp.full_like(x, 9.0)  # noqa: E731
    assert described.bound(big) is big


def test_a_network_is_told_the_last_step_at_a_terminal_snr_of_0():
    """Before the last of linear betas the table falls below the value that stands for 0, which comes last."""
    described = from_diffusers_config(
        {
            "_class_name": "EulerDiscreteScheduler",
            "rescale_betas_zero_snr": True,
            "timestep_spacing": "trailing",
            "prediction_type": "v_prediction",
        }
    )
    assert (np.diff(described.schedule.table) < 0).all()
    told = described.timestep(described.times(20)[:-1])
    np.testing.assert_allclose(told, np.arange(999, 0, -50), atol=0.02)


@pytest.mark.parametrize(
    "name", ["DPMSolverMultistepScheduler", "DEISMultistepScheduler", "UniPCMultistepScheduler"]
)
def test_a_grid_that_ends_twice_ends_where_it_is_once(name):
    described = from_diffusers_config(
        {
            "_class_name": name,
            "use_karras_sigmas": True,
            "final_sigmas_type": "sigma_min",
            "prediction_type": "v_prediction",
        }
    )
    schedule, times, keys = described.schedule, described.times(20), jax.random.split(jax.random.key(0), 2)
    assert times[-1] == times[-2] > 0

    def denoise(x, t):  # of a Gaussian
        return 0.2 * schedule.alpha(t) * x / (0.2 * schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2)

    @jax.jit
    def run(times):
        return trajectory(keys, jnp.ones((2, 1)), times, denoise, described.sampler, schedule)

    states = run(times)
    np.testing.assert_array_equal(states[-1], states[-2])
    variance = 0.2 * schedule.alpha(times) ** 2 + schedule.sigma(times) ** 2
    np.testing.assert_allclose(states[-1, 0, 0], np.sqrt(variance[-1] / variance[0]), rtol=0.06)


def test_a_grid_reaches_the_sigmas_that_a_file_asks_for():
    """Beyond the table's values too, where the network is told the last or the first step."""
    described = from_diffusers_config(
        {
            "_class_name": "EulerDiscreteScheduler",
            "use_karras_sigmas": True,
            "sigma_max": 700.0,
            "sigma_min": 0.002,
        }
    )
    times = described.times(5)[:-1]
    sigmas = np.exp(-0.5 * described.schedule.log_snr(times))
    np.testing.assert_allclose(sigmas, grids.between(np.linspace(0, 1, 5), 0.002, 700.0), rtol=1e-3)
    np.testing.assert_allclose(np.asarray(described.timestep(times))[[0, -1]], [999, 0], atol=1e-3)
    video = from_diffusers_config(FILES["stabilityai/stable-video-diffusion-img2vid-xt"])
    # Told log(sigma) / 4.
    np.testing.assert_allclose(
        video.timestep(video.times(5)[:-1]),
        np.log(grids.between(np.linspace(0, 1, 5), 0.002, 700.0)) / 4,
        atol=1e-4,
    )


def test_a_shift_that_depends_on_the_image():
    config = FILES["black-forest-labs/FLUX.1-dev"]
    times = from_diffusers_config(config, mu=np.log(3.0)).times(3)
    u = np.linspace(1, 1 / 1000, 3)
    np.testing.assert_allclose(times, [*(3 * u / (1 + 2 * u)), 0], rtol=1e-5)
    ended = from_diffusers_config({**config, "shift_terminal": 0.1}, mu=0.5).times(3)
    np.testing.assert_allclose(np.asarray(ended)[[0, -2]], [1, 0.1], rtol=1e-5)


def test_beta_quantiles_are_those_of_the_distribution():
    """B(0.6, 0.6) is symmetric, and half of it is at one end and the other of the range."""
    values = spacing.beta_quantiles(np.array([0, 0.25, 0.5, 0.75, 1]), 2.0, 4.0)
    np.testing.assert_allclose(values[[0, 2, 4]], [4, 3, 2])
    np.testing.assert_allclose(values[1] + values[3], 6)
    share = betainc(0.6, 0.6, (values[3] - 2) / 2)
    np.testing.assert_allclose(share, 0.25, rtol=1e-5)


def test_zero_terminal_snr_is_exact_where_it_can_be():
    config = {
        "rescale_betas_zero_snr": True,
        "timestep_spacing": "trailing",
        "prediction_type": "v_prediction",
    }
    exact = from_diffusers_config({"_class_name": "DDIMScheduler", **config}).schedule
    finite = from_diffusers_config({"_class_name": "EulerDiscreteScheduler", **config}).schedule
    assert exact.alpha(1.0) < 1e-12
    np.testing.assert_allclose(finite.alpha(1.0) ** 2, 2.0**-24, rtol=1e-5)


def test_estimates_are_bounded_as_the_file_says():
    def bounded(**options):
        described = from_diffusers_config({"_class_name": "DDPMScheduler", **options})
        denoise = denoiser(lambda x, t: jnp.full_like(x, 9.0), described.schedule, prediction.x0)
        return float(described.bound(denoise)(jnp.zeros((1, 4)), jnp.float32(0.5))[0, 0])

    assert bounded() == 1
    assert bounded(clip_sample_range=2.0) == 2
    assert bounded(clip_sample=False) == 9
    assert bounded(clip_sample=False, thresholding=True, sample_max_value=3.0) == 1
    assert bounded(thresholding=True, sample_max_value=3.0) == 1  # rather than clipped, which is the default


def test_karras_grids_use_the_whole_table():
    described = from_diffusers_config({**ANOTHER, "use_karras_sigmas": True})
    expected = grids.karras(20, described.schedule)
    np.testing.assert_allclose(described.times(20), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"num_train_timesteps": 10}, "config must have a '_class_name'; it has num_train_timesteps"),
        (
            {"_class_name": "AmusedScheduler"},
            "_class_name = 'AmusedScheduler' is not supported; supported are DDIM",
        ),
        (
            {"_class_name": "DDPMScheduler", "variance_type": "learned_range"},
            "variance_type = 'learned_range' is not supported; supported are 'fixed_small', ",
        ),
        (
            {"_class_name": "DDIMScheduler", "thresholding": True, "sample_max_value": 0.5},
            r"sample_max_value = 0.5 is not supported; supported are numbers in \[1, inf\)",
        ),
        (
            {"_class_name": "DDIMScheduler", "num_train_timesteps": "1000"},
            r"num_train_timesteps = '1000' is not supported; supported are whole numbers in \[1, inf\)",
        ),
        ({"_class_name": "DDIMScheduler", "clip_sample": "false"}, "clip_sample = 'false' is not supported"),
        (
            {
                "_class_name": "EulerDiscreteScheduler",
                "use_karras_sigmas": True,
                "sigma_min": 0.001,
                "final_sigmas_type": "sigma_min",
            },
            "sigma_min = 0.001 is not supported: final_sigmas_type = 'sigma_min' would go up again, to 0.01",
        ),
        (
            {"_class_name": "DDIMScheduler", "num_train_timesteps": 1, "rescale_betas_zero_snr": True},
            "has 1 step",
        ),
        ({**ANOTHER, "solver_order": 4}, "solver_order = 4 is not supported; supported are 1, 2, 3"),
        ({**ANOTHER, "made_up": 3}, "made_up = 3 is not supported; supported are algorithm_type, "),
        ({**ANOTHER, "prediction_type": "flow"}, "prediction_type = 'flow' is not supported"),
        (
            {"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": True},
            r"config, mu=\.\.\.",
        ),
        ("no/such/file.json", "config = 'no/such/file.json' is no JSON text, and no file with one"),
        ("{oops", "config = '{oops' is no JSON text"),
        ("{}", "it has nothing"),
    ],
)
def test_what_is_not_supported_is_named(config, message):
    with pytest.raises(UserError, match=message):
        from_diffusers_config(config)


def test_a_number_of_steps_that_makes_no_sense_is_named():
    described = from_diffusers_config(STABLE_DIFFUSION)
    with pytest.raises(UserError, match="num_steps = 0 must be between 1 and 1000"):
        described.times(0)
    with pytest.raises(UserError, match="num_steps = 1000 is too many for num_train_timesteps = 1000 with"):
        described.times(1000)
    # With trailing spacing, any number of steps: rounded, the last one first.
    trailing = from_diffusers_config({"_class_name": "DDIMScheduler", "timestep_spacing": "trailing"})
    np.testing.assert_allclose(trailing.times(3), np.array([1000, 667, 333, 0]) / 1000, rtol=1e-5)
    ends = from_diffusers_config({"_class_name": "DDIMScheduler", "timestep_spacing": "linspace"})
    np.testing.assert_allclose(ends.times(3), np.array([1000, 501, 1, 0]) / 1000, rtol=1e-5)
