"""The exact denoiser of a mixture, against numerical integration of Bayes' rule."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.diffusion import schedules
from genjax.diffusion.analytic import gaussian_mixture

MEANS, STDS, WEIGHTS = np.array([[-1.0], [0.4], [2.0]]), np.array([0.3, 0.1, 0.6]), np.array([1.0, 3.0, 0.5])


@pytest.mark.parametrize("make", [schedules.vp, schedules.edm, schedules.flow])
def test_the_estimate_is_the_mean_of_the_posterior(make):
    with jax.enable_x64(True):
        schedule, x_0 = make(), np.linspace(-8, 8, 20_001)
        density = sum(
            w / s * np.exp(-0.5 * ((x_0 - m) / s) ** 2)
            for m, s, w in zip(MEANS[:, 0], STDS, WEIGHTS, strict=True)
        )
        denoise = gaussian_mixture(jnp.asarray(MEANS), jnp.asarray(STDS), jnp.asarray(WEIGHTS), schedule)
        for t in (0.05, 0.4, 0.9):
            alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
            x_t = alpha * np.linspace(-2, 3, 7) + sigma * np.linspace(1, -1, 7)
            likelihood = np.exp(-0.5 * ((x_t[:, None] - alpha * x_0) / sigma) ** 2)
            expected = (likelihood * density * x_0).sum(1) / (likelihood * density).sum(1)
            np.testing.assert_allclose(denoise(jnp.asarray(x_t[:, None]), t)[:, 0], expected, atol=1e-5)
