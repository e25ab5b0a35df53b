"""Reading configuration files of diffusers. What comes out is compared with that library in tests/parity."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from genjax.diffusion import denoiser, grids, prediction, schedules
from genjax.diffusion.interop import from_diffusers_config
from genjax.typing import UserError

# The file of Stable Diffusion 1.5, with another class: that of its own is not supported.
STABLE_DIFFUSION = {
    "_class_name": "DPMSolverMultistepScheduler",
    "_diffusers_version": "0.6.0",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": False,
    "steps_offset": 1,
    "trained_betas": None,
    "clip_sample": False,
    "timestep_spacing": "leading",
}


def test_a_file_a_text_and_a_mapping_say_the_same(tmp_path):
    path = tmp_path / "scheduler_config.json"
    path.write_text(json.dumps(STABLE_DIFFUSION))
    for config in (STABLE_DIFFUSION, json.dumps(STABLE_DIFFUSION), path, str(path)):
        described = from_diffusers_config(config)
        assert described.prediction is prediction.eps
        np.testing.assert_array_equal(described.schedule.table, schedules.scaled_linear().table)
        # K = 20 are the first of 21, each 1000 // 21 = 47 apart, offset by 1 and counted from 0.
        steps = (47 * np.arange(20, 0, -1) + 2) / 1000
        np.testing.assert_allclose(described.times(20), [*steps, 0], rtol=1e-5)
        np.testing.assert_allclose(described.timestep(jnp.asarray(described.times(20)[0])), 941, rtol=1e-5)


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


def test_karras_grids_use_the_whole_table():
    described = from_diffusers_config({**STABLE_DIFFUSION, "use_karras_sigmas": True})
    expected = grids.karras(20, described.schedule)
    np.testing.assert_allclose(described.times(20), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"num_train_timesteps": 10}, "config must have a '_class_name'; it has num_train_timesteps"),
        (
            {"_class_name": "PNDMScheduler"},
            "_class_name = 'PNDMScheduler' is not supported; supported are DDIM",
        ),
        (
            {**STABLE_DIFFUSION, "use_beta_sigmas": True},
            "use_beta_sigmas = True is not supported: its quantiles",
        ),
        ({**STABLE_DIFFUSION, "solver_order": 4}, "solver_order = 4 is not supported; supported are 1, 2, 3"),
        ({**STABLE_DIFFUSION, "made_up": 3}, "made_up = 3 is not supported; supported are algorithm_type, "),
        ({**STABLE_DIFFUSION, "prediction_type": "flow"}, "prediction_type = 'flow' is not supported"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": True}, "as `shift`"),
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
    ddim = from_diffusers_config({"_class_name": "DDIMScheduler", "timestep_spacing": "trailing"})
    with pytest.raises(UserError, match="num_steps = 7 must divide num_train_timesteps = 1000"):
        ddim.times(7)
