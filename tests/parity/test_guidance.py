"""Guidance against the functions of diffusers, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.diffusion import PREDICTIONS, guidance, schedules

# Other people's import-time warnings are not ours to fix.
pytestmark = pytest.mark.filterwarnings("ignore")

RNG = np.random.default_rng(0)
X, CONDITIONAL, UNCONDITIONAL = RNG.normal(size=(3, 4, 6, 6, 3))
COMPARED = [
    ("guidance.rescale", "rescale_noise_cfg, eps, x0 and v"),
    ("guidance.zero_star", "cfg_zero_star_scale (1e-6: float32 there)"),
    ("guidance.projected", "normalized_guidance (APG)"),
    ("guidance.dynamic_threshold", "DDIMScheduler._threshold_sample"),
]


@pytest.fixture(scope="module")
def torch():
    pytest.importorskip("diffusers")
    return pytest.importorskip("torch")


def tensors(torch):
    return torch.from_numpy(CONDITIONAL), torch.from_numpy(UNCONDITIONAL)


@pytest.mark.parametrize("name", ["eps", "x0", "v"])
def test_rescale(torch, name):
    from diffusers.guiders.guider_utils import rescale_noise_cfg

    with jax.enable_x64(True):
        schedule, t = schedules.linear(), jnp.asarray(0.5)
        c = PREDICTIONS[name](schedule, t)

        def denoiser(output):
            return lambda x, t: c.c_skip * x + c.c_out * output

        free = guidance.classifier_free(denoiser(CONDITIONAL), denoiser(UNCONDITIONAL), 7.5)
        guided = guidance.rescale(free, denoiser(CONDITIONAL), schedule, 0.7, PREDICTIONS[name])
        actual = (np.asarray(guided(jnp.asarray(X), t)) - float(c.c_skip) * X) / float(c.c_out)
        a, b = tensors(torch)
        expected = rescale_noise_cfg(b + 7.5 * (a - b), a, 0.7)
        np.testing.assert_allclose(actual, expected.numpy(), atol=1e-12)


def test_zero_star(torch):
    from diffusers.guiders.classifier_free_zero_star_guidance import cfg_zero_star_scale

    with jax.enable_x64(True):

        def denoiser(velocity):
            return lambda x, t: x - t * velocity

        guided = guidance.zero_star(denoiser(CONDITIONAL), denoiser(UNCONDITIONAL), 4.0, schedules.flow())
        actual = (X - np.asarray(guided(jnp.asarray(X), jnp.asarray(0.5)))) / 0.5
        a, b = tensors(torch)
        scaled = cfg_zero_star_scale(a.flatten(1), b.flatten(1)).view(-1, 1, 1, 1) * b
        np.testing.assert_allclose(actual, (scaled + 4.0 * (a - scaled)).numpy(), atol=1e-6)


def test_projected(torch):
    from diffusers.guiders.adaptive_projected_guidance import normalized_guidance

    with jax.enable_x64(True):
        estimates = (lambda x, t: jnp.asarray(CONDITIONAL)), (lambda x, t: jnp.asarray(UNCONDITIONAL))
        actual = guidance.projected(*estimates, 5.0, 0.25, 9.0)(jnp.asarray(X), jnp.asarray(0.5))
        expected = normalized_guidance(*tensors(torch), 4.0, None, 0.25, 9.0, True)
        np.testing.assert_allclose(actual, expected.numpy(), atol=1e-12)


@pytest.mark.parametrize("maximum", [1.0, 2.0, 50.0])
def test_dynamic_threshold(torch, maximum):
    from diffusers import DDIMScheduler

    x = X * np.array([0.1, 1.0, 3.0, 9.0]).reshape(4, 1, 1, 1)
    scheduler = DDIMScheduler(thresholding=True, dynamic_thresholding_ratio=0.9, sample_max_value=maximum)
    with jax.enable_x64(True):
        actual = guidance.dynamic_threshold(lambda x, t: x, 0.9, maximum)(jnp.asarray(x), jnp.asarray(0.5))
    np.testing.assert_allclose(actual, scheduler._threshold_sample(torch.from_numpy(x)).numpy(), atol=1e-12)
